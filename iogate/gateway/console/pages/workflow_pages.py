"""Pages of workflows and schedules, and the forms that start a schedule or switch it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from iogate.gateway.console import task_flow
from iogate.gateway.console.json_tree import tree
from iogate.gateway.console.page import Page, Visit, new_key
from iogate.gateway.console.shell_lines import line
from iogate.operators import statistics
from iogate.operators.roles import Role
from iogate.operators.runs import task_statistics

Json = Mapping[str, Any]
HERE: Final = "Workflows"


async def show_list(visit: Visit) -> Any:
    """Show all live workflows with the counts of the last day."""
    found, stats = await asyncio.gather(visit.call("workflows.list"), visit.ask(statistics.run_statistics))
    counts = {each["workflow"]: each for each in stats["workflows"]}
    workflows = [{**each, "counts": counts.get(each["workflow"])} for each in found["workflows"]]
    values = {"title": "Workflows", "revision": found["revision"], "workflows": workflows, "has_counts": True}
    return await visit.show("workflows.html", values, here=HERE, line=line("workflow", "list"))


async def show(visit: Visit) -> Any:
    """Show one workflow as a tree of tasks, with the faults of each."""
    workflow = await visit.call("workflows.show", path=visit.path)
    name = workflow["workflow"]
    stats, errors, of_tasks = await asyncio.gather(
        visit.ask(lambda store: statistics.run_statistics(store, workflow=name)),
        visit.ask(statistics.error_groups),
        visit.ask(lambda store: task_statistics.of_workflow(store, name)),
    )
    faults: dict[str, int] = {}
    for each in errors["errors"]:
        if each["workflow"] == name and each["task"]:
            faults[each["task"]] = faults.get(each["task"], 0) + each["count"]
    definition = workflow["definition"]
    tasks, is_cut = task_flow.build(definition, faults, of_tasks.tasks)
    document = definition.get("document") or {}
    return await visit.show(
        "workflow.html",
        {
            "workflow": workflow,
            "title": document.get("title") or document.get("summary") or "",
            "counts": next((each for each in stats["workflows"] if each["workflow"] == name), None),
            "tasks": tasks,
            "runs_read": of_tasks.runs,
            "is_cut": is_cut,
            "definition": tree(definition),
        },
        here=HERE,
        line=line("workflow", "show", name),
    )


async def show_schedules(visit: Visit) -> Any:
    """Show all schedules with their next ticks and last runs."""
    found = await visit.call("schedules.list")
    values = {
        "title": "Schedules",
        "schedules": found["schedules"],
        "may": visit.may(Role.OPERATE),
        "operation": new_key(),
    }
    return await visit.show("schedules.html", values, here="Schedules", line=line("schedule", "list"))


def _change(verb: str) -> Any:
    async def change(visit: Visit) -> Any:
        """Change one schedule as its form says, and show all schedules again."""
        path = {name: visit.path[name] for name in ("namespace", "name")}
        key = visit.form.get("operation") or new_key()
        await visit.call(
            f"schedules.{verb}", path=path, key=key, given={"reason": visit.form.get("reason", "")}
        )
        return visit.done("/console/schedules", f"schedule-{verb}")

    return change


_SCHEDULE: Final = "/console/schedules/{namespace:str}/{name:str}"
PAGES: Final = (
    Page(path="/console/workflows", handler=show_list),
    Page(path="/console/workflows/{namespace:str}/{name:str}", handler=show),
    Page(path="/console/schedules", handler=show_schedules),
    *(
        Page(
            path=f"{_SCHEDULE}/{verb}",
            handler=_change(verb),
            method="POST",
            role=Role.OPERATE,
            form_on="/console/schedules",
        )
        for verb in ("enable", "disable", "run")
    ),
)
