"""`iogate runs prune`: delete ended runs before their retention is over, to free the store's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli.options import ApiFilter, StatusFilter, parse_moment_ms
from iogate.cli.render import plain_table, write_stderr
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
from iogate.errors import Misused
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.cli.system.system import Json

BeforeOption = Annotated[
    str,
    typer.Option(
        "--before",
        metavar="WHEN",
        help="Only runs that ended before this time: 1h (ago), 7d, or a date and time.",
    ),
]


def register(group: typer.Typer) -> None:
    """Add the command `prune` to `iogate runs`."""
    command(group, "prune", over_http=True)(prune)


async def prune(
    session: Session,
    before: BeforeOption,
    api: ApiFilter = None,
    status_: StatusFilter = None,
    workflow: WorkflowFilter = None,
    caller: CallerFilter = None,
    revision: RevisionFilter = None,
    parent: ParentFilter = None,
    project: ProjectFilter = None,
    where: WhereFilter = None,
    reason: Annotated[str, typer.Option(help="Reason, recorded in the activity.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete all that the filters match.")] = False,
) -> None:
    """Delete ended runs before their retention is over, even if the store is full.

    Raises:
        Misused: a filter is invalid, or `--yes` is missing; over HTTP also without a reason.
        NotFound: there is no such API.
    """
    from iogate.cli.system.system import Deletion

    wanted = Filters(
        api=api, status=status_, workflow=workflow, caller=caller, revision=revision, parent=parent,
        project=project, where=where,
    ).parse()  # fmt: skip
    moment = parse_moment_ms(before, "--before")
    assert moment is not None

    def confirm(preview: Json) -> None:
        """Show the runs to delete. Raises Misused if there are any and `--yes` is missing."""
        if not preview["count"]:
            session.screen.note("no run matches the filters")
        _require_confirmation(preview, yes=yes)

    async with session.system(changes=True) as system:
        pruned = await system.runs.prune(
            Deletion(filter=wanted, before_ms=moment, reason=reason, confirm=confirm)
        )
    session.screen.data("runs.prune", {"pruned": pruned}, [f"deleted {counted(pruned, 'run')}"])


def _require_confirmation(preview: Json, *, yes: bool) -> None:
    """List the first runs to prune on stderr and raise, unless `yes` is true.

    Raises:
        Misused: `yes` is false and there are runs.
    """
    count, sample = preview["count"], preview["sample"]
    if yes or not count:
        return
    write_stderr(plain_table(run_table(sample)))
    if count > len(sample):
        write_stderr(f"… and {count - len(sample)} more")
    number = counted(count, "run") if preview["complete"] else f"at least {counted(count, 'run')}"
    raise Misused(f"this deletes {number}", hint="add --yes to confirm")
