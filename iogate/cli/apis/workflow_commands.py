"""`iogate workflow`: list and show the live workflows, their APIs and their schedules."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iogate.cli import completion, panels
from iogate.cli.render import Table, to_yaml
from iogate.cli.session import Session, command

group = typer.Typer(help="List and show the live workflows.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="workflow", rich_help_panel=panels.LIVE)


@command(group, "list", over_http=True, fields_of="workflow.list")
async def list_(session: Session) -> None:
    """List the live workflows, the APIs that start them, and their schedules."""
    async with session.system() as system:
        value = await system.workflows.list()
    session.screen.data(
        "workflow.list",
        value,
        [
            Table(
                columns=("workflow", "apis", "schedule", "next", "title", "source"),
                rows=[
                    (row["workflow"], row["apis"], *_cells(row["schedule"]), row["title"], row["source"])
                    for row in value["workflows"]
                ],
            )
        ],
    )


@command(group, "show", over_http=True, fields_of="workflow.show")
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
    async with session.system() as system:
        value = await system.workflows.show(workflow)
    session.screen.data("workflow.show", value, [to_yaml(value["definition"]).rstrip("\n")])
    if (schedule := value["schedule"]) is not None:
        session.screen.note(f"{schedule['when']}; next: {_next(schedule)}")


def schedule_table(schedules: dict[str, dict[str, Any]]) -> Table:
    """Return a table of the live workflows that start by a schedule."""
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
