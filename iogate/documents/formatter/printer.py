"""Printer of the syntax tree of a document: text in the canonical layout.

Called by `canonical`. Two spaces of indentation, also for lists; a flow collection stays on one line if it
has no comment and fits, and becomes a block otherwise, unless an ignore comment applies to one of its lines;
at most one empty line in a row.
"""

from __future__ import annotations

from typing import Final

from iogate.documents.formatter.scalar_style import one_line, several_lines
from iogate.documents.formatter.syntax import Alias, Collection, Document, Entry, Scalar, Value

MAX_WIDTH: Final = 120
"""Columns that a flow collection must fit into."""
_STEP: Final = 2


def print_document(document: Document) -> str:
    """Return the text of a document, with a line break at its end."""
    printer = _Printer()
    printer.comments(document.head, 0, first=True)
    if not document.root.entries:
        printer.lines.append(document.root.properties + " {}" if document.root.properties else "{}")
    else:
        if document.root.properties:
            printer.lines.append(document.root.properties)
        printer.block(document.root, 0, first=not printer.lines)
    printer.comments(document.root.end, 0)
    while printer.lines and not printer.lines[-1] and not printer.kept:
        printer.lines.pop()
    return "\n".join(printer.lines) + "\n"


class _Printer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.kept = False
        """The last lines are content of a block scalar that keeps its line breaks."""

    def comments(self, texts: list[str], column: int, *, first: bool = False) -> None:
        """Print comments; an empty text is an empty line, except at the start of a block."""
        for text in texts:
            if text:
                self._line(" " * column + text)
                first = False
            elif not first and not self.kept and self.lines and self.lines[-1]:
                self.lines.append("")

    def _line(self, text: str) -> None:
        self.lines.append(text)
        self.kept = False

    def block(self, made: Collection, column: int, *, lead: str = "", first: bool = True) -> None:
        """Print the entries of a collection; `lead` has the dashes before its first entry."""
        for entry in made.entries:
            _settle(entry)
            if not lead:
                self.comments([*entry.before, *_lifted(entry)], column, first=first)
            first = False
            self._entry(entry, column, lead or " " * column)
            lead = ""

    def _entry(self, entry: Entry, column: int, lead: str) -> None:
        head = lead + ("-" if entry.key is None else _key(entry.key))
        value = entry.value
        if isinstance(value, Collection) and value.entries and not self._stays_flow(entry, head):
            self._nested(entry, value, head, column)
        elif isinstance(value, Scalar) and value.style in {"|", ">"} and value.lines:
            self._block_scalar(entry, value, head, column)
        else:
            self._inline(entry, head, column)

    def _stays_flow(self, entry: Entry, head: str) -> bool:
        value = entry.value
        assert isinstance(value, Collection)
        if value.lines:
            return True
        if not value.flow or value.has_comments():
            return False
        return len(head) + 1 + len(_flow(value)) <= MAX_WIDTH

    def _nested(self, entry: Entry, value: Collection, head: str, column: int) -> None:
        """Print a collection as a block: below its key, or behind its dash."""
        behind = entry.behind or entry.after
        if _is_compact(entry):
            self.block(value, column + _STEP, lead=head + " ")
        else:
            self._line(_joined(head, value.properties, behind))
            self.comments(entry.within, column + _STEP, first=True)
            self.block(value, column + _STEP)
        self.comments(value.end, column + _STEP)

    def _block_scalar(self, entry: Entry, value: Scalar, head: str, column: int) -> None:
        header = value.raw
        leading = []
        for line in value.lines:
            leading.append(line)
            if line.strip(" "):
                break
        if any(line.startswith((" ", "\t")) for line in leading):
            header = header[0] + str(_STEP) + header[1:]
        self._line(_joined(head, value.properties, header, entry.behind))
        indent = " " * (column + _STEP)
        self.lines += [indent + line if line else "" for line in value.lines]
        self.kept = value.raw.endswith("+")

    def _inline(self, entry: Entry, head: str, column: int) -> None:
        value = entry.value
        lines = _inline_lines(value)
        # A comment behind the key stays on its line.
        apart = bool(entry.behind) and isinstance(value, Collection) and len(lines) > 1
        below = apart or (bool(entry.within) and not (isinstance(value, Scalar) and not value.raw))
        behind = "" if below else entry.behind
        if below:
            self._line(_joined(head, entry.behind))
            self.comments(entry.within, column + _STEP, first=True)
            head = " " * (column + _STEP) + lines.pop(0)
        else:
            head = _joined(head, lines.pop(0))
        indent = " " * (column if isinstance(value, Collection) else column + _STEP)
        printed = [head, *(indent + line if line else "" for line in lines)]
        printed[-1] = _joined(printed[-1], entry.after or behind)
        for line in printed:
            self._line(line)
        if not below:
            self.comments(entry.within, column + _STEP, first=True)


def _settle(entry: Entry) -> None:
    """Move comments for which the printed layout has no place, to above the entry."""
    value = entry.value
    if isinstance(value, Collection) and not value.entries:
        entry.before += [text for text in value.end if text]
        value.end = []
    if isinstance(value, Scalar) and value.style in {"|", ">"}:
        entry.before += entry.within
        entry.within = []
    if entry.behind and entry.after:
        entry.before.append(entry.behind.strip())
        entry.behind = ""


def _is_compact(entry: Entry) -> bool:
    """Tell whether a block is printed from the line of the dash of its list item on."""
    return (
        entry.key is None
        and isinstance(entry.value, Collection)
        and bool(entry.value.entries)
        and not (entry.value.properties or entry.behind or entry.after or entry.within)
    )


def _lifted(entry: Entry) -> list[str]:
    """Return the comments above the first entry of a block that are printed above the dash of its item."""
    if not _is_compact(entry):
        return []
    assert isinstance(entry.value, Collection)
    first = entry.value.entries[0]
    _settle(first)
    return [*(text for text in first.before if text), *_lifted(first)]


def _inline_lines(value: Value) -> list[str]:
    """Print a value that is no block: on one line, or on those of a text over several."""
    if isinstance(value, Alias):
        return ["*" + value.name]
    if isinstance(value, Collection):
        return list(value.lines) if len(value.lines) > 1 else [_flow(value)]
    lines = several_lines(value)
    if lines is None or not value.raw:
        return [_joined(value.properties, one_line(value, flow=False) if value.raw else "")]
    return [_joined(value.properties, lines[0]), *lines[1:]]


def _key(key: Scalar | Alias) -> str:
    if isinstance(key, Alias):
        return f"*{key.name} :"
    return _joined(key.properties, one_line(key, flow=True)) + ":"


def _flow(value: Value) -> str:
    """Print a value inside brackets."""
    if isinstance(value, Alias):
        return "*" + value.name
    if isinstance(value, Scalar):
        return _joined(value.properties, one_line(value, flow=True) if value.raw else "null")
    inner = ", ".join(
        _flow(entry.value) if entry.key is None else f"{_key(entry.key)} {_flow(entry.value)}"
        for entry in value.entries
    )
    return _joined(value.properties, f"{{{inner}}}" if value.mapping else f"[{inner}]")


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
