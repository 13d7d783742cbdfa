"""`iogate workflow`: list and show the live workflows, their APIs and their schedules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import completion, panels
from iogate.cli.live_revision import live_revision
from iogate.cli.messages import did_you_mean
from iogate.cli.render import Table
from iogate.cli.session import Session, command
from iogate.errors import NotFound

if TYPE_CHECKING:
    from iogate.store.revisions.due_schedules import Upcoming

group = typer.Typer(help="List and show the live workflows.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="workflow", rich_help_panel=panels.LIVE)


@command(group, "list")
async def list_(session: Session) -> None:
    """List the live workflows, the APIs that start them, and their schedules."""
    async with session.store(session.settings()) as store:
        number, revision = await live_revision(store)
        scheduled = schedules_json((await store.schedules.upcoming()).values())
    rows: list[dict[str, Any]] = [
        {
            "workflow": name,
            "title": workflow.title,
            "apis": sorted(api.id for api in revision.apis.values() if api.workflow == name),
            "schedule": scheduled.get(name),
            "source": workflow.source,
        }
        for name, workflow in sorted(revision.workflows.items())
    ]
    session.screen.data(
        "workflow.list",
        {"revision": number, "workflows": rows},
        [
            Table(
                columns=("workflow", "apis", "schedule", "next", "title", "source"),
                rows=[
                    (row["workflow"], row["apis"], *_cells(row["schedule"]), row["title"], row["source"])
                    for row in rows
                ],
            )
        ],
    )


@command(group, "show")
async def show(
    session: Session,
    workflow: Annotated[
        str, typer.Argument(metavar="NAMESPACE/NAME[:VERSION]", autocompletion=completion.workflows)
    ],
) -> None:
    """Show the definition of a live workflow and its next scheduled start.

    Raises:
        NotFound: no live workflow has this name.
    """
    from iogate.cli.render import to_yaml
    from iogate.compiler import resolved_references

    async with session.store(session.settings()) as store:
        number, revision = await live_revision(store)
        names = [
            name for name in sorted(revision.workflows) if name == workflow or name.startswith(workflow + ":")
        ]
        if not names:
            plain = {name.partition(":")[0] for name in revision.workflows}
            raise NotFound(
                f"no live workflow {workflow}{did_you_mean(workflow, plain)}",
                hint='list them with "iogate workflow list"',
            )
        name = names[-1]
        program = json.loads(await store.revisions.program(revision.workflows[name].program))
        schedule = schedules_json((await store.schedules.upcoming()).values()).get(name)
    stored, _ = resolved_references.split(program)
    # The stored definition is sorted by name: restore the order of documents, from the head to the tasks.
    head = {key: stored[key] for key in ("document", "input", "use") if key in stored}
    definition = head | {key: value for key, value in stored.items() if key not in {*head, "do"}}
    definition["do"] = stored["do"]
    session.screen.data(
        "workflow.show",
        {"workflow": name, "revision": number, "schedule": schedule, "definition": definition},
        [to_yaml(definition).rstrip("\n")],
    )
    if schedule is not None:
        session.screen.note(f"{schedule['when']}; next: {_next(schedule)}")


def schedules_json(found: Iterable[Upcoming]) -> dict[str, dict[str, Any]]:
    """Return each schedule of the live workflows as JSON, by the full name of its workflow."""
    from iogate.store.runs.presentation import rfc3339

    return {
        each.workflow: {
            "when": str(each.schedule),
            "missed": each.schedule.missed,
            "overlap": each.schedule.overlap,
            "jitterS": each.schedule.jitter_ms / 1000,
            "disabled": each.disabled,
            "nextAt": rfc3339(each.next_ms),
            "run": each.run,
        }
        for each in found
    }


def schedule_table(schedules: dict[str, dict[str, Any]]) -> Table:
    """Return a table of the schedules of live workflows."""
    return Table(
        columns=("scheduled", "when", "next"),
        rows=[(workflow, *_cells(schedule)) for workflow, schedule in sorted(schedules.items())],
    )


def _cells(schedule: dict[str, Any] | None) -> tuple[str | None, str | None]:
    return (None, None) if schedule is None else (schedule["when"], _next(schedule))


def _next(schedule: dict[str, Any]) -> str:
    if schedule["disabled"]:
        return "disabled"
    if schedule["when"] == "on events":  # `nextAt` is the time at which it starts to listen
        return "when events arrive"
    if schedule["nextAt"] is not None:
        return str(schedule["nextAt"])
    return f"after run {schedule['run']}" if schedule["run"] else "now"
