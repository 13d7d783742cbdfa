"""APIs, workflows and schedules of the live system by the HTTP API of operators.

Used by `http_system`. Invariant: an id of a wrong form gets the error that the store has for an unknown one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from iogate.cli.system.operator_client import UNEXPECTED
from iogate.compiler.schedules import ON_EVENTS
from iogate.errors import IogateError, Refused, Unreachable
from iogate.messages import conjoined, quoted
from iogate.operators.gates import MOVED
from iogate.operators.live_revision import api_not_found
from iogate.operators.schedules import started_by_events
from iogate.operators.workflows import workflow_not_found
from iogate.store.revisions.schedule_states import unknown_schedule
from iogate.timing.durations import format_seconds

if TYPE_CHECKING:
    from iogate.cli.system.operator_client import OperatorClient
    from iogate.cli.system.system import GateSwitch, Json
    from iogate.compiler.revision import Api

_FAST: Final = 1000
_NO_HASH: Final = f"sha256:{'0' * 64}"
_ID: Final = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}")
_WORKFLOW: Final = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}(?::[\w.+-]{1,100})?")


def _rate(per_s: float | None) -> str | None:
    """Format a rate limit for the operator API, `N/s` or `N/d`; a slow rate per day, which is more exact."""
    if per_s is None:
        return None
    return f"{per_s:.6f}/s" if per_s > _FAST else f"{per_s * 86_400:.6f}/d"


def _ttl(seconds: float | None) -> str | None:
    return None if seconds is None else format_seconds(seconds)


def _with_hashes(auth: Any) -> Any:
    """Return `auth` as a server shows it, with a hash of nothing in place of each redacted one."""
    match auth:
        case {"hash": str()}:
            return {**auth, "hash": _NO_HASH}
        case dict():
            return {name: _with_hashes(each) for name, each in auth.items()}
        case list():
            return [_with_hashes(each) for each in auth]
        case _:
            return auth


def _inside(source: str) -> str:
    """Return the path of a document that a server names; empty if it leads out of the project."""
    path = PurePosixPath(source)
    return "" if path.is_absolute() or ".." in path.parts else source


class HttpApis:
    """APIs of one server."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def list(self) -> Json:
        found: Json = await self._client.get("/v1/apis", of_project=True)
        return found

    async def show(self, api: str) -> Json:
        if _ID.fullmatch(api) is None:
            raise api_not_found(api, await self._ids())
        found: Json = await self._client.get(f"/v1/apis/{quote(api)}", of_project=True)
        return found

    async def contract(self, api: str) -> Api:
        found = await self.show(api)
        with self._client.reading("an API"):
            return self._contract(api, found)

    def _contract(self, api: str, found: Json) -> Api:
        """Return the contract of an API from the result of `show`. Raises Unreachable for another API."""
        from iogate.auth.reader import AUTH
        from iogate.auth.stored import stored
        from iogate.compiler.revision import Api, Idempotency
        from iogate.value_types.faults import InvalidValue

        if found["api"] != api:
            raise Unreachable(
                f"{self._client.server.url} shows {quoted(found['api'])} in place of {api}",
                code=UNEXPECTED,
                hint="look at the log of the gateway, or of the proxy before it",
            )
        try:
            auth = stored(AUTH.read(_with_hashes(found["document"]["auth"])), place=api)
        except InvalidValue:
            raise Unreachable(
                f"{self._client.server.url} shows credentials of {api} that this release does not know",
                code=UNEXPECTED,
                hint="run the command with the release of the gateway",
            ) from None
        return Api(
            id=found["api"],
            verbs=tuple(found["verbs"]),
            workflow=found["workflow"],
            program=found["program"],
            auth=auth,
            input_from=found["inputFrom"],
            idempotency=Idempotency(header=found["idempotency"]["header"]),
            source=_inside(found["source"]),
        )

    async def switch(self, wanted: GateSwitch) -> Json:
        self._client.check_reason(wanted.reason)
        selection = wanted.selection
        body = {
            "apis": [*selection.apis] or None,
            "modules": [*selection.modules] or None,
            "tags": [*selection.tags] or None,
            "all": selection.all_ or None,
            "enabled": wanted.enabled,
            "hold": wanted.hold or None,
            "rate": _rate(wanted.rate),
            "ttl": _ttl(wanted.ttl_s),
        }
        while True:
            confirmed: Sequence[str] | None = None
            if wanted.confirm is not None:
                confirmed = await self._ids()
                wanted.confirm(confirmed)
            try:
                done: Json = await self._client.change(
                    "/v1/overrides", wanted.reason, {**body, "confirmed": confirmed}, of_project=True
                )
            except Refused as error:
                if wanted.confirm is None or error.code != MOVED:
                    raise
            else:
                return done

    async def debug(self, api: str, case: str, *, reason: str, wait_s: float) -> Json:
        path = f"/v1/apis/{quote(api)}/debug/{quote(case, safe='')}"
        found: Json = await self._client.change(
            path, reason, {"wait": wait_s}, of_project=True, wait_s=wait_s
        )
        return found

    async def overrides(self) -> Json:
        found: Json = await self._client.get("/v1/overrides", of_project=True)
        return found

    async def clear_overrides(self, names: Sequence[str] | None, *, reason: str, rate: float | None) -> Json:
        body = {"apis": None if names is None else [*names], "rate": _rate(rate)}
        done: Json = await self._client.change(
            "/v1/overrides", reason, body, method="DELETE", of_project=True
        )
        return done

    async def _ids(self) -> Sequence[str]:
        return [each["api"] for each in (await self.list())["apis"]]


