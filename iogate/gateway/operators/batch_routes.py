"""Routes of bulk actions on runs: batches, which a worker carries out, and deletion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import CURSOR, MOMENT
from iogate.gateway.operators.run_routes import FILTERS, FROM, ON, read_filter
from iogate.operators.activity import Target, target
from iogate.operators.batches import batch_selection, batches
from iogate.operators.batches.batch_selection import ACTIONS, BatchRequest
from iogate.operators.roles import Role
from iogate.operators.runs import run_deletion
from iogate.store import keys
from iogate.value_types.collection_types import Key, distinct, list_of, record
from iogate.value_types.scalar_types import boolean, choice, number, pattern

LIMIT_S: Final = 60.0
"""Time for the selection of all runs of a change, of which there may be 100,000 among a million."""
_ID: Final = {"id": "[0-9a-f]{12}"}
_COUNT: Final = number(0, 2**31)


def _new(call: Call) -> Target:
    return Target(type="batch", ids=(batches.batch_id(call.id),), count=call.given.get("expected", 0))


def _target(call: Call) -> Target:
    return target("batch", [call.path["id"]])


async def _create(call: Call) -> Any:
    given = call.given
    request = BatchRequest(
        action=given["action"],
        filter=read_filter(call, given["filter"]) if "filter" in given else None,
        uids=given.get("uids", ()),
        pointer=given.get("from"),
        current=given.get("on") == "current",
    )
    if call.is_dry_run:
        return await batch_selection.preview(call.store, request)
    return await batches.create(
        call.store,
        call.actor,
        request,
        operation=call.id,
        reason=call.reason,
        expected=given.get("expected"),
        at_most=given.get("at_most"),
        record=call.record,
    )


async def _prune(call: Call) -> Any:
    given = call.given
    wanted, before_ms = read_filter(call, given.get("filter", {})), call.moment_ms("before")
    assert before_ms is not None
    if call.is_dry_run:
        return (await run_deletion.select(call.store, wanted, before_ms, most=run_deletion.COUNTED)).to_json()
    found = await run_deletion.select(
        call.store, wanted, before_ms, most=run_deletion.AT_ONCE, continues=True
    )
    call.record.ids = found.uids
    pruned = await run_deletion.delete(call.store, found, wanted, before_ms, call.record)
    # Runs whose keys another program has overwritten are never deleted: a repetition would not end.
    return {"pruned": pruned, "complete": found.complete or not pruned}


async def _list(call: Call) -> Any:
    return await batches.listing(
        call.store, limit=call.given.get("limit", 50), cursor=call.given.get("cursor")
    )


async def _show(call: Call) -> Any:
    return await batches.show(call.store, call.path["id"])


async def _stop(call: Call) -> Any:
    return await batches.stop(call.store, call.path["id"])


async def _continue(call: Call) -> Any:
    return await batches.proceed(call.store, call.actor, call.path["id"])


def _filter(statuses: Sequence[str]) -> Key:
    """Return the parameter with the filter of a bulk action, as of a list of runs in these statuses."""
    status = Key(
        type=distinct(choice(*statuses), f"a list of one or more of {', '.join(statuses)}"),
        required=False,
        description="Only runs in these statuses.",
    )
    return Key(
        type=record({**FILTERS, "status": status}, dict, null_is_absent=True),
        required=False,
        description="Runs that match now, as in a list of runs.",
    )


CREATE: Final = Operation(
    name="batches.create",
    method="POST",
    path="/v1/batches",
    role=Role.OPERATE,
    summary="Change many runs; a worker does it",
    description="More than 1,000 runs take the role admin.",
    handler=_create,
    body={
        "action": Key(type=choice(*ACTIONS), description="Action on each run."),
        "filter": _filter(keys.STATUSES),
        "uids": Key(
            type=list_of(pattern("the uid of a run", "[0-9]{1,19}")),
            required=False,
            description=f"Runs, at most {batch_selection.NAMED_MOST}, in place of a filter.",
        ),
        "expected": Key(type=_COUNT, required=False, description="Refuse if another number of runs match."),
        "at_most": Key(type=_COUNT, required=False, description="Refuse if more runs match."),
        "from": FROM,
        "on": ON,
        "dry_run": Key(
            type=boolean(),
            required=False,
            description="Change nothing, and return the number of runs and a sample.",
        ),
    },
    action="batches.create",
    target=_new,
    status=202,
    has_dry_run=True,
    limit_s=LIMIT_S,
)
LIST: Final = Operation(
    name="batches.list",
    method="GET",
    path="/v1/batches",
    role=Role.READ,
    summary="List batches, newest first",
    handler=_list,
    query={
        "limit": Key(type=number(1, 100), required=False, description="Maximum number; default: 50."),
        "cursor": CURSOR,
    },
)
SHOW: Final = Operation(
    name="batches.show",
    method="GET",
    path="/v1/batches/{id}",
    path_types=_ID,
    role=Role.READ,
    summary="Show a batch with its progress",
    handler=_show,
)
STOP: Final = Operation(
    name="batches.stop",
    method="DELETE",
    path="/v1/batches/{id}",
    path_types=_ID,
    role=Role.OPERATE,
    summary="Stop a batch before its next run",
    handler=_stop,
    action="batches.stop",
    target=_target,
)
CONTINUE: Final = Operation(
    name="batches.continue",
    method="POST",
    path="/v1/batches/{id}/continue",
    path_types=_ID,
    role=Role.OPERATE,
    summary="Continue a stopped batch with the runs that are left",
    handler=_continue,
    action="batches.continue",
    target=_target,
)
PRUNE: Final = Operation(
    name="runs.prune",
    method="POST",
    path="/v1/prune",
    role=Role.ADMIN,
    summary="Delete ended runs before their retention is over",
    description=f"At most {run_deletion.AT_ONCE} of them: repeat it until the result is `complete`.",
    handler=_prune,
    body={
        "before": Key(type=MOMENT, description="Only runs that ended before this time."),
        "filter": _filter(sorted(keys.ENDED)),
        "dry_run": Key(
            type=boolean(), required=False, description="Delete nothing; return their number and a sample."
        ),
    },
    action="runs.prune",
    target=lambda _: Target(type="run"),
    has_dry_run=True,
    frees_memory=True,
    limit_s=LIMIT_S,
)

OPERATIONS: Final = (CREATE, LIST, SHOW, STOP, CONTINUE, PRUNE)
