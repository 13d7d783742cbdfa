"""All findings about a project, as the settings and the ignore comments of its files say.

Called by `iogate lint`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from iogate.compiler.lint import (
    call_rules,
    callers,
    debug_cases,
    exposure,
    input_fields,
    input_files,
    secrets,
    side_effects,
    unused_workflows,
)
from iogate.compiler.lint.project import Project
from iogate.documents.fixes import ReplaceComment
from iogate.documents.ignores import Ignore, read_ignores
from iogate.documents.problems import Problem, in_order
from iogate.settings.lint_rules import LINT_RULES, OFF, PARTLY_WARNINGS, UNUSED_IGNORE, Level

_RULES: Final[tuple[Callable[[Project], Iterator[Problem]], ...]] = (
    secrets.check,
    exposure.check,
    callers.check,
    debug_cases.check,
    side_effects.check,
    input_fields.check,
    call_rules.check,
    input_files.check,
    unused_workflows.check,
)
_VARYING: Final = frozenset({"IOG315", "IOG321", "IOG512", "IOG513", "IOG526", "IOG539", "IOG560"})
"""Rules whose findings depend on the machine, or on settings that differ between environments: an ignore
comment without effect here may be needed there."""
_OF_PROJECTS: Final = frozenset(
    {"IOG318", "IOG502", "IOG510", "IOG511", "IOG527", "IOG530", "IOG531", "IOG544"}
)
"""Rules that find less in a part of a project, and if a document of the project is invalid."""
_OF_SETTINGS: Final = frozenset({"IOG518", "IOG519"})
"""Rules that find less without settings."""


def findings(project: Project) -> list[Problem]:
    """Return the findings of all lint rules."""
    return [problem for check in _RULES for problem in check(project)]


def assess(
    project: Project, problems: Iterable[Problem], lint: Mapping[str, str], selected: Collection[str]
) -> tuple[Problem, ...]:
    """Return all lint findings with severities: those of the compiler, of the rules, and about comments.

    `selected` has the codes of the rules that count; errors always do.
    """
    sources = project.documents.sources
    ignores = read_ignores(sources)
    found = [*problems, *findings(project), *ignores.problems]
    remaining, used = ignores.split(found, lint)
    broken = {each.path for each in remaining if each.severity == "error" and each.code not in LINT_RULES}
    evaluated = _evaluated(project, lint, selected, whole=project.complete and not broken)
    unused = [
        _unused(ignore, path, lint)
        for path, each in ignores.valid.items()
        if path not in broken
        for ignore in each
        if ignore not in used and ignore.code in evaluated
    ]
    remaining += ignores.split(unused, lint)[0]
    return in_order(
        _levelled(problem, lint)
        for problem in remaining
        if problem.code not in LINT_RULES or problem.code in selected
    )


def _levelled(problem: Problem, lint: Mapping[str, str]) -> Problem:
    """Return the problem with the severity of its lint rule."""
    level = lint.get(problem.code)
    return (
        problem if level is None or problem.severity == "error" else replace(problem, severity=_level(level))
    )


def _level(name: str) -> Level:
    return "error" if name == "error" else "advice" if name == "advice" else "warning"


def _evaluated(
    project: Project, lint: Mapping[str, str], selected: Collection[str], *, whole: bool
) -> set[str]:
    """Return the lint rules evaluated completely; only their ignores can be reported as unused.

    `whole`: the project has no other files, and none has an error.
    """
    skipped = {*_VARYING, UNUSED_IGNORE, *(code for code, level in lint.items() if level == OFF)}
    skipped |= set() if whole else _OF_PROJECTS
    skipped |= _OF_SETTINGS if project.settings is None else set()
    partly = set() if project.settings is None else PARTLY_WARNINGS
    return {*selected, *partly} - skipped


def _unused(ignore: Ignore, path: str, lint: Mapping[str, str]) -> Problem:
    if lint.get(ignore.code) == "error":
        message = f"the settings make {ignore.code} an error, which no comment can ignore"
        hint = "correct its cause, or change the setting lint"
    else:
        where = "the file" if ignore.whole_file else f"line {ignore.comment.applies_to[0]}"
        message, hint = f"{ignore.code} finds nothing to ignore in {where}", "remove it"
    return Problem.at(
        ignore.span,
        path=path,
        code=UNUSED_IGNORE,
        message=message,
        hint=hint,
        severity="warning",
        fix=_removal(ignore),
    )


def _removal(ignore: Ignore) -> ReplaceComment:
    """Return the fix of an unused ignore comment: the comment without this code, or its removal."""
    comment = ignore.comment
    return ReplaceComment(line=comment.line, column=comment.column, text=ignore.without())
