"""`iogate apply`: publication of the files as the live revision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.options import parse_seconds
from iogate.cli.plans.publication_options import (
    WAIT,
    EmptyOption,
    MaxDeletesOption,
    MessageOption,
    OrphansOption,
    PruneOption,
    RepairOption,
    SelectOption,
    WaitOption,
    YesOption,
)
from iogate.cli.session import Session, command
from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.cli.system.system import Revisions
    from iogate.operators.publication_plan import PublicationPlan


def register(app: typer.Typer) -> None:
    command(app, "apply", over_http=True, rich_help_panel=panels.LIVE)(apply)


async def apply(
    session: Session,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Plan of `iogate plan --out FILE`.", show_default=False),
    ] = None,
    yes: YesOption = False,
    prune: PruneOption = False,
    keep_orphans: OrphansOption = False,
    allow_empty: EmptyOption = False,
    max_deletes: MaxDeletesOption = None,
    select: SelectOption = "",
    clear_overrides: Annotated[
        bool,
        typer.Option("--clear-overrides", help="End all overrides, so that `enabled` in the files applies."),
    ] = False,
    expect: Annotated[
        int | None,
        typer.Option("--expect", metavar="N", help="Replace only this revision; 0: only if there is none."),
    ] = None,
    keep_rollback: Annotated[
        bool, typer.Option("--keep-rollback", help="Refuse content that the last rollback took back.")
    ] = False,
    commit: Annotated[
        str, typer.Option("--commit", metavar="SHA", help="Commit of files that are not in a clone.")
    ] = "",
    require_clean: Annotated[
        bool, typer.Option("--require-clean", help="Refuse files that differ from the git commit.")
    ] = False,
    wait: WaitOption = WAIT,
    rollback_on_failure: Annotated[
        bool,
        typer.Option(
            "--rollback-on-failure", help="Publish the content before again if a process cannot load it."
        ),
    ] = False,
    message: MessageOption = "",
    update_lock: Annotated[
        bool,
        typer.Option("--update-lock", help="Accept fetched documents that differ from iogate.lock."),
    ] = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Refuse fetched documents without an entry in iogate.lock."),
    ] = False,
    repair: RepairOption = False,
) -> None:
    """Show the plan, ask, and publish apis.d and workflows.d as the live revision.

    Raises:
        Misused, InvalidFiles: options or files are wrong, or there is no terminal to ask on.
        Refused: the plan deletes more than the options allow, or it is not confirmed.
        Conflict: another revision than that of `--expect` is live.
        NotConverged: the revision is live, but not every process has loaded it in time.
    """
    from iogate.cli.documents.bundle import compile_or_fail, save_lock
    from iogate.cli.plans import plan_files, plan_publication
    from iogate.cli.plans.case_verdicts import case_reader
    from iogate.cli.revisions.folder_publication import read_origin
    from iogate.cli.system.system import PlanRequest, PublicationRequest
    from iogate.reconcile.deletion_guard import Allowed
    from iogate.reconcile.wanted_revision import Scope
    from iogate.store.revisions.revisions import Conflict

    settings = session.settings()
    wait_s = parse_seconds(wait, "--wait")
    if update_lock and locked:
        raise Misused("--update-lock and --locked cannot be combined")
    if prune and keep_orphans:
        raise Misused("--prune and --keep-orphans cannot be combined")
    if repair and (file is not None or expect is not None or keep_rollback):
        raise Misused("--repair cannot be combined with a saved plan, --expect or --keep-rollback")
    saved = None if file is None else plan_files.read(file)
    if saved is not None and (select or keep_orphans):
        raise Misused(f"{file} already says what is selected, and whether orphans are kept")
    if clear_overrides and (select or (saved is not None and saved.scope.select)):
        raise Misused(
            "--clear-overrides and --select cannot be combined",
            hint='clear those of some APIs with "iogate override clear"',
        )
    scope = Scope(select=select, keep_orphans=keep_orphans) if saved is None else saved.scope
    allowed = Allowed(prune=prune, empty=allow_empty, max_deletes=max_deletes)
    origin = read_origin(settings, message, commit)
    if require_clean:
        plan_publication.check_clean(origin)
    checked = compile_or_fail(
        settings, purpose="apply", mode="update" if update_lock else "frozen" if locked else "add"
    )
    if not locked:
        save_lock(session.screen, checked)
    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    files = PlanRequest(bundle=checked.bundle, scope=scope, cases=case_reader(checked, Path.cwd()))
    async with session.system(settings, changes=True, publishes=True) as system:

        async def confirm(found: PublicationPlan) -> None:
            """Check the plan, show it and ask. Raises Refused or Misused if it is not to be published."""
            if saved is not None:
                await plan_files.check(saved, found, system.revisions)
            if repair:
                plan_publication.note_faults(session.screen, found)
            if expect is not None and found.number != expect:
                raise Conflict(found.number, expect)
            if keep_rollback:
                await _check_rollback(system.revisions, found)
            found.check(allowed)
            plan_publication.confirm_plan(
                session, found, "Apply", yes=yes or saved is not None, clear_overrides=clear_overrides
            )

        done = await system.revisions.publish(
            PublicationRequest(
                source=files,
                origin=origin,
                allowed=allowed,
                wait_s=wait_s or 0,
                clear_overrides=clear_overrides,
                rollback_on_failure=rollback_on_failure,
                repair=repair,
                confirm=confirm,
            )
        )
    plan_publication.report(session, done, "apply")


async def _check_rollback(revisions: Revisions, found: PublicationPlan) -> None:
    """Check that the live revision is not a rollback of the changes that an apply publishes.

    Raises Refused if it is.
    """
    from iogate.reconcile import deletion_guard

    if found.restored is not None:
        history = (await revisions.history(deletion_guard.WHOLE_HISTORY))["revisions"]
        deletion_guard.check_rollback(history, found.wanted)
