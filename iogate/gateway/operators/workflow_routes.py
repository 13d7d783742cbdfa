"""Routes of workflows and their schedules: list, show, switch, and a run now."""

from __future__ import annotations

from typing import Any, Final

from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import PROJECT
from iogate.operators import schedules, workflows
from iogate.operators.activity import Target, target
from iogate.operators.roles import Role
from iogate.value_types.collection_types import Key
from iogate.value_types.scalar_types import interval

_NAME: Final = r"[\w.-]{1,100}"
_SCHEDULE: Final = {"namespace": _NAME, "name": _NAME}
_WORKFLOW: Final = {"namespace": _NAME, "name": rf"{_NAME}(?::[\w.+-]{{1,100}})?"}


def _name(call: Call) -> str:
    return f"{call.path['namespace']}/{call.path['name']}"


def _target(call: Call) -> Target:
    return target("schedule", [_name(call)])


async def _list(call: Call) -> Any:
    return await workflows.list_all(await call.project())


async def _show(call: Call) -> Any:
    return await workflows.show(await call.project(), _name(call))


async def _schedules(call: Call) -> Any:
    return await schedules.list_all(await call.project())


async def _enable(call: Call) -> Any:
    return await schedules.enable(await call.project(), [_name(call)], author=call.actor.name)


async def _disable(call: Call) -> Any:
    return await schedules.disable(
        await call.project(),
        [_name(call)],
        author=call.actor.name,
        reason=call.reason,
        ttl_s=call.given.get("ttl"),
    )


async def _run(call: Call) -> Any:
    done = await schedules.run(await call.project(), [_name(call)], author=call.actor.name, operation=call.id)
    call.record.note = f"run {done['runs'][_name(call)]}"
    return done


OPERATIONS: Final = (
    Operation(
        name="workflows.list",
        method="GET",
        path="/v1/workflows",
        role=Role.READ,
        summary="List the live workflows with the APIs that start them, and their schedules",
        handler=_list,
        query={"project": PROJECT},
    ),
    Operation(
        name="workflows.show",
        method="GET",
        path="/v1/workflows/{namespace}/{name}",
        path_types=_WORKFLOW,
        role=Role.READ,
        summary="Show the definition of a workflow; `name:version` selects one of several versions",
        handler=_show,
        query={"project": PROJECT},
    ),
    Operation(
        name="schedules.list",
        method="GET",
        path="/v1/schedules",
        role=Role.READ,
        summary="List the schedules with next ticks, last run, skipped ticks and switch",
        handler=_schedules,
        query={"project": PROJECT},
    ),
    Operation(
        name="schedules.enable",
        method="POST",
        path="/v1/schedules/{namespace}/{name}/enable",
        path_types=_SCHEDULE,
        role=Role.OPERATE,
        summary="Enable a schedule from its next tick on",
        handler=_enable,
        body={"project": PROJECT},
        action="schedules.enable",
        target=_target,
    ),
    Operation(
        name="schedules.disable",
        method="POST",
        path="/v1/schedules/{namespace}/{name}/disable",
        path_types=_SCHEDULE,
        role=Role.OPERATE,
        summary="Disable a schedule: its ticks start no runs, also after an apply",
        handler=_disable,
        body={
            "ttl": Key(type=interval(), required=False, description="Enable it again after this time: 2h."),
            "project": PROJECT,
        },
        action="schedules.disable",
        target=_target,
        frees_memory=True,
    ),
    Operation(
        name="schedules.run",
        method="POST",
        path="/v1/schedules/{namespace}/{name}/run",
        path_types=_SCHEDULE,
        role=Role.OPERATE,
        summary="Start a run of a schedule now, also of a disabled one; its ticks stay as they are",
        handler=_run,
        body={"project": PROJECT},
        action="schedules.run",
        target=_target,
    ),
)
