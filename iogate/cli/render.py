"""Output of commands: tables and colours on a terminal, plain aligned text in a pipe, JSON, YAML.

Used by every command through its session. Invariant: results go to stdout, all else to stderr; machine
output names its schema, has camelCase keys, and never depends on the terminal. Only this module writes to
the two streams, and it escapes control characters in all text, so that a caller's data cannot act on the
operator's terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, Self, TextIO

import typer

from iogate.security.control_characters import escape, escape_line

if TYPE_CHECKING:
    from rich.console import Console

    from iogate.cli.json_fields import Selection

STYLES: Mapping[str, str] = {
    "completed": "green",
    "enabled": "green",
    "passed": "green",
    "ok": "green",
    "faulted": "red",
    "failed": "red",
    "error": "red",
    "cancelled": "yellow",
    "disabled": "yellow",
    "held": "magenta",
    "disabled, held": "yellow",
    "warning": "yellow",
    "running": "cyan",
    "waiting": "blue",
    "suspended": "magenta",
    "pending": "bright_black",
    "skipped": "bright_black",
}
"""Colour of a table cell, by its text."""


class Output(StrEnum):
    """Format of a result. The first three fit every command; a command declares others with `formats`."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    MARKDOWN = "markdown"
    GITHUB = "github"
    SARIF = "sarif"
    JUNIT = "junit"


COMMON_FORMATS = (Output.TEXT, Output.JSON, Output.YAML)
"""Formats that every command accepts."""


