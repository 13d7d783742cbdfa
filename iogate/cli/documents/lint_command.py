"""`iogate lint`: advice about documents, with corrections for a part of it.

`validate` says whether documents can be applied; `lint` adds rules about what is valid and probably not
intended, with severities. Invariant: `--fix` writes a file only if it still has the text that was checked,
and never adds an error.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import completion, panels
from iogate.cli.documents.bundle import CheckResult, check_documents
from iogate.cli.documents.problem_display import problem_json, show_problems
from iogate.cli.documents.source_diff import unified_diff
from iogate.cli.options import PathsArgument
from iogate.cli.render import Output
from iogate.cli.reports.problem_report import FORMATS, ProblemReport, settings_problems
from iogate.cli.session import CHANGES, Session, command
from iogate.errors import InvalidFiles, Misused, Refused
from iogate.messages import counted, did_you_mean

if TYPE_CHECKING:
    from iogate.documents.fixes import Fix
    from iogate.documents.problems import Problem
    from iogate.documents.yaml.source import Source
    from iogate.settings import Settings

_MOST_PASSES = 40
"""Passes of `--fix`: a correction may reveal another one; one that causes an error is found by halves."""
_MOST_FIXES = 200
"""Fixes of one file in one pass."""


def register(app: typer.Typer) -> None:
    command(app, "lint", formats=FORMATS, rich_help_panel=panels.DOCUMENTS)(lint)


def lint(
    session: Session,
    paths: PathsArgument = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="RULES",
            help="Only these rules, besides errors: codes or their beginnings, separated by commas.",
            autocompletion=completion.codes,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore", metavar="RULES", help="Without these rules.", autocompletion=completion.codes
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Correct the files where that is safe.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what --fix would change, and change nothing.")
    ] = False,
) -> None:
    """Report the problems that `validate` reports, and warnings about valid but doubtful documents.

    Raises:
        InvalidFiles: there are errors, or with `--strict` warnings.
        Exit: with `--diff`, there are corrections.
        Misused: an option names no rule.
    """
    if diff and session.screen.output in FORMATS:
        raise Misused(f"--diff has no format {session.screen.output}")
    selected = _selected(select or (), ignore or ())
    settings, wrong = None, None
    try:
        settings = session.settings()
    except InvalidFiles as error:
        wrong = error
    linted = _lint(settings, paths, selected, corrects=fix or diff)
    if fix and not diff:
        linted.write()
    problems = linted.problems
    if wrong is not None:
        problems = (*settings_problems(wrong.message, wrong.code), *problems)
    counts = {
        level: sum(each.severity == level for each in problems) for level in ("error", "warning", "advice")
    }
    if diff:
        session.screen.data("lint", {"changes": linted.diffs()}, linted.diffs().values())
    elif session.screen.output is Output.TEXT:
        show_problems(problems, linted.checked.sources, sys.stdout)
    else:
        files = tuple(linted.checked.documents.sources)
        session.screen.data(
            "lint",
            {
                "ok": not counts["error"],
                "files": len(files),
                "errors": counts["error"],
                "warnings": counts["warning"],
                "advice": counts["advice"],
                "fixed": {path: len(fixes) for path, fixes in linted.made.items()},
                "problems": [{**problem_json(each), "fixable": each.fix is not None} for each in problems],
            },
            formats=ProblemReport(command="lint", files=files, problems=problems).formats(),
        )
    _conclude(session, linted, counts, strict=strict, diff=diff, given=paths)


def _conclude(
    session: Session,
    linted: _Linted,
    counts: Mapping[str, int],
    *,
    strict: bool,
    diff: bool,
    given: list[Path] | None,
) -> None:
    """Print the summary of `iogate lint` on stderr.

    Raises:
        InvalidFiles: the command fails.
        Exit: `diff` shows corrections.
    """
    screen, files = session.screen, len(linted.checked.documents.sources)
    if not files and not counts["error"]:
        where = ", ".join(map(str, given or ("apis.d", "workflows.d")))
        screen.warn(f"nothing to check: no files found in {where} of {Path.cwd()}")
        return
    corrections = sum(map(len, linted.made.values()))
    if diff:
        if corrections:
            made = f"{counted(corrections, 'correction')} in {counted(len(linted.made), 'file')}"
            screen.note(f'{made}: make them with "iogate lint --fix"')
            raise typer.Exit(CHANGES)
        screen.note(f"{counted(files, 'file')}: nothing to correct")
        return
    if corrections:
        screen.note(f"made {counted(corrections, 'correction')} in {', '.join(linted.made)}")
    fixable = sum(each.fix is not None for each in linted.problems)
    summary = (
        f"{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}, "
        f"{counts['advice']} advice"
    )
    can = "; --fix can correct " + str(fixable) if fixable else ""
    screen.note(f"{counted(files, 'file')}: {summary}{can}")
    if counts["error"] or (strict and counts["warning"]):
        failing = counted(counts["error"], "error")
        if strict and counts["warning"]:
            failing += f", {counted(counts['warning'], 'warning')}"
        raise InvalidFiles(f"lint failed: {failing}", hint='run "iogate explain CODE" for details')


@dataclass(kw_only=True)
class _Linted:
    """Findings about the project after corrections, and these corrections."""

    checked: CheckResult
    problems: tuple[Problem, ...]
    before: Mapping[str, Source] = field(default_factory=dict)
    """Sources of the corrected files as they are on the disk, by path."""
    edited: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, list[Fix]] = field(default_factory=dict)

    def diffs(self) -> dict[str, str]:
        """Return a unified diff for each file that `iogate lint` corrects, with secrets masked."""
        after = self.checked.sources
        return {path: "\n".join(unified_diff(self.before[path], after[path], path)) for path in self.edited}

    def write(self) -> None:
        """Write the files that `iogate lint --fix` has corrected.

        Raises:
            Refused: a file has changed since it was read, or cannot be written.
        """
        from iogate.atomic_files import write_atomically

        for path, text in self.edited.items():
            file = Path(path).resolve()
            try:
                raw = file.read_bytes()
                mark = codecs.BOM_UTF8 if raw.startswith(codecs.BOM_UTF8) else b""
                if raw[len(mark) :] != self.before[path].text.encode():
                    raise Refused(f"{path} has changed while it was checked", hint="run the command again")
                write_atomically(file, mark + text.encode(), mode=file.stat().st_mode & 0o7777)
            except OSError as error:
                raise Refused(f"{path} cannot be corrected: {error.strerror}") from None


def _lint(
    settings: Settings | None, paths: list[Path] | None, selected: frozenset[str], *, corrects: bool
) -> _Linted:
    """Check the project for `iogate lint`; `corrects` also applies fixes in memory, until none is left."""
    from iogate.documents.yaml.edits import apply_fixes

    linted = _once(settings, paths, selected, {})
    if not corrects:
        return linted
    original = linted.checked.sources
    edited: dict[str, str] = {}
    made: dict[str, list[Fix]] = {}
    refused: set[tuple[str, Fix]] = set()
    most: dict[str, int] = {}  # fixes of a file in the next pass
    for _ in range(_MOST_PASSES):
        wanted: dict[str, list[Fix]] = {}
        for problem in linted.problems:
            if problem.fix is not None and (problem.path, problem.fix) not in refused:
                wanted.setdefault(problem.path, []).append(problem.fix)
        if not wanted:
            break
        trial = dict(edited)
        done: dict[str, tuple[Fix, ...]] = {}
        for path, fixes in wanted.items():
            del fixes[most.get(path, _MOST_FIXES) :]
            text, applied = apply_fixes(trial.get(path, original[path].text), path, fixes)
            refused.update((path, each) for each in fixes if each not in applied)
            if applied:
                trial[path], done[path] = text, applied
        if not done:
            continue
        again = _once(settings, paths, selected, trial)
        # A correction must not reveal another error; what is only probably meant may not fit.
        worse = {path for path in done if _errors(again.problems, path) > _errors(linted.problems, path)}
        for path in worse:
            applied = done.pop(path)
            most[path] = max(1, len(applied) // 2)
            if len(applied) == 1:
                refused.add((path, applied[0]))
        for path, applied in done.items():
            most[path] = min(_MOST_FIXES, 2 * most.get(path, _MOST_FIXES))
            edited[path] = trial[path]
            made.setdefault(path, []).extend(applied)
        linted = _once(settings, paths, selected, edited) if worse else again
    return _Linted(
        checked=linted.checked,
        problems=linted.problems,
        before={path: original[path] for path in edited},
        edited=edited,
        made=made,
    )


def _once(
    settings: Settings | None, paths: list[Path] | None, selected: frozenset[str], edited: Mapping[str, str]
) -> _Linted:
    from iogate.compiler.lint import linter
    from iogate.compiler.lint.project import Project

    checked = check_documents(settings, paths=paths or None, ignored=True, edited=edited)
    project = Project(
        documents=checked.documents,
        definitions=checked.definitions,
        settings=settings,
        partial=bool(paths),
    )
    levels = {} if settings is None else settings.lint
    return _Linted(checked=checked, problems=linter.assess(project, checked.problems, levels, selected))


def _errors(problems: Iterable[Problem], path: str) -> int:
    return sum(each.severity == "error" and each.path == path for each in problems)


def _selected(select: Iterable[str], ignore: Iterable[str]) -> frozenset[str]:
    """Return the lint rules that `--select` and `--ignore` leave.

    Raises Misused if an option names no rule.
    """
    from iogate.settings.lint_rules import LINT_RULES

    def rules(option: str, texts: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for name in (part.strip().upper() for text in texts for part in text.split(",")):
            fitting = {code for code in LINT_RULES if name and code.startswith(name)}
            if not fitting:
                raise Misused(
                    f"{option} {name}: no lint rule has this code{did_you_mean(name, LINT_RULES)}",
                    hint='list the codes with "iogate explain"; errors cannot be selected or ignored',
                )
            found |= fitting
        return found

    chosen, unwanted = rules("--select", select), rules("--ignore", ignore)
    return frozenset((chosen or {*LINT_RULES}) - unwanted)
