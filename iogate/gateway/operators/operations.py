"""Table of all operations of operators.

Read by `app`, which registers their routes, and by `openapi_operations`. A new resource adds the `OPERATIONS`
of its module here.
"""

from __future__ import annotations

from typing import Final

from iogate.gateway.operators import (
    activity_routes,
    api_routes,
    batch_routes,
    revision_routes,
    run_routes,
    status_routes,
    workflow_routes,
)
from iogate.gateway.operators.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    *run_routes.OPERATIONS,
    *batch_routes.OPERATIONS,
    *api_routes.OPERATIONS,
    *workflow_routes.OPERATIONS,
    *revision_routes.OPERATIONS,
    *status_routes.OPERATIONS,
    *activity_routes.OPERATIONS,
)
