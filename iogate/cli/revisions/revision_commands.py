"""`iogate apply`: publication of the files as the live revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli.options import parse_seconds
from iogate.cli.session import Session, command
from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.reconcile.diff import Changes

PANEL = "Live"


def register(app: typer.Typer) -> None:
    command(app, "apply", rich_help_panel=PANEL)(apply)


async def apply(
    session: Session,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Allow an apply that deletes every API.")
    ] = False,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="Longest time to wait for gateways and workers.")
    ] = "5s",
    rollback_on_failure: Annotated[
        bool,
        typer.Option(
            "--rollback-on-failure", help="Publish the content before again if a process cannot load it."
        ),
    ] = False,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="Note for the history of revisions.")
    ] = "",
    update_lock: Annotated[
        bool,
        typer.Option("--update-lock", help="Accept fetched documents that differ from iogate.lock."),
    ] = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Refuse fetched documents without an entry in iogate.lock."),
    ] = False,
) -> None:
    """Publish apis.d and workflows.d as the live revision; running processes load it at once.

    Raises:
        Misused, InvalidFiles: options or files are wrong.
        NotConverged: the revision is live, but not every process has loaded it in time.
    """
    from iogate.cli.documents.bundle import compile_or_fail, save_lock
    from iogate.cli.revisions.publication import (
        describe_convergence,
        publish,
        read_origin,
        roll_back,
        summarize,
    )
    from iogate.reconcile.apply import NotConverged

    settings = session.settings()
    wait_s = parse_seconds(wait, "--wait")
    if update_lock and locked:
        raise Misused("--update-lock and --locked cannot be combined")
    origin = read_origin(settings, message)
    checked = compile_or_fail(
        settings, purpose="apply", mode="update" if update_lock else "frozen" if locked else "add"
    )
    if not locked:
        save_lock(session.screen, checked)
    async with session.store(settings, changes=True, publishes=True) as store:
        late: NotConverged | None = None
        try:
            applied = await publish(
                store, checked, origin=origin, allow_empty=allow_empty, wait_s=wait_s or 0
            )
        except NotConverged as error:
            late, applied = error, error.applied
        rolled_back: int | None = None
        undone = ""
        if late is not None and rollback_on_failure:
            undone, rolled_back = await roll_back(store, late, settings, wait_s or 0)
        gates = await store.gates.states()
    part = applied.difference.apis
    marks = [*_change_marks(part), *_change_marks(applied.difference.schedules, "schedule of ")]
    session.screen.data(
        "apply",
        {**applied.to_json(), "rolledBack": rolled_back},
        [summarize(applied), *(f"  {mark} {api}" for mark, api in marks), describe_convergence(applied)],
    )
    closed = [api for api in part.added if api in gates and not gates[api].enabled]
    if closed:
        session.screen.note(f"not enabled yet: iogate enable {' '.join(closed)}")
    if undone:
        session.screen.warn(undone)
    if late is not None:
        raise late if rolled_back is None else late.rolled_back()


def _change_marks(part: Changes, of: str = "") -> list[tuple[str, str]]:
    return [
        *(("+", of + each) for each in part.added),
        *(("~", of + change.id) for change in part.changed),
        *(("-", of + each) for each in part.removed),
    ]
