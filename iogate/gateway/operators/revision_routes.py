"""Routes of revisions: list, show, difference, plan, rollback and publication."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from iogate.errors import Misused
from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import CURSOR, PROJECT
from iogate.gateway.table_loader import read_bundle
from iogate.operators import revisions
from iogate.operators.activity import Target, target
from iogate.operators.roles import Role
from iogate.store.revisions.origin import Origin
from iogate.value_types.collection_types import Key, ValueType
from iogate.value_types.faults import wrong_form
from iogate.value_types.scalar_types import boolean, duration, number, pattern, text
from iogate.version import __version__

if TYPE_CHECKING:
    from iogate.operators.publications import Publication
    from iogate.reconcile.deletion_guard import Allowed
    from iogate.reconcile.live_plan import LivePlan
    from iogate.reconcile.wanted_revision import Scope
    from iogate.store.store import Store

LIVE: Final = "live"
_NUMBER: Final = r"[1-9][0-9]{0,14}"
_SIDE: Final = rf"{_NUMBER}|{LIVE}"
_WAIT_MOST_S: Final = 30.0
_WAIT_S: Final = 5.0
_UNDO_WAIT_S: Final = 10.0
"""Longest wait after an undo; that for the publication comes before, in the time of the same operation."""
_LARGEST: Final = 10**15 - 1
_PLAN_S: Final = 60.0
_BUNDLE_BYTES: Final = 32 * 1024 * 1024


def _read_bundle(value: Any) -> Any:
    if not isinstance(value, dict):
        raise wrong_form("an object that `iogate bundle` has made")
    return value


_BUNDLE: Final = ValueType(read=_read_bundle, schema=lambda: {"type": "object"})


def _read_cases(value: Any) -> Any:
    try:
        return msgspec.convert(value, dict[str, _Verdicts])
    except msgspec.ValidationError:
        raise wrong_form("an object with `total` and `failing` for each API") from None


class _Verdicts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Debug cases of an API that its live input schema accepts."""

    total: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    failing: tuple[str, ...] = ()
    """Names of those that the new schema refuses."""


_SCOPE: Final = {
    "select": Key(type=text(), required=False, description="Only APIs with this tag or of this module."),
    "keep_orphans": Key(
        type=boolean(),
        required=False,
        description="Keep APIs and workflows live that the bundle lacks.",
    ),
}
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
_CASES: Final = ValueType(read=_read_cases, schema=lambda: {"type": "object"})
_SENT: Final = Key(type=_BUNDLE, description="Member `bundle` of the output of `iogate bundle`.")
_WITH_PLAN: Final = Key(
    type=boolean(), required=False, description="Whether the response has the plan; default: true."
)
_WAIT: Final = Key(
    type=duration(0, _WAIT_MOST_S),
    required=False,
    description="Longest time to wait for gateways and workers; default: 5s.",
)


def _scope(call: Call) -> Scope:
    from iogate.reconcile.wanted_revision import Scope  # noqa: PLC0415 - as below

    given = call.given
    return Scope(select=given.get("select", ""), keep_orphans=given.get("keep_orphans", False))


def _target(call: Call) -> Store:
    """Return the store of the project to publish to, which the first publication does not find there."""
    return call.store.of_project(_project(call))


def _project(call: Call) -> str:
    """Return the name of the project that a call of an operator is about."""
    found: str = call.given.get("project", call.state.settings.project)
    return found


