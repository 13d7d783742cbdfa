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
from iogate.cli.session import Session, command
from iogate.errors import Misused, NotFound

if TYPE_CHECKING:
    from iogate.cli.render import Screen
    from iogate.settings import Settings
    from iogate.store.revisions.origin import Origin
    from iogate.store.store import Store

NONE_EARLIER = "IOG712"


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
    from iogate.reconcile.deletion_guard import Allowed
    from iogate.reconcile.live_plan import against_live

    if repair and revision is None:
        raise Misused("--repair needs the number of a revision", hint="`iogate history` lists them")
    settings = session.settings()
    wait_s = parse_seconds(wait, "--wait")
    allowed = Allowed(prune=prune, empty=allow_empty, max_deletes=max_deletes, restores=True)
    async with session.store(settings, changes=True, publishes=True) as store:
        number = revision if revision is not None else await _previous(store)
        bundle = await store.revisions.bundle(number)
        found = await against_live(store, bundle, restores=True, repair=repair)
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
        how = plan_publication.Publication(
            schema="rollback",
            origin=await _origin(store, settings, number, message),
            wait_s=wait_s or 0,
        )
        await plan_publication.publish(session, store, settings, found, how)


async def _previous(store: Store) -> int:
    """Return the number of the revision to roll back to: the one before the live one.

    Raises:
        NotFound: there is none, or the store does not keep it.
    """
    live = await store.revisions.live()
    earlier = [entry.number for entry in await store.revisions.history() if live and entry.number < live[0]]
    if not earlier:
        raise NotFound(
            "there is no earlier revision to restore",
            code=NONE_EARLIER,
            hint="`iogate history` lists the revisions that the store keeps",
        )
    return max(earlier)


async def _note_repeated(screen: Screen, store: Store) -> None:
    """Say that the live revision is a rollback: without a number, the command takes that back."""
    live = await store.revisions.live()
    origin = await store.revisions.origin(live[0]) if live is not None else None
    if live is not None and origin is not None and origin.action == "rollback":
        screen.note(
            f"live revision {live[0]} is a rollback to {origin.restores}, and this takes it back; "
            "to go further back, name a revision of `iogate history`"
        )


async def _origin(store: Store, settings: Settings, number: int, message: str) -> Origin:
    """Return the origin of the rollback: its author, and the commit of the restored revision."""
    import msgspec

    from iogate.cli.revisions.folder_publication import read_origin

    restored = await store.revisions.origin(number)
    return msgspec.structs.replace(
        read_origin(settings, message),
        commit=restored.commit if restored is not None else "",
        dirty=restored.dirty if restored is not None else False,
        action="rollback",
        restores=number,
    )
