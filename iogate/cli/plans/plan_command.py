"""`iogate plan`: difference between the files and the live revision, or another tree of git."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import panels
from iogate.cli.options import ExitCodeOption, parse_seconds
from iogate.cli.plans.plan_text import plan_lines
from iogate.cli.plans.publication_options import OrphansOption, SelectOption
from iogate.cli.render import Output
from iogate.cli.session import CHANGES, Session, command
from iogate.errors import InvalidFiles, IogateError, Misused
from iogate.messages import counted
from iogate.security.control_characters import escape_line

if TYPE_CHECKING:
    from iogate.cli.documents.bundle import CheckResult
    from iogate.cli.plans.replay_report import Replays
    from iogate.cli.system.system import PlanRequest, Revisions
    from iogate.operators.publication_plan import PublicationPlan
    from iogate.reconcile.plan import Plan
    from iogate.reconcile.wanted_revision import Scope
    from iogate.settings import Settings


class FailOn(StrEnum):
    """Kind of change that a pipeline does not accept."""

    BREAKING = "breaking"
    WEAKENING = "weakening"
    DELETING = "deleting"


def register(app: typer.Typer) -> None:
    command(app, "plan", formats=(Output.MARKDOWN,), over_http=True, rich_help_panel=panels.LIVE)(plan)


async def plan(
    session: Session,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="GITREF", help="Compare with this git revision instead of live; needs no store."
        ),
    ] = None,
    select: SelectOption = "",
    keep_orphans: OrphansOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Save the plan for `iogate apply FILE`.")
    ] = None,
    exit_code: ExitCodeOption = False,
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(
            "--fail-on", help="Exit with 2 if there is such a change; may be repeated.", show_default=False
        ),
    ] = None,
    replay: Annotated[
        int | None,
        typer.Option(
            "--replay",
            metavar="N",
            help="Replay the last N runs of each changed workflow with both definitions, without effects.",
            min=1,
            max=1_000,
        ),
    ] = None,
    replay_limit: Annotated[
        str, typer.Option("--replay-limit", metavar="TIME", help="Longest time of all replays.")
    ] = "60s",
) -> None:
    """Show the changes from the live revision to the files, and their meaning; change nothing.

    Raises:
        InvalidFiles: a document of the files, or of the git revision, has an error.
        NotFound: there is no such git revision, tag or module.
        Misused: the options cannot be combined.
    """
    from iogate.cli.documents.bundle import compile_or_fail
    from iogate.cli.plans import plan_files
    from iogate.cli.plans.case_verdicts import case_reader
    from iogate.cli.system.system import PlanRequest
    from iogate.reconcile.wanted_revision import Scope

    if out is not None and base is not None:
        raise Misused("--out needs a plan against live; it cannot be combined with --base")
    if replay is not None and base is not None:
        raise Misused("--replay needs the runs of the store; it cannot be combined with --base")
    limit_s = parse_seconds(replay_limit, "--replay-limit")
    scope = Scope(select=select, keep_orphans=keep_orphans)
    settings = session.settings()
    if base is not None:
        checked = compile_or_fail(settings, purpose="validate")
        found, needs = plan_against_tree(session, settings, checked, base, scope)
        head = {"base": {"ref": base}, "needs": needs}
        same = f"No changes: {escape_line(base)} is the same as the files"
        _show(
            session,
            found,
            [f"compared with {base}"],
            head,
            "iogate plan",
            None,
            summary="" if found else same,
        )
    else:
        checked = compile_or_fail(settings, purpose="apply")
        assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
        files = PlanRequest(bundle=checked.bundle, scope=scope, cases=case_reader(checked, Path.cwd()))
        replays = None
        async with session.system(settings) as system:
            if replay is not None:
                session.screen.note(f"replaying up to {replay:,} runs of each changed workflow …")
                replays = await _replay(system.revisions, files, replay, limit_s)
            live_plan = await system.revisions.plan(files)
        found, needs = live_plan.plan, live_plan.needs
        show_live_plan(session, live_plan, replays)
        if out is not None:
            plan_files.write(out, live_plan, scope)
            session.screen.note(f"saved the plan: iogate apply {out}")
    failing = failures(found, needs, fail_on or ())
    for text in failing:
        session.screen.note(text, style="red")
    if failing or (exit_code and found):
        raise typer.Exit(CHANGES)


def failures(found: Plan, needs: Sequence[str], fail_on: Sequence[FailOn]) -> list[str]:
    """Return a line for each kind of `--fail-on` that a plan has; `needs` are the options to delete."""
    texts = []
    for kind in dict.fromkeys(fail_on):
        if kind is FailOn.DELETING:
            if needs:
                texts.append(f"--fail-on {kind}: an apply needs {' '.join(needs)}")
        elif number := found.marked[kind]:
            texts.append(f"--fail-on {kind}: the plan has {counted(number, f'{kind} change')}")
    return texts


def plan_against_tree(
    session: Session, settings: Settings, checked: CheckResult, reference: str, scope: Scope
) -> tuple[Plan, list[str]]:
    """Return the plan from the tree of a git revision to compiled files, and the options that an apply needs.

    No store is needed.

    Raises:
        NotFound: there is no such git revision.
        InvalidFiles: the documents of the git revision have errors.
    """
    from iogate.cli.documents.bundle import check_documents
    from iogate.cli.plans.case_verdicts import case_reader
    from iogate.cli.plans.git_tree import git_tree
    from iogate.reconcile import deletion_guard
    from iogate.reconcile.plan import Side, plan
    from iogate.reconcile.plan_facts import Facts
    from iogate.reconcile.wanted_revision import wanted

    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    with git_tree(reference) as folder:
        settings = _settings_there(folder, session, settings)
        there = check_documents(settings, purpose="validate", root=folder, allow_unsupported=True)
    if there.bundle is None:
        first = next(each for each in there.problems if each.severity == "error")
        raise InvalidFiles(
            f"the files of {reference} are invalid: {first.path}:{first.line}: {first.message}",
            code="IOG701",
            hint="compare with a revision whose files `iogate validate` accepts",
        )
    bundle = wanted(there.bundle.revision, checked.bundle, scope)
    cases = case_reader(checked, Path.cwd())(there.bundle.revision, bundle.revision)
    needs = deletion_guard.needed(there.bundle.revision, bundle.revision)
    return plan(Side.of(there.bundle), Side.of(bundle), Facts(cases=cases)), needs


def _settings_there(folder: Path, session: Session, settings: Settings) -> Settings:
    """Return the settings in the tree of `plan --base`; `settings` if they are invalid."""
    from iogate import settings as settings_module
    from iogate.cli.settings_files import read_files
    from iogate.settings import project_environments

    with contextlib.chdir(folder), contextlib.suppress(IogateError):
        files = read_files(session.environment or os.environ.get(project_environments.VARIABLE))
        return settings_module.read(files.values, os.environ, place_of=files.place)
    return settings


async def _replay(revisions: Revisions, files: PlanRequest, count: int, limit_s: float | None) -> Replays:
    """Replay for `iogate plan --replay` the last runs of the changed workflows. Raises Misused over HTTP."""
    from iogate.cli.plans.replay_report import Replays
    from iogate.testing.behaviour.replays import LIMIT_S

    results = await revisions.replay(files, count=count, limit_s=limit_s or LIMIT_S)
    return Replays(count=count, workflows=results)


def show_live_plan(session: Session, found: PublicationPlan, replays: Replays | None) -> None:
    """Print a plan against the live revision, and the state of the processes."""
    from iogate.operators.secrets import missing_secrets

    against = f"live revision {found.number}" if found.number else _nothing(found.project)
    head = found.head()
    if replays is not None:
        head["replay"] = replays.to_json()
    notes = [f"compared with {against} of {found.store}"]
    state = found.processes
    if state is not None and state.total:
        notes.append(f"{state}: {state.describe_late()}" if state.late else str(state))
    notes += missing_secrets.lines(found.missing)
    _show(session, found.plan, notes, head, "iogate plan", found, replays)


def _nothing(project: str) -> str:
    """Return the left side of a first plan: an empty store, or an empty project in a shared one."""
    from iogate.store.revisions.origin import DEFAULT_PROJECT

    return "an empty store" if project == DEFAULT_PROJECT else f"the empty project {project}"


def _show(
    session: Session,
    found: Plan,
    notes: list[str],
    head: dict[str, Any],
    title: str,
    live_plan: PublicationPlan | None,
    replays: Replays | None = None,
    *,
    summary: str = "",
) -> None:
    from iogate.cli.plans.plan_markdown import plan_markdown
    from iogate.cli.plans.plan_text import drift_lines, override_line

    overrides = live_plan.overrides if live_plan is not None else ()
    drifted = drift_lines(live_plan.drift) if live_plan is not None else []
    deletes = [f"an apply needs {' '.join(head['needs'])} to delete"] if head["needs"] else []
    for note in notes:
        session.screen.note(note, style="bright_black")
    session.screen.data(
        "plan",
        {} if session.screen.output is Output.TEXT else {**head, **found.to_json()},
        [
            *drifted,
            *plan_lines(found, overrides, summary=summary),
            *([] if replays is None else ["", *replays.lines()]),
        ],
        {
            Output.MARKDOWN: lambda: (
                plan_markdown(
                    found, title, [*deletes, *notes, *drifted, *map(override_line, overrides)], summary
                )
                + ("" if replays is None else replays.markdown())
            )
        },
    )
    if drifted:
        deletes.append(f"an apply repairs {counted(len(drifted), 'difference')} of the store")
    for note in deletes:
        session.screen.note(note, style="yellow")