def _allowed(call: Call, *, restores: bool = False) -> Allowed:
    from iogate.reconcile.deletion_guard import Allowed  # noqa: PLC0415 - only for a publication

    given = call.given
    return Allowed(
        prune=given.get("prune", False),
        empty=given.get("allow_empty", False),
        max_deletes=given.get("max_deletes"),
        restores=restores,
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


async def _plan(call: Call) -> Any:
    """Return the plan of a bundle or a rollback. Raises Misused if the request has both or none."""
    from iogate.operators.publication_plan import describe_plan  # noqa: PLC0415 - as below

    given = call.given
    if ("bundle" in given) is ("restores" in given):
        raise Misused("a plan is that of a bundle or of a revision: expected either bundle or restores")
    if "restores" in given and given.keys() & {*_SCOPE, "cases"}:
        raise Misused("select, keep_orphans and cases need a bundle")
    found = await _live_plan(call)
    value = (await describe_plan(_target(call), found)).to_json
    schemas = {
        name: api.input_schema
        for name, api in found.before.apis.items()
        if name in found.bundle.revision.apis
        and found.bundle.revision.apis[name].input_schema != api.input_schema
    }
    return {**await asyncio.to_thread(value), "inputSchemas": schemas}


async def _live_plan(call: Call) -> LivePlan:
    """Return the plan that a request is about. Raises as `_plan` does."""
    from iogate.operators import publications  # noqa: PLC0415 - as below
    from iogate.reconcile.live_plan import against_live  # noqa: PLC0415
    from iogate.reconcile.plan_facts import CaseVerdicts  # noqa: PLC0415

    given = call.given
    if "restores" in given:
        return await publications.plan_rollback(_target(call), given["restores"])
    cases = {
        name: CaseVerdicts(total=each.total, failing=each.failing)
        for name, each in given.get("cases", {}).items()
    }
    bundle = await read_bundle(call.state, given["bundle"])
    return await against_live(_target(call), bundle, lambda *_: cases, _scope(call))


async def _bundle(call: Call) -> Any:
    from iogate.reconcile import bundle_codec  # noqa: PLC0415 - as below

    found = await revisions.version(await call.project(), _side(call.path["number"]))
    encoded = await asyncio.to_thread(bundle_codec.encode, found.bundle)
    return {"revision": found.number, "commit": found.commit or None, "bundle": msgspec.Raw(encoded)}


async def _drift(call: Call) -> Any:
    from iogate.operators import drift  # noqa: PLC0415 - as below

    return await drift.show(await call.project())


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

    given = call.given
    scope = _scope(call)
    if scope.select and given.get("clear_overrides", False):
        raise Misused("clear_overrides and select cannot be combined")
    origin = Origin(
        author=call.actor.name,
        commit=given.get("commit", ""),
        dirty=given.get("dirty", False),
        message=call.reason.strip(),
        version=__version__,
    )
    bundle = await read_bundle(call.state, given["bundle"])
    store = _target(call)
    found = await publications.plan_bundle(
        store, bundle, expected=given["expected"], scope=scope, allowed=_allowed(call)
    )
    done = await publications.publish(
        store,
        found,
        origin,
        wait_s=given.get("wait", _WAIT_S),
        clear_overrides=given.get("clear_overrides", False),
        rollback_on_failure=given.get("rollback_on_failure", False),
        undo_wait_s=_UNDO_WAIT_S,
    )
    return await _told(call, done)


async def _told(call: Call, done: Publication) -> dict[str, Any]:
    """Add a publication to the record of the change, and return its JSON."""
    from iogate.operators.publications import describe  # noqa: PLC0415 - as above

    call.record.revision, call.record.note = done.applied.number, describe(done.applied)
    value = await asyncio.to_thread(done.to_json)
    if not call.given.get("with_plan", True):
        del value["plan"]
    return value


def _of_number(call: Call) -> Target:
    return target("revision", [call.path["number"]])


def _of_project(call: Call) -> Target:
    return target("project", [_project(call)])


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
        name="revisions.bundle",
        method="GET",
        path="/v1/revisions/{number}/bundle",
        path_types={"number": _SIDE},
        role=Role.ADMIN,
        summary="Show the compiled bundle of a revision, in which nothing is redacted",
        handler=_bundle,
        query={"project": PROJECT},
        limit_s=_PLAN_S,
    ),
    Operation(
        name="drift.show",
        method="GET",
        path="/v1/drift",
        role=Role.READ,
        summary="Show overrides, and what of the store differs from the live revision",
        handler=_drift,
        query={"project": PROJECT},
        limit_s=_PLAN_S,
    ),
    Operation(
        name="revisions.plan",
        method="POST",
        path="/v1/plan",
        role=Role.READ,
        summary="Show what a publication of a bundle, or a rollback, would change; change nothing",
        handler=_plan,
        body={
            "bundle": replace(_SENT, required=False),
            "restores": Key(type=number(1, _LARGEST), required=False, description="Revision of a rollback."),
            **_SCOPE,
            "cases": Key(
                type=_CASES,
                required=False,
                description="Debug cases of APIs in `inputSchemas`: how many the live schema accepts, and "
                "the names of those that the new one refuses.",
            ),
            "project": PROJECT,
        },
        limit_s=_PLAN_S,
        body_limit=_BUNDLE_BYTES,
    ),
    Operation(
        name="revisions.rollback",
        method="POST",
        path="/v1/revisions/{number}/rollback",
        path_types={"number": _NUMBER},
        role=Role.ADMIN,
        summary="Publish the content of an earlier revision as a new one, in place of that in If-Match",
        handler=_rollback,
        body={**_DELETIONS, "wait": _WAIT, "with_plan": _WITH_PLAN, "project": PROJECT},
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
            "bundle": _SENT,
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
            "rollback_on_failure": Key(
                type=boolean(),
                required=False,
                description="Publish the content before again if a process does not load it in time.",
            ),
            **_SCOPE,
            **_DELETIONS,
            "wait": _WAIT,
            "with_plan": _WITH_PLAN,
            "project": PROJECT,
        },
        action="revisions.publish",
        target=_of_project,
        names_version=True,
        limit_s=_WAIT_MOST_S + 20,
        body_limit=_BUNDLE_BYTES,
    ),
)
