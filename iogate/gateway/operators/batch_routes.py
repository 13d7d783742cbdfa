"""Routes of batches: bulk actions on runs, which a worker carries out."""

from __future__ import annotations

from typing import Any, Final

from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import CURSOR
from iogate.gateway.operators.run_routes import FROM, ON, RUN_FILTER, read_filter
from iogate.operators.access import Role
from iogate.operators.activity import Target, target
from iogate.operators.batches import batch_selection, batches
from iogate.operators.batches.batch_selection import ACTIONS, BatchRequest
from iogate.value_types.collection_types import Key, list_of
from iogate.value_types.scalar_types import boolean, choice, number, pattern

LIMIT_S: Final = 60.0
"""Time for the selection of all runs of a batch, of which there may be 100,000 among a million."""
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
        "filter": RUN_FILTER,
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

OPERATIONS: Final = (CREATE, LIST, SHOW, STOP, CONTINUE)
