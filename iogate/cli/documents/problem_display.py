"""Display of problems in documents and settings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from iogate.cli.render import console, is_capable_terminal, write_stderr, write_stdout

if TYPE_CHECKING:
    from iogate.documents.problems import Problem
    from iogate.documents.yaml.source import Source


def show_problems(problems: Iterable[Problem], sources: Mapping[str, Source], stream: Any) -> None:
    """Display problems in their common format, with colours on a terminal."""
    from iogate.documents.problems import in_order, render

    for problem in in_order(problems):
        source = sources.get(problem.path)
        if not is_capable_terminal(stream):
            (write_stdout if stream is sys.stdout else write_stderr)(render(problem, source))
            continue
        from rich.text import Text

        screen = console(stream)
        shown = render(problem, source, width=screen.width)
        text = Text(shown)
        first, _, _ = shown.partition("\n")
        text.stylize("bold", 0, len(first))
        colour = {"error": "red", "warning": "yellow"}.get(problem.severity, "cyan")
        text.highlight_regex(rf"{problem.severity} {problem.code}", style=f"bold {colour}")
        text.highlight_regex(r"(?m)^ +\| +\^+", style=colour)
        screen.print(text, soft_wrap=True)


def problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "length": problem.length,
        "hint": problem.hint,
    }
