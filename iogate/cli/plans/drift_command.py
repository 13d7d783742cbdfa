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
    from iogate.cli.system.system import Revisions
    from iogate.operators.publication_plan import PublicationPlan
    from iogate.reconcile.plan import Plan
    from iogate.settings import Settings


def register(app: typer.Typer) -> None:
    command(app, "drift", over_http=True, rich_help_panel=panels.LIVE)(drift)


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
    from iogate.reconcile.drift import Drift
    from iogate.reconcile.plan import Plan

    settings = session.settings()
    async with session.system(settings) as system:
        found = await system.revisions.drift()
        plan = None if live_only else await _plan(system.revisions, settings)
        if plan is not None and plan.number != found["revision"]:
            # Another revision went live in between.
            found = await system.revisions.drift()
    overrides, changes = found["overrides"], [Drift(**each) for each in found["store"]]
    drifted = bool(overrides or changes or (plan is not None and plan.plan))
    summary = f"revision {found['revision']}: " + (
        f"{counted(len(overrides), 'override')}, {counted(len(changes), 'change')} of the store, "
        + ("files not compared" if plan is None else f"files: {_files(plan.plan)}")
        if drifted
        else "no drift"
    )
    shown = Plan(changes=()) if plan is None else plan.plan
    session.screen.data(
        "drift",
        {
            "revision": found["revision"],
            "drifted": drifted,
            "overrides": overrides,
            "store": found["store"],
            "files": None if plan is None else plan.plan.to_json(),
        },
        [*drift_lines(changes), *plan_lines(shown, overrides, summary=summary)],
    )
    if drifted:
        raise typer.Exit(CHANGES)


def _files(plan: Plan) -> str:
    return plan.summary().removeprefix("Plan: ") if plan else "no changes"


async def _plan(revisions: Revisions, settings: Settings) -> PublicationPlan:
    """Return the plan from live to the files for `iogate drift`. Raises InvalidFiles."""
    from iogate.cli.documents.bundle import compile_or_fail
    from iogate.cli.plans.case_verdicts import case_reader
    from iogate.cli.system.system import PlanRequest
    from iogate.reconcile.wanted_revision import EVERYTHING

    checked = compile_or_fail(settings, purpose="apply")
    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    cases = case_reader(checked, Path.cwd())
    return await revisions.plan(PlanRequest(bundle=checked.bundle, scope=EVERYTHING, cases=cases))
