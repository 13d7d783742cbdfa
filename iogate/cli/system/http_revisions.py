"""Revisions of the live system by the HTTP API of operators: history, plans, publication and rollback.

Used by `http_system`. Invariants: the gateway compares, checks and publishes; it replaces only the revision
with which the confirmed plan was compared, so that of two publishers at once one is refused; the repetition
of a publication whose response was lost publishes nothing twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from iogate.cli.system.operator_client import CLOSED, NOT_TRUSTED
from iogate.cli.system.server_choice import store_only
from iogate.errors import InvalidFiles, Misused, Unreachable
from iogate.operators.activity import REASON_MOST
from iogate.timing.durations import format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.cli.system.operator_client import OperatorClient
    from iogate.cli.system.system import Json, PlanRequest, PublicationRequest
    from iogate.compiler.revision import Revision
    from iogate.operators.publication_plan import PublicationPlan
    from iogate.operators.publications import Publication
    from iogate.operators.revisions import Version

PAGE: Final = 100
"""Most revisions that the API returns at once."""
WAIT_MOST_S: Final = 30.0
"""Longest time that a gateway waits until a revision is loaded."""
_LONG_S: Final = 60.0
"""Further time for a plan or a publication of a large project."""


class HttpRevisions:
    """Revisions of one server."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def history(self, limit: int) -> Json:
        found: list[Json] = []
        cursor: str | None = None
        while True:
            page = await self._client.get(
                "/v1/revisions",
                {"limit": min(PAGE, limit - len(found)), "cursor": cursor},
                of_project=True,
            )
            with self._client.reading("revisions"):
                found += page["revisions"]
                cursor = page["nextCursor"]
            if cursor is None or len(found) >= limit:
                return {**page, "revisions": found}

    async def show(self, number: int | None) -> Json:
        found: Json = await self._client.get(f"/v1/revisions/{_side(number)}", of_project=True)
        return found

    async def diff(self, before: int | None, after: int | None) -> Json:
        path = f"/v1/revisions/{_side(before)}/diff/{_side(after)}"
        found: Json = await self._client.get(path, of_project=True)
        return found

    async def version(self, number: int | None) -> Version:
        from iogate.operators.revisions import Version
        from iogate.reconcile import bundle_codec

        path = f"/v1/revisions/{_side(number)}/bundle"
        found = await self._client.get(path, of_project=True, wait_s=_LONG_S)
        with self._client.reading("a revision"):
            try:
                bundle = bundle_codec.decode(found["bundle"])
            except InvalidFiles as error:
                raise ValueError(error.message) from None
            return Version(number=int(found["revision"]), bundle=bundle, commit=found["commit"] or "")

    async def drift(self) -> Json:
        found: Json = await self._client.get("/v1/drift", of_project=True, wait_s=_LONG_S)
        return found

    async def previous(self) -> int:
        from iogate.operators.publications import newest_before

        page = await self.history(PAGE)
        with self._client.reading("revisions"):
            live, kept = page["live"], [each["revision"] for each in page["revisions"]]
        if live is None and kept:
            live = (await self.show(None))["revision"]  # raises the error that says why
        with self._client.reading("revisions"):
            return newest_before(live or 0, kept)

    async def plan(self, wanted: PlanRequest) -> PublicationPlan:
        from iogate.operators.publication_plan import PublicationPlan

        body = _files(wanted)
        found = await self._ask(body)
        with self._client.reading("a plan"):
            schemas = {**found["inputSchemas"]}
            verdicts = None
            if wanted.cases is not None and schemas:
                verdicts = wanted.cases(*_sides(wanted.bundle.revision, schemas))
        if verdicts:
            found = await self._ask({**body, "cases": msgspec.to_builtins(verdicts)})
        with self._client.reading("a plan"):
            return PublicationPlan.read(found)

    async def replay(self, *_: object, **__: object) -> NoReturn:
        raise store_only("--replay", self._client.server)

    async def publish(self, wanted: PublicationRequest) -> Publication:
        from iogate.operators.publication_plan import PublicationPlan
        from iogate.operators.publications import read_publication

        self._check(wanted)
        source, allowed = wanted.source, wanted.allowed
        body: dict[str, Any] = {
            "prune": allowed.prune or None,
            "allow_empty": allowed.empty or None,
            "max_deletes": allowed.max_deletes,
            "wait": wanted.wait_s,
            "with_plan": False,
        }
        if isinstance(source, int):
            found = await self._ask({"restores": source})
            with self._client.reading("a plan"):
                plan = PublicationPlan.read(found)
        else:
            plan = await self.plan(source)
        await wanted.confirm(plan)
        path, version = "/v1/revisions", None
        if isinstance(source, int):
            path, version = f"{path}/{source}/rollback", str(plan.number)
        else:
            body |= {
                **_files(source),
                "expected": plan.number,
                "commit": wanted.origin.commit or None,
                "dirty": wanted.origin.dirty or None,
                "clear_overrides": wanted.clear_overrides or None,
                "rollback_on_failure": wanted.rollback_on_failure or None,
            }
        try:
            done = await self._client.change(
                path,
                wanted.origin.message,
                body,
                version=version,
                of_project=True,
                wait_s=wanted.wait_s + _LONG_S,
            )
            with self._client.reading("a result"):
                return read_publication(done, plan.plan)
        except Unreachable as error:
            if error.code in (CLOSED, NOT_TRUSTED):
                raise
            raise Unreachable(
                f"{error.message}: it is not known whether a revision was published",
                code=error.code,
                hint="repeat the command: it publishes only what is not live yet",
            ) from None

    def _check(self, wanted: PublicationRequest) -> None:
        """Check a publication over HTTP before it is sent. Raises Misused if an option needs the store."""
        if wanted.repair:
            raise store_only("--repair", self._client.server)
        self._client.check_reason(wanted.origin.message, "--message")
        if (characters := len(wanted.origin.message)) > REASON_MOST:
            raise Misused(
                f"--message: expected at most {REASON_MOST} characters over HTTP, got {characters}",
                hint="put the rest into the commit",
            )
        if wanted.wait_s > WAIT_MOST_S:
            raise Misused(
                f"--wait {format_seconds(wanted.wait_s)}: over HTTP at most {format_seconds(WAIT_MOST_S)}",
                hint='then see "iogate status"',
            )

    async def _ask(self, body: Mapping[str, object]) -> Json:
        """Ask the server over HTTP for the plan of a request."""
        found: Json = await self._client.ask("/v1/plan", body, of_project=True, wait_s=_LONG_S)
        return found


def _files(wanted: PlanRequest) -> Json:
    """Return the members of a plan's HTTP request about files; those that are None are not sent."""
    from iogate.reconcile import bundle_codec

    return {
        "bundle": json.loads(bundle_codec.encode(wanted.bundle)),
        "select": wanted.scope.select or None,
        "keep_orphans": wanted.scope.keep_orphans or None,
    }


def _sides(after: Revision, schemas: Mapping[str, Any]) -> tuple[Revision, Revision]:
    """Return the revisions before and after a server's plan, reduced to APIs with a changed input schema."""
    apis = {name: api for name, api in after.apis.items() if name in schemas}
    before = {name: msgspec.structs.replace(api, input_schema=schemas[name]) for name, api in apis.items()}
    replace = msgspec.structs.replace
    return replace(after, apis=before), replace(after, apis=apis)


def _side(number: int | None) -> str:
    return "live" if number is None else str(number)