class Styled(str):
    """Line of a text result with a colour on a terminal, which also wraps it between words."""

    __slots__ = ("hanging", "style")

    def __new__(cls, text: str, style: str = "", hanging: int = 0) -> Self:
        """Return the line; `style` is one of Rich, `hanging` the indentation of the lines after the first."""
        line = super().__new__(cls, text)
        line.style = style
        line.hanging = hanging
        return line

    style: str
    hanging: int

    def wrapped(self, width: int) -> str:
        """Return the rendered line in lines of this width; words that are longer stay whole."""
        lines = textwrap.wrap(
            self,
            width,
            subsequent_indent=" " * self.hanging,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Table of a result; the columns in `numbers` are right-aligned."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    numbers: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Output of one command on stdout and stderr."""

    output: Output = Output.TEXT
    quiet: bool = False
    selection: Selection | None = None
    """Part of the result that is printed, of `--json` and `--jq`."""

    def data(
        self,
        schema: str,
        value: Mapping[str, Any],
        text: Iterable[Table | str] = (),
        formats: Mapping[Output, Callable[[], str]] | None = None,
    ) -> None:
        """Print the result of the command: `value` as JSON or YAML, else `text`.

        `formats` makes the whole output in the formats that the command declared beyond the common ones.

        Raises Misused if the program of `--jq` fails.
        """
        if self.selection is not None:
            selected = self.selection.text(schema, value)
            if selected:
                write_stdout(selected)
            return
        match self.output:
            case Output.JSON:
                named = {"schema": f"iogate.{schema}/v1", **value}
                write_stdout(json.dumps(named, ensure_ascii=False, indent=2))
            case Output.YAML:
                write_stdout(to_yaml({"schema": f"iogate.{schema}/v1", **value}).rstrip("\n"))
            case Output.TEXT:
                for part in text:
                    self.show(part)
            case special:
                assert formats is not None, f"the command declares {special} and does not make it"
                document = formats[special]().rstrip("\n")
                if document:
                    write_stdout(document)

    def show(self, part: Table | str) -> None:
        """Print one part of a text result on stdout."""
        if isinstance(part, str):
            if is_capable_terminal(result_stream()):
                screen = console(result_stream())
                style, text = "", part
                if isinstance(part, Styled):
                    style, text = part.style, part.wrapped(screen.width)
                screen.print(str(text), style=style, markup=False, highlight=False, soft_wrap=True)
            else:
                write_stdout(part)
        elif is_capable_terminal(result_stream()) and part.rows:
            screen = console(result_stream())
            fitting = _rich_table(part, screen)
            if fitting is not None:
                screen.print(fitting)
            else:
                write_stdout("\n".join(_record_lines(part, screen.width)))
        else:
            write_stdout(plain_table(part))

    def note(self, text: str, *, style: str = "") -> None:
        """Print a note on stderr, unless `--quiet` was given."""
        if not self.quiet:
            write_stderr(text, style=style)

    def warn(self, text: str) -> None:
        """Print a warning on stderr, even with `--quiet`."""
        write_stderr(f"warning: {text}", style="yellow")


def write_stderr(text: str, *, style: str = "") -> None:
    """Write a line to stderr, with control characters escaped."""
    if style and is_capable_terminal(sys.stderr):
        console(sys.stderr).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
    else:
        print(escape(text), file=sys.stderr, flush=True)


_diverted: list[TextIO] = []
"""Standard output of the process while `prints_to_stderr` is active."""


def result_stream() -> TextIO:
    """Return the stream of the result: stdout of the process, even while `sys.stdout` is redirected."""
    return _diverted[0] if _diverted else sys.stdout


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Redirect prints of the project's Python code to stderr, so that stdout has only the rendered result."""
    _diverted.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _diverted.pop()


def is_capable_terminal(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal with control sequences, which `TERM=dumb` has not."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def console(stream: IO[str]) -> Console:
    """Return a Rich console for a stream; it honours `NO_COLOR` and escapes all text."""
    from iogate.cli.escaping_console import EscapingConsole

    # Otherwise Rich replaces `:name:` in data by an emoji.
    return EscapingConsole(file=stream, emoji=False)


def plain_table(table: Table) -> str:
    """Format a table with padded columns and no truncation, for grep, awk and logs."""
    lines = [[column.upper() for column in table.columns]]
    lines += [[_cell(value) for value in row] for row in table.rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(table.columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in table.numbers else cell.ljust(width)
            for cell, width, column in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    )


MIN_PROSE_WIDTH = 16
"""Least width of a column with several words per cell."""


def _rich_table(table: Table, screen: Console) -> object | None:
    """Return the table for a terminal; None if the terminal is too narrow.

    Cells of several words wrap between words. Nothing else wraps: an id broken over lines cannot be copied.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    cells = [[_cell(value) for value in row] for row in table.rows]
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    narrowest = 0
    for at, column in enumerate(table.columns):
        words = [column, *(word for row in cells for word in row[at].split(" "))]
        longest = max(map(len, words))
        prose = any(" " in row[at] for row in cells)
        narrowest += max(longest, MIN_PROSE_WIDTH if prose else 0) + len("   ")
        shown.add_column(
            column,
            justify="right" if column in table.numbers else "left",
            no_wrap=not prose,
            min_width=longest,
        )
    if narrowest > screen.width:
        return None
    for row in cells:
        shown.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return shown


def _record_lines(table: Table, width: int) -> Iterator[str]:
    """Yield the lines of a table as one block per row, for a narrow terminal.

    Numbers of neighbouring columns share a line. Lines end between words. A word that is longer than a line
    stays in one piece, so that it can be copied.
    """
    labels = [column.upper() for column in table.columns]
    margin = max(map(len, labels)) + 2
    for number, row in enumerate(table.rows):
        if number:
            yield ""
        counts: list[str] = []
        for column, label, value in zip(table.columns, labels, row, strict=True):
            cell = _cell(value)
            if cell in {"", "-"}:
                continue
            if column in table.numbers:
                counts.append(f"{label:<{margin}}{cell}" if not counts else f"{label} {cell}")
                continue
            if counts:
                yield "  ".join(counts)
                counts = []
            first, *rest = textwrap.wrap(
                cell, max(width - margin, MIN_PROSE_WIDTH), break_long_words=False, break_on_hyphens=False
            ) or [""]
            yield f"{label:<{margin}}{first}"
            yield from (f"{'':<{margin}}{line}" for line in rest)
        if counts:
            yield "  ".join(counts)


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return escape_line(" ".join(value.split()) if "\n" in value else value)
        case list() | tuple():
            return escape_line(" ".join(str(each) for each in value)) or "-"
        case dict():
            return escape_line(json.dumps(value, ensure_ascii=False))
        case _:
            return escape_line(str(value))


def write_stdout(text: str, *, end: str = "\n") -> None:
    """Write text to stdout and flush, with control characters escaped."""
    stream = result_stream()
    try:
        stream.write(escape(text) + end)
        stream.flush()
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`), which is no error; nothing may be left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise typer.Exit from None


def write_bytes(data: bytes) -> None:
    """Write a file to stdout unchanged, for an editor that replaces its text by it, or a pipe."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


_PLAIN = re.compile(r"[A-Za-z_/][\w /.@+-]*")
_RESERVED = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def to_yaml(value: Any, indent: int = 0) -> str:
    """Format a value as block-style YAML, with text in double quotes if it could be misread."""
    space = " " * indent
    lines = []
    # One recursive call per level, so that the deepest data of a run can be shown.
    match value:
        case Mapping() if value:
            for key, each in value.items():
                inner = isinstance(each, Mapping | list | tuple) and each
                shown = f"\n{to_yaml(each, indent + 2)}" if inner else f" {_scalar(each)}\n"
                lines.append(f"{space}{_scalar(str(key))}:{shown}")
            return "".join(lines)
        case list() | tuple() if value:
            for each in value:
                nested = to_yaml(each, indent + 2)
                lines.append(f"{space}- {nested.lstrip(' ')}")
            return "".join(lines)
        case _:
            return f"{space}{_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED and value == value.strip()
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
