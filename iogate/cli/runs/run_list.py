"""`iogate runs list`: a page of runs, newest first, by filters."""

from __future__ import annotations

from typing import Annotated

import typer

from iogate.cli import live_view
from iogate.cli.options import ApiFilter, SinceFilter, StatusFilter, UntilFilter, WatchOption
from iogate.cli.render import Table
from iogate.cli.runs.run_display import run_table
from iogate.cli.runs.run_filters import (
    CallerFilter,
    Filters,
    ParentFilter,
    ProjectFilter,
    RevisionFilter,
    WhereFilter,
    WorkflowFilter,
)
from iogate.cli.session import Session, command


def register(group: typer.Typer) -> None:
    """Add the command `list` to `iogate runs`."""
    command(group, "list", over_http=True, fields_of="runs.list")(list_runs)


async def list_runs(
    session: Session,
    api: ApiFilter = None,
    status_: StatusFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    workflow: WorkflowFilter = None,
    caller: CallerFilter = None,
    revision: RevisionFilter = None,
    parent: ParentFilter = None,
    project: ProjectFilter = None,
    where: WhereFilter = None,
    limit: Annotated[int, typer.Option(help="Maximum number of runs, newest first.", min=1, max=10_000)] = 50,
    cursor: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Continue a list, with the cursor that it ended with."),
    ] = None,
    watch: WatchOption = False,
) -> None:
    """List runs, newest first.

    Raises:
        Misused: a filter or the cursor is invalid, or `--watch` is given with another format than text.
        NotFound: there is no such API.
    """
    filters = Filters(
        api=api, status=status_, since=since, until=until, workflow=workflow, caller=caller,
        revision=revision, parent=parent, project=project, where=where,
    )  # fmt: skip
    if watch:
        live_view.check(session.screen)
    async with session.system() as system:
        if watch:

            async def read() -> list[Table | str]:
                found = await system.runs.list(filters.parse(), limit=limit, cursor=cursor)
                return [run_table(found["runs"])]

            await live_view.watch(session.screen, read)
        page = await system.runs.list(filters.parse(), limit=limit, cursor=cursor)
    runs, back_to, following = page["runs"], page["lookedBackTo"], page["nextCursor"]
    if back_to is not None:
        session.screen.note(
            f"searched back to {back_to} only; add --cursor {following} to search further back"
        )
    elif following is not None:
        session.screen.note(f"for older runs, add --cursor {following}")
    elif not runs:
        session.screen.note("no run matches the filters" if filters.are_given or cursor else "no runs yet")
    session.screen.data("runs.list", page, [run_table(runs)])
