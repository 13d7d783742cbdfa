"""Routes of revisions: list, show, difference, rollback and publication."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import CURSOR, PROJECT
from iogate.operators import revisions
from iogate.operators.access import Role
from iogate.operators.activity import Target, target
from iogate.store.revisions.origin import Origin
from iogate.value_types.collection_types import Key, ValueType
from iogate.value_types.faults import wrong_form
from iogate.value_types.scalar_types import boolean, duration, number, pattern
from iogate.version import __version__

if TYPE_CHECKING:
    from iogate.operators.publications import Publication
    from iogate.reconcile.deletion_guard import Allowed

LIVE: Final = "live"
_NUMBER: Final = r"[1-9][0-9]{0,14}"
_SIDE: Final = rf"{_NUMBER}|{LIVE}"
_WAIT_MOST_S: Final = 30.0
_WAIT_S: Final = 5.0
_LARGEST: Final = 10**15 - 1
_BUNDLE_BYTES: Final = 32 * 1024 * 1024


def _read_bundle(value: Any) -> Any:
    if not isinstance(value, dict):
        raise wrong_form("an object that `iogate bundle` has made")
    return value


_BUNDLE: Final = ValueType(read=_read_bundle, schema=lambda: {"type": "object"})
_DELETIONS: Final = {
    "prune": Key(type=boolean(), required=False, description="Allow to delete APIs and workflows."),
    "allow_empty": Key(
        type=boolean(), required=False, description="Allow to delete all APIs, or all workflows."
    ),
    "max_deletes": Key(
        type=number(0, 1_000_000),
        required=False,
        description="Allow at most this number of deletions; default: a quarter of each kind.",
    ),
}
_WAIT: Final = Key(
    type=duration(0, _WAIT_MOST_S),
    required=False,
    description="Longest time to wait for gateways and workers; default: 5s.",
)


def _allowed(call: Call, *, restores: bool = False) -> Allowed:
    from iogate.reconcile.deletion_guard import Allowed  # noqa: PLC0415 - only for a publication

    given = call.given
    return Allowed(
        prune=given.get("prune", False),
        empty=given.get("allow_empty", False),
        max_deletes=given.get("max_deletes"),
        restores=restores,
        is_bundled=not restores,
    )


def _side(text: str) -> int | None:
    return None if text == LIVE else int(text)


async def _list(call: Call) -> Any:
    given = call.given
    return await revisions.page(
        await call.project(), limit=given.get("limit", 20), cursor=given.get("cursor")
    )


async def _show(call: Call) -> Any:
    return await revisions.show(await call.project(), _side(call.path["number"]))


async def _diff(call: Call) -> Any:
    return await revisions.diff(await call.project(), _side(call.path["a"]), _side(call.path["b"]))


async def _rollback(call: Call) -> Any:
    from iogate.operators import publications  # noqa: PLC0415 - plans are large, and made by few processes

    done = await publications.rollback(
        await call.project(),
        int(call.path["number"]),
        author=call.actor.name,
        message=call.reason,
        version=call.version,
        allowed=_allowed(call, restores=True),
        wait_s=call.given.get("wait", _WAIT_S),
    )
    return await _told(call, done)


async def _publish(call: Call) -> Any:
    # A gateway compiles nothing: most never need these.
    from iogate.operators import publications  # noqa: PLC0415
    from iogate.reconcile import bundle_codec  # noqa: PLC0415

    given = call.given
    origin = Origin(
        author=call.actor.name,
        commit=given.get("commit", ""),
        dirty=given.get("dirty", False),
        message=call.reason.strip(),
        version=__version__,
    )
    # The first publication of a project finds none.
    store = call.store.of_project(given.get("project", call.state.settings.project))
    done = await publications.publish_bundle(
        store,
        await asyncio.to_thread(bundle_codec.decode, given["bundle"]),
        origin,
        expected=given["expected"],
        allowed=_allowed(call),
        wait_s=given.get("wait", _WAIT_S),
        clear_overrides=given.get("clear_overrides", False),
    )
    return await _told(call, done)


async def _told(call: Call, done: Publication) -> dict[str, Any]:
    """Add a publication to the record of the change, and return its JSON."""
    from iogate.operators.publications import describe  # noqa: PLC0415 - as above

    call.record.revision, call.record.note = done.applied.number, describe(done.applied)
    return await asyncio.to_thread(done.to_json)


def _of_number(call: Call) -> Target:
    return target("revision", [call.path["number"]])


def _of_project(call: Call) -> Target:
    return target("project", [call.given.get("project", call.state.settings.project)])


OPERATIONS: Final = (
    Operation(
        name="revisions.list",
        method="GET",
        path="/v1/revisions",
        role=Role.READ,
        summary="List the revisions that the store keeps, newest first, with author, commit and changes",
        handler=_list,
        query={
            "limit": Key(type=number(1, 100), required=False, description="Maximum number; default: 20."),
            "cursor": CURSOR,
            "project": PROJECT,
        },
        version=lambda found: str(found["live"] or 0),
    ),
    Operation(
        name="revisions.show",
        method="GET",
        path="/v1/revisions/{number}",
        path_types={"number": _SIDE},
        role=Role.READ,
        summary="Show the origin and the content of a revision; `live` is the live one",
        handler=_show,
        query={"project": PROJECT},
    ),
    Operation(
        name="revisions.diff",
        method="GET",
        path="/v1/revisions/{a}/diff/{b}",
        path_types={"a": _SIDE, "b": _SIDE},
        role=Role.READ,
        summary="Show the differences between two revisions, their meaning, and the deletions",
        handler=_diff,
        query={"project": PROJECT},
    ),
    Operation(
        name="revisions.rollback",
        method="POST",
        path="/v1/revisions/{number}/rollback",
        path_types={"number": _NUMBER},
        role=Role.ADMIN,
        summary="Publish the content of an earlier revision as a new one, in place of that in If-Match",
        handler=_rollback,
        body={**_DELETIONS, "wait": _WAIT, "project": PROJECT},
        action="revisions.rollback",
        target=_of_number,
        takes_version=True,
        limit_s=_WAIT_MOST_S + 20,
    ),
    Operation(
        name="revisions.publish",
        method="POST",
        path="/v1/revisions",
        role=Role.ADMIN,
        summary="Publish a compiled bundle as a new revision, in place of the expected one",
        handler=_publish,
        body={
            "bundle": Key(type=_BUNDLE, description="Output of `iogate bundle`."),
            "expected": Key(
                type=number(0, _LARGEST), description="Number of the live revision; 0: there is none."
            ),
            "commit": Key(
                type=pattern("a git commit", r"[0-9a-f]{7,64}"),
                required=False,
                description="Git commit of the files.",
            ),
            "dirty": Key(
                type=boolean(), required=False, description="Whether the files have changes that it lacks."
            ),
            "clear_overrides": Key(
                type=boolean(), required=False, description="End all overrides in the same step."
            ),
            **_DELETIONS,
            "wait": _WAIT,
            "project": PROJECT,
        },
        action="revisions.publish",
        target=_of_project,
        names_version=True,
        limit_s=_WAIT_MOST_S + 20,
        body_limit=_BUNDLE_BYTES,
    ),
)
