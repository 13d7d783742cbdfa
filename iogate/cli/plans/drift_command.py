"""`iogate drift`: differences of the live state from the last apply, and from the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.plans.plan_text import drift_lines, plan_lines
from iogate.cli.session import CHANGES, Session, command
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.reconcile.live_plan import LivePlan
    from iogate.settings import Settings
    from iogate.store.store import Store


def register(app: typer.Typer) -> None:
    command(app, "drift", rich_help_panel=panels.LIVE)(drift)


async def drift(
    session: Session,
    live_only: Annotated[
        bool, typer.Option("--live-only", help="Do not compare the files with the live revision.")
    ] = False,
) -> None:
    """Report overrides, changes of the store, and files that differ from live; exit with 2 if there are any.

    Raises:
        NotFound: nothing was applied yet.
        InvalidFiles: the files have errors.
        NotAuthentic: the live revision is forged.
    """
    from iogate.operators.live_revision import live_number
    from iogate.operators.publication_plan import describe_plan
    from iogate.reconcile.drift import find

    settings = session.settings()
    async with session.store(settings) as store:
        await live_number(store)
        found = await _plan(store, settings, live_only=live_only)
        changes = await find(store, found.before)
        shown = await describe_plan(store, found, with_processes=False)
    overrides = list(shown.overrides)
    drifted = bool(overrides or changes or found.plan)
    lines = drift_lines(changes)
    summary = f"revision {found.number}: " + (
        f"{counted(len(overrides), 'override')}, {counted(len(changes), 'change')} of the store, "
        + ("files not compared" if live_only else f"files: {_files(found)}")
        if drifted
        else "no drift"
    )
    session.screen.data(
        "drift",
        {
            "revision": found.number,
            "drifted": drifted,
            "overrides": overrides,
            "store": [each.to_json() for each in changes],
            "files": None if live_only else found.plan.to_json(),
        },
        [*lines, *plan_lines(found.plan, overrides, summary=summary)],
    )
    if drifted:
        raise typer.Exit(CHANGES)


def _files(found: LivePlan) -> str:
    return found.plan.summary().removeprefix("Plan: ") if found.plan else "no changes"


async def _plan(store: Store, settings: Settings, *, live_only: bool) -> LivePlan:
    """Return the plan from live to the files for `iogate drift`; with `live_only` an empty one."""
    from iogate.cli.documents.bundle import compile_or_fail
    from iogate.cli.plans.case_verdicts import case_reader
    from iogate.compiler.revision import Bundle
    from iogate.reconcile.live_plan import against_live, live

    if live_only:
        _, revision = await live(store)
        return await against_live(store, Bundle(revision=revision, programs={}))
    checked = compile_or_fail(settings, purpose="apply")
    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    return await against_live(store, checked.bundle, case_reader(checked, Path.cwd()))
