"""`iogate rollback`: publication of the content of an earlier revision, as a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import completion, panels
from iogate.cli.options import parse_seconds
from iogate.cli.plans.publication_options import (
    WAIT,
    EmptyOption,
    MaxDeletesOption,
    MessageOption,
    PruneOption,
    RepairOption,
    WaitOption,
    YesOption,
)
from iogate.cli.session import Session, author, command
from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.cli.render import Screen
    from iogate.store.store import Store


def register(app: typer.Typer) -> None:
    command(app, "rollback", rich_help_panel=panels.LIVE)(rollback)


async def rollback(
    session: Session,
    revision: Annotated[
        int | None,
        typer.Argument(
            metavar="N",
            min=1,
            help="Revision to restore; default: the one before the live one.",
            autocompletion=completion.revisions,
            show_default=False,
        ),
    ] = None,
    yes: YesOption = False,
    prune: PruneOption = False,
    allow_empty: EmptyOption = False,
    max_deletes: MaxDeletesOption = None,
    wait: WaitOption = WAIT,
    message: MessageOption = "",
    repair: RepairOption = False,
) -> None:
    """Show the plan, ask, and publish the content of an earlier revision as a new one.

    Raises:
        NotFound: the store does not keep the revision, or there is no earlier one.
        Misused: there is no terminal to ask on.
        Refused: the plan deletes more than the options allow, or it is not confirmed.
        NotConverged: the revision is live, but not every process has loaded it in time.
    """
    from iogate.cli.plans import plan_publication
    from iogate.cli.plans.confirmation import confirm
    from iogate.cli.revisions.folder_publication import check_message
    from iogate.operators import publications
    from iogate.reconcile.deletion_guard import Allowed

    check_message(message)
    if repair and revision is None:
        raise Misused("--repair needs the number of a revision", hint="`iogate history` lists them")
    settings = session.settings()
    wait_s = parse_seconds(wait, "--wait")
    allowed = Allowed(prune=prune, empty=allow_empty, max_deletes=max_deletes, restores=True)
    async with session.store(settings, changes=True, publishes=True) as store:
        number = revision if revision is not None else await publications.previous(store)
        found = await publications.plan_rollback(store, number, repair=repair)
        if repair:
            plan_publication.note_faults(session.screen, found)
        found.check(allowed)
        if found.changes:
            if revision is None:
                await _note_repeated(session.screen, store)
            if found.plan:
                session.screen.note(f"restores revision {number} over live revision {found.number}")
            lines = plan_publication.shown_lines(found)
            question = plan_publication.question(found, f"Roll back to revision {number}")
            confirm(session.screen, [*lines, ""], question, yes=yes)
        origin = await publications.rollback_origin(store, number, author=author(), message=message)
        await plan_publication.publish(session, store, found, origin, schema="rollback", wait_s=wait_s or 0)


async def _note_repeated(screen: Screen, store: Store) -> None:
    """Say that the live revision is a rollback: without a number, the command takes that back."""
    live = await store.revisions.live()
    origin = await store.revisions.origin(live[0]) if live is not None else None
    if live is not None and origin is not None and origin.action == "rollback":
        screen.note(
            f"live revision {live[0]} is a rollback to {origin.restores}, and this takes it back; "
            "to go further back, name a revision of `iogate history`"
        )
