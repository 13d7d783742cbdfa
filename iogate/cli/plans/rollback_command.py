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
    from iogate.operators.publication_plan import PublicationPlan


def register(app: typer.Typer) -> None:
    command(app, "rollback", over_http=True, rich_help_panel=panels.LIVE)(rollback)


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
    from iogate.cli.revisions.folder_publication import check_message
    from iogate.cli.system.system import PublicationRequest
    from iogate.reconcile.deletion_guard import Allowed
    from iogate.store.revisions.origin import Origin

    check_message(message)
    if repair and revision is None:
        raise Misused("--repair needs the number of a revision", hint="`iogate history` lists them")
    wait_s = parse_seconds(wait, "--wait")
    allowed = Allowed(prune=prune, empty=allow_empty, max_deletes=max_deletes, restores=True)
    async with session.system(changes=True, publishes=True) as system:
        number = revision if revision is not None else await system.revisions.previous()

        async def confirm(found: PublicationPlan) -> None:
            """Check the plan, show it and ask. Raises Refused or Misused if it is not to be published."""
            if repair:
                plan_publication.note_faults(session.screen, found)
            found.check(allowed)
            if found.changes and revision is None:
                _note_repeated(session.screen, found)
            if found.plan:
                session.screen.note(f"restores revision {number} over live revision {found.number}")
            plan_publication.confirm_plan(session, found, f"Roll back to revision {number}", yes=yes)

        done = await system.revisions.publish(
            PublicationRequest(
                source=number,
                origin=Origin(author=author(), message=message.strip()),
                allowed=allowed,
                wait_s=wait_s or 0,
                repair=repair,
                confirm=confirm,
            )
        )
    plan_publication.report(session, done, "rollback")


def _note_repeated(screen: Screen, found: PublicationPlan) -> None:
    """Say that the live revision is a rollback: without a number, the command takes that back."""
    if found.restored is not None:
        screen.note(
            f"live revision {found.number} is a rollback to {found.restored}, and this takes it back; "
            "to go further back, name a revision of `iogate history`"
        )
