"""`iogate runs prune`: delete ended runs before their retention is over, to free the store's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli.options import ApiFilter, StatusFilter, parse_moment_ms
from iogate.cli.runs.bulk_changes import SHOWN, require_confirmation
from iogate.cli.runs.run_filters import (
    CallerFilter,
    Filters,
    ParentFilter,
    ProjectFilter,
    RevisionFilter,
    WhereFilter,
    WorkflowFilter,
)
from iogate.cli.session import Session, author, command
from iogate.errors import Misused
from iogate.messages import counted
from iogate.store.keys import ENDED

if TYPE_CHECKING:
    from iogate.store.runs.operations import Summary

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
    command(group, "prune")(prune)


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
        Misused: a filter is invalid, or `--yes` is missing.
        NotFound: there is no such API.
    """
    from iogate.operators.access import command_actor
    from iogate.operators.activity import Record, recorded, target
    from iogate.operators.runs.run_actions import require_known_names
    from iogate.store.runs.presentation import list_item

    wanted = Filters(
        api=api, status=status_, workflow=workflow, caller=caller, revision=revision, parent=parent,
        project=project, where=where,
    ).parse()  # fmt: skip
    if live := [each for each in wanted.statuses if each not in ENDED]:
        raise Misused(f"--status {live[0]}: only runs that have ended can be deleted")
    moment = parse_moment_ms(before, "--before")
    assert moment is not None
    async with session.store(session.settings(), changes=True) as store:
        first: list[Summary] = []
        uids: list[str] = []
        async for page in store.runs.ended_before(moment, wanted):
            first += page[: SHOWN - len(first)]
            uids += [run.uid for run in page]
        if not uids:
            await require_known_names(store, wanted)
            session.screen.note("no run matches the filters")
        require_confirmation("deletes", [list_item(each) for each in first], count=len(uids), yes=yes)
        pruned = 0
        if uids:
            actor, record = command_actor(author()), Record()
            about = target("run", uids)
            async with recorded(store, actor, "runs.prune", about, reason, record=record, frees_memory=True):
                pruned = record.count = await store.runs.prune(uids, moment)
    session.screen.data("runs.prune", {"pruned": pruned}, [f"deleted {counted(pruned, 'run')}"])
