"""Route of the activity: changes by operators."""

from __future__ import annotations

from typing import Any, Final

from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import CURSOR, MOMENT
from iogate.operators import activity
from iogate.operators.roles import Role
from iogate.value_types.collection_types import Key
from iogate.value_types.scalar_types import number, text


async def _list(call: Call) -> Any:
    given = call.given
    return await activity.page(
        call.store,
        since_ms=call.moment_ms("since"),
        operator=given.get("operator"),
        action=given.get("action"),
        about=given.get("target"),
        limit=given.get("limit", 50),
        cursor=given.get("cursor"),
    )


LIST: Final = Operation(
    name="activity.list",
    method="GET",
    path="/v1/activity",
    role=Role.READ,
    summary="List changes by operators, newest first",
    handler=_list,
    query={
        "since": Key(type=MOMENT, required=False, description="Only changes after this time."),
        "operator": Key(type=text(), required=False, description="Only changes by this operator."),
        "action": Key(
            type=text(), required=False, description="Only this action, or all of a kind: runs.retry, runs."
        ),
        "target": Key(type=text(), required=False, description="Only changes of the object with this id."),
        "limit": Key(type=number(1, 100), required=False, description="Maximum number; default: 50."),
        "cursor": CURSOR,
    },
)

OPERATIONS: Final = (LIST,)
