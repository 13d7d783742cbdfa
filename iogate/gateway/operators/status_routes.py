"""Routes of the status, the counts and errors of runs, and the operator of the request."""

from __future__ import annotations

from typing import Any, Final

from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import MOMENT, PROJECT
from iogate.operators import statistics, status
from iogate.operators.roles import Role
from iogate.operators.runs.filter_names import require_known_names
from iogate.store.runs.run_index import RunFilter
from iogate.value_types.collection_types import Key
from iogate.value_types.scalar_types import text
from iogate.version import __version__

_API: Final = Key(type=text(), required=False, description="Only runs of this API, module/method.")
_SINCE: Final = Key(type=MOMENT, required=False, description="Only runs after this time.")


async def _show(call: Call) -> Any:
    return await status.show(await call.project(), call.state.settings)


async def _statistics(call: Call) -> Any:
    api, workflow = call.given.get("api"), call.given.get("workflow")
    found = await statistics.run_statistics(
        call.store,
        api=api,
        workflow=workflow,
        since_ms=call.moment_ms("since"),
        until_ms=call.moment_ms("until"),
    )
    if not found["apis"]:
        await require_known_names(call.store, RunFilter(api=api, workflow=workflow))
    return found


async def _errors(call: Call) -> Any:
    api = call.given.get("api")
    found = await statistics.error_groups(call.store, api=api, since_ms=call.moment_ms("since"))
    if not found["errors"]:
        await require_known_names(call.store, RunFilter(api=api))
    return found


async def _operator(call: Call) -> Any:
    own_port = call.state.settings.console_port is not None
    return {
        "operator": call.actor.name,
        "role": str(call.actor.role),
        "project": call.state.settings.project,
        "version": __version__,
        "gateway": call.state.public_url if own_port else None,
    }


OPERATIONS: Final = (
    Operation(
        name="status.show",
        method="GET",
        path="/v1/status",
        role=Role.READ,
        summary="Show the live revision, runs and queue, APIs, schedules, secrets and processes",
        handler=_show,
        query={"project": PROJECT},
    ),
    Operation(
        name="statistics.show",
        method="GET",
        path="/v1/statistics",
        role=Role.READ,
        summary="Show counts and times of runs, in total and by API, workflow and hour",
        handler=_statistics,
        query={
            "api": _API,
            "workflow": Key(
                type=text(), required=False, description="Only runs of this workflow, name or name:version."
            ),
            "since": Key(type=MOMENT, required=False, description="From this time on; default: 24h."),
            "until": Key(type=MOMENT, required=False, description="Until this time; default: now."),
        },
    ),
    Operation(
        name="errors.list",
        method="GET",
        path="/v1/errors",
        role=Role.READ,
        summary="List the distinct errors of runs, the last one first",
        handler=_errors,
        query={"api": _API, "since": _SINCE},
    ),
    Operation(
        name="operator.show",
        method="GET",
        path="/v1/operator",
        role=Role.READ,
        summary="Show the name and the role of the operator whose token this is",
        handler=_operator,
    ),
)
