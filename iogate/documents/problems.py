"""Problems of a file, and their rendering: one line, then the source line with a caret.

Created by documents and by the compiler's checks, shown by the command line. Invariant: a problem is plain
data and never contains a secret.
"""

from __future__ import annotations

import textwrap
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from iogate.messages import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from iogate.documents.fixes import Fix
    from iogate.documents.yaml.source import Source, Span

Severity = Literal["error", "warning", "advice"]

_WIDEST_SNIPPET = 160
_NARROWEST_SNIPPET = 30


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A finding with its position. `line` and `column` count from 1; `hint` follows the caret."""

    severity: Severity = "error"
    code: str
    message: str
    path: str
    line: int
    column: int
    length: int = 1
    hint: str = ""
    fix: Fix | None = None
    """Correction that `iogate lint --fix` can make."""

    @classmethod
    def at(
        cls,
        span: Span,
        *,
        path: str,
        code: str,
        message: str,
        hint: str = "",
        severity: Severity = "error",
        fix: Fix | None = None,
    ) -> Problem:
        """Return a problem at `span` of the file `path`."""
        return cls(
            severity=severity,
            code=code,
            message=message,
            path=path,
            line=span.line,
            column=span.column,
            length=span.length,
            hint=hint,
            fix=fix,
        )

    @property
    def place(self) -> tuple[str, int, int, str, str]:
        """Return the sort key of the problem: path, line, column, code and message."""
        return (self.path, self.line, self.column, self.code, self.message)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems by file, line and column, without duplicates."""
    return tuple(sorted(set(problems), key=lambda problem: problem.place))


def render(problem: Problem, source: Source | None, *, width: int | None = None) -> str:
    """Return the problem as text, with its source line if the source is given.

    `width`: columns of a terminal. The source line is cut to them, and a hint that does not fit beside the
    caret is on lines of its own.
    """
    head = (
        f"{printable(problem.path)}:{problem.line}:{problem.column}: "
        f"{problem.severity} {problem.code}: {problem.message}"
    )
    text = source.line(problem.line) if source is not None else None
    if text is None or not text.strip():
        return f"{head}\n  {problem.hint}" if problem.hint else head
    start = min(problem.column - 1, len(text))
    stop = min(start + max(problem.length, 1), max(len(text), start + 1))
    gutter = " " * len(str(problem.line))
    margin = f"  {gutter} | "
    widest, first = _WIDEST_SNIPPET, max(0, start - _WIDEST_SNIPPET // 2)
    if width is not None:
        widest = max(_NARROWEST_SNIPPET, width - len(margin))
        first = 0 if stop <= widest else max(0, start - widest // 2)
    shown = text[first : first + widest]
    lead = "".join(_blank(char) for char in text[first:start])
    marked = text[start : min(stop, first + widest)]
    caret = "^" * max(1, sum(_width(char) for char in marked))
    line = f"{margin}{lead}{caret}"
    top = f"{head}\n  {problem.line} | {printable(shown)}\n"
    if not problem.hint:
        return top + line
    if width is None or len(line) + 1 + len(problem.hint) <= width:
        return f"{top}{line} {problem.hint}"
    below = textwrap.wrap(
        problem.hint,
        max(_NARROWEST_SNIPPET, width - len(margin)),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return top + "\n".join([line, *(margin + each for each in below)])


def render_all(problems: Iterable[Problem], sources: Mapping[str, Source]) -> str:
    """Return all problems in order as text, with a line break after each; empty if there are none."""
    return "".join(f"{render(problem, sources.get(problem.path))}\n" for problem in in_order(problems))


def _width(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _blank(char: str) -> str:
    return "\t" if char == "\t" else " " * _width(char)