class HttpWorkflows:
    """Workflows of one server."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def list(self) -> Json:
        found: Json = await self._client.get("/v1/workflows", of_project=True)
        return found

    async def show(self, workflow: str) -> Json:
        if _WORKFLOW.fullmatch(workflow) is None:
            known = await self.list()
            raise workflow_not_found(workflow, [each["workflow"] for each in known["workflows"]])
        # A gateway serves no path with another spelling: ":" and "+" stay as they are.
        path = f"/v1/workflows/{quote(workflow, safe='/:+')}"
        found: Json = await self._client.get(path, of_project=True)
        return found


class HttpSchedules:
    """Schedules of one server, which are changed one by one."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def list(self) -> Json:
        found: Json = await self._client.get("/v1/schedules", of_project=True)
        return found

    async def enable(self, names: Sequence[str], *, reason: str) -> Json:
        await self._change(names, "enable", reason)
        return {"schedules": list(names), "enabled": True}

    async def disable(self, names: Sequence[str], *, reason: str, ttl_s: float | None) -> Json:
        await self._change(names, "disable", reason, ttl_s)
        return {"schedules": list(names), "enabled": False, "reason": reason, "ttlS": ttl_s}

    async def run(self, names: Sequence[str], *, reason: str) -> Json:
        done = await self._change(names, "run", reason)
        return {"runs": {name: uid for each in done for name, uid in each["runs"].items()}}

    async def _change(
        self, names: Sequence[str], verb: str, reason: str, ttl_s: float | None = None
    ) -> Sequence[Json]:
        """Change schedules over HTTP, one by one.

        Raises NotFound before any change if one is unknown, and Refused if one to run is on events. A later
        error names the schedules that were changed before.
        """
        self._client.check_reason(reason)
        known = {each["schedule"]: each["when"] for each in (await self.list())["schedules"]}
        wanted = list(dict.fromkeys(names))
        if missing := [each for each in wanted if each not in known]:
            raise unknown_schedule(missing, known)
        if verb == "run":
            for name in wanted:
                if known[name] == ON_EVENTS:
                    raise started_by_events(name)
        done: list[Json] = []
        for name in wanted:
            path = f"/v1/schedules/{quote(name)}/{verb}"
            try:
                done.append(await self._client.change(path, reason, {"ttl": _ttl(ttl_s)}, of_project=True))
            except IogateError as error:
                if not done:
                    raise
                with self._client.reading("changes of schedules"):
                    before = _changes(verb, done)
                rest = " ".join(wanted[len(done) :])
                raise type(error)(
                    f"{error.message}; before: {before}",
                    code=error.code,
                    hint="; ".join(filter(None, (error.hint, f"then repeat the command for {rest}"))),
                ) from None
        return done


def _changes(verb: str, done: Sequence[Json]) -> str:
    """Return the text, for an error message, about the schedules that a command over HTTP has changed."""
    if verb == "run":
        return conjoined(f"{name} → run {uid}" for each in done for name, uid in each["runs"].items())
    return f"{verb}d {conjoined(name for each in done for name in each['schedules'])}"
