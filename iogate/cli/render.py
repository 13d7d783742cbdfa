"""What people and programs read: tables and colours on a terminal, plain aligned text in a pipe, JSON, YAML.

Used by every command through its session. Invariant: data goes to stdout, all else to stderr; machine
output carries its schema's name and camelCase keys, and never depends on the terminal. Only this module
writes to the two streams, and it escapes control characters in everything that it writes: a caller's data
cannot act on the operator's terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, TextIO

import typer

from iogate.security.control_characters import escape, escape_line

if TYPE_CHECKING:
    from rich.console import Console

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
    "warning": "yellow",
    "running": "cyan",
    "waiting": "blue",
    "suspended": "magenta",
    "pending": "bright_black",
    "skipped": "bright_black",
}
"""Colour of a word that stands alone in a cell."""


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a heading; `numbers` are right-aligned columns, `styles` colours by column of a value."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    numbers: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Both streams of one command."""

    output: Output = Output.TEXT
    quiet: bool = False

    def data(self, schema: str, value: Mapping[str, Any], text: Iterable[Table | str] = ()) -> None:
        """The command's result: `value` for programs, `text` for people."""
        match self.output:
            case Output.JSON:
                document = {"schema": f"iogate.{schema}/v1", **value}
                write_stdout(json.dumps(document, ensure_ascii=False, indent=2))
            case Output.YAML:
                write_stdout(to_yaml({"schema": f"iogate.{schema}/v1", **value}).rstrip("\n"))
            case Output.TEXT:
                for part in text:
                    self.show(part)

    def show(self, part: Table | str) -> None:
        """One part of a text result, on stdout."""
        if isinstance(part, str):
            if is_colour_terminal(result_stream()):
                console(result_stream()).print(part, markup=False, highlight=False, soft_wrap=True)
            else:
                write_stdout(part)
        elif is_colour_terminal(result_stream()) and part.rows:
            screen = console(result_stream())
            fitting = _rich_table(part, screen)
            if fitting is not None:
                screen.print(fitting)
            else:
                write_stdout("\n".join(_record_lines(part, screen.width)))
        else:
            write_stdout(plain_table(part))

    def note(self, text: str, *, style: str = "") -> None:
        """A remark on stderr; `--quiet` leaves it out."""
        if not self.quiet:
            write_stderr(text, style=style)

    def warn(self, text: str) -> None:
        """A warning on stderr, `--quiet` or not."""
        write_stderr(f"warning: {text}", style="yellow")


def write_stderr(text: str, *, style: str = "") -> None:
    """A line on stderr."""
    if style and is_colour_terminal(sys.stderr):
        console(sys.stderr).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
    else:
        print(escape(text), file=sys.stderr, flush=True)


_diverted: list[TextIO] = []
"""Standard output of the process while `prints_to_stderr` is active."""


def result_stream() -> TextIO:
    """Return the stream of the command's result: stdout of the process, wherever `sys.stdout` leads."""
    return _diverted[0] if _diverted else sys.stdout


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Send to stderr the text that the project's Python code prints, so that stdout has only the result."""
    _diverted.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _diverted.pop()


def is_colour_terminal(stream: IO[str]) -> bool:
    """Whether people read this stream on a terminal that shows colours."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def console(stream: IO[str]) -> Console:
    """Rich on one stream; it honours `NO_COLOR` by itself, and escapes every text that it is given."""
    from iogate.cli.console import EscapingConsole

    # Otherwise Rich replaces `:name:` in data by an emoji.
    return EscapingConsole(file=stream, emoji=False)


def plain_table(table: Table) -> str:
    """Columns padded with spaces, two between them, nothing cut: made for grep, awk and logs."""
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
"""The narrowest that a column of several words may become."""


def _rich_table(table: Table, screen: Console) -> object | None:
    """The table for a terminal; None where it is too narrow for it.

    Prose wraps between words. An id that is broken over lines cannot be copied, so nothing else wraps.
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
    """Yield the lines of the table with each row as a block of its own: for a terminal that is too narrow.

    Lines end between words. A word that is longer than a line stays in one piece, so that it can be copied.
    """
    labels = [column.upper() for column in table.columns]
    margin = max(map(len, labels)) + 2
    for number, row in enumerate(table.rows):
        if number:
            yield ""
        for label, value in zip(labels, row, strict=True):
            cell = _cell(value)
            if cell in {"", "-"}:
                continue
            first, *rest = textwrap.wrap(
                cell, max(width - margin, MIN_PROSE_WIDTH), break_long_words=False, break_on_hyphens=False
            ) or [""]
            yield f"{label:<{margin}}{first}"
            yield from (f"{'':<{margin}}{line}" for line in rest)


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
    """Write text to stdout at once, control characters escaped."""
    stream = result_stream()
    try:
        stream.write(escape(text) + end)
        stream.flush()
    except BrokenPipeError:
        # The reader has what it wanted (`| head`): nothing to tell it, and nothing left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise typer.Exit from None


_PLAIN = re.compile(r"[A-Za-z_/][\w /.@+-]*")
_RESERVED = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def to_yaml(value: Any, indent: int = 0) -> str:
    """YAML that every YAML reader understands alike: block style, text in double quotes where in doubt."""
    space = " " * indent
    lines = []
    # One call a level, so that all data that a run may have can be shown.
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
