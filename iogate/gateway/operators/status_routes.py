"""Route of the status: revision, runs, queue, APIs and processes."""

from __future__ import annotations

from typing import Any, Final

from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import PROJECT
from iogate.operators import status
from iogate.operators.access import Role


async def _show(call: Call) -> Any:
    return await status.show(await call.project(), call.state.settings)


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
)
