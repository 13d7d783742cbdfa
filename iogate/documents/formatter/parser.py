"""Parser of the text of a document to a syntax tree with every comment, from the events of libyaml.

Called by `canonical` with text that the reader has accepted: one document, bounded in size and depth, its
root a mapping, its keys texts. A comment on a line of its own belongs to the next entry at its depth, or, if
it is indented like the entries above it, to the end of those. An ignore comment applies to lines, so that
brackets with such a line keep their lines.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any, cast

import yaml

from iogate.documents.formatter.lexer import BLOCK_HEADER, LOADER, Lexer
from iogate.documents.formatter.syntax import Alias, Collection, Document, Entry, Scalar, Style, Value
from iogate.documents.ignores import directive
from iogate.documents.yaml.source import LINE_BREAK

_CORE = "tag:yaml.org,2002:"


def parse(text: str, ignored: Container[int] = ()) -> Document:
    """Return the syntax tree of a text that the reader has accepted.

    `ignored` has the lines, from 0, to which ignore comments apply.
    """
    return _Parser(text, ignored).document()


def keep_head(document: Document) -> None:
    """Move the comments of the file from the first key of a parsed document to its head."""
    if document.root.entries:
        first = document.root.entries[0]
        of_file, first.before = _split(first.before)
        document.head += of_file


class _Parser:
    def __init__(self, text: str, ignored: Container[int]) -> None:
        self._text = text
        self._ignored = ignored
        self._lexer = Lexer(text)
        self._next = 0
        """Number of the next comment that has no place yet."""
        self._at = 0
        """End of the last dash, key or value."""
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=LOADER))

    def document(self) -> Document:
        start = next(event for event in self._events if isinstance(event, yaml.DocumentStartEvent))
        head: list[str] = []
        if start.explicit:
            assert start.end_mark is not None
            head = self._above_marker(start.end_mark.index)
        root, opening = self._collection(next(self._events), parent=-1)
        head += [text.strip() for text in opening]
        made = Document(head=head, root=root)
        keep_head(made)
        root.end += self._own_lines(len(self._text) + 1)
        return made

    def _above_marker(self, stop: int) -> list[str]:
        """Parse the directives and comments above `---`, and the marker."""
        parts = list(self._lexer.directives)
        while self._is_before(stop):
            index = self._lexer.comments[self._next].index
            parts += [(index, text) for text in self._take()]
        return [text for _, text in sorted(parts, key=lambda part: part[0])] + ["---"]

    # Comments.

    def _is_before(self, stop: int, deeper_than: int = -1) -> bool:
        """Tell whether the next comment to parse is before an index, and indented more than a column."""
        comments = self._lexer.comments
        if self._next >= len(comments):
            return False
        return comments[self._next].index < stop and comments[self._next].column > deeper_than

    def _take(self) -> list[str]:
        """Take the next comment into the syntax tree, after an empty text if it has an empty line above."""
        comment = self._lexer.comments[self._next]
        self._next += 1
        empty = comment.own_line and self._lexer.empty_above(comment.line)
        return ["", comment.text] if empty else [comment.text]

    def _own_lines(self, stop: int, deeper_than: int = -1) -> list[str]:
        """Parse all comments before an index that are indented more than a column."""
        taken: list[str] = []
        while self._is_before(stop, deeper_than):
            taken += self._take()
        return taken

    def _trailing(self, stop: int) -> str:
        """Parse the next comment if it is behind something on its line; otherwise return an empty text.

        It keeps its distance, except for the space that is always there: comments of several lines may align.
        """
        if self._is_before(stop) and not (comment := self._lexer.comments[self._next]).own_line:
            self._next += 1
            return " " * (comment.gap - 1) + comment.text
        return ""

    # Values.

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        assert event.end_mark is not None
        stop = event.end_mark.index
        style = cast("Style", event.style or "")
        missing = not (event.value or style)  # its end may be that of its key
        raw = "" if missing else self._text[self._lexer.bodies[stop] : stop]
        scalar = Scalar(value=event.value, style=style, raw=raw, properties=_properties(event))
        if style in {"|", ">"}:
            header = BLOCK_HEADER.match(raw)
            assert header is not None, "a block scalar starts with its indicator"
            chomping = header[2].strip("0123456789")
            if event.value and not event.value.endswith("\n"):
                chomping = "-"  # at the end of a file without a line break
            scalar.raw = header[1] + chomping
            scalar.lines = _content(raw, event.value, keep=chomping == "+")
            every = len(LINE_BREAK.findall(raw)) - 1 if chomping == "+" else 0
            self._lexer.mark_content(stop - len(raw), len(scalar.lines) or every)
        self._at = max(self._at, stop)
        return scalar

    def _node(self, event: Any, parent: int) -> tuple[Value, list[str]]:
        """Parse the value that starts with `event`; return it with the comments behind its properties.

        The comment behind an opening bracket is one of them.
        """
        if isinstance(event, yaml.AliasEvent):
            assert event.end_mark is not None
            assert event.anchor is not None
            self._at = event.end_mark.index
            return Alias(name=event.anchor), []
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event), []
        return self._collection(event, parent)

    def _collection(self, event: Any, parent: int) -> tuple[Collection, list[str]]:
        made = Collection(
            mapping=isinstance(event, yaml.MappingStartEvent),
            flow=bool(event.flow_style),
            properties=_properties(event),
        )
        if made.flow:
            return made, self._flow(made)
        return made, self._block(made, parent)

    def _block(self, made: Collection, parent: int) -> list[str]:
        """Parse the entries of a block; return the comments that are behind its anchor or tag."""
        opening: list[str] = []
        column = parent + 1
        for event in self._events:
            if isinstance(event, yaml.CollectionEndEvent):
                assert event.start_mark is not None
                # A list may be indented like its key; a comment there is about the next key.
                made.end = self._own_lines(event.start_mark.index, max(column - 1, parent))
                break
            start, line, column = self._start(event, made)
            if not made.entries and (text := self._trailing(start)):
                opening.append(text)
            before = self._own_lines(start)
            if self._lexer.empty_above(line):
                before.append("")
            made.entries.append(self._entry(event, made, before, column))
        return opening

    def _start(self, event: Any, made: Collection) -> tuple[int, int, int]:
        """Return the position of the dash or key of the entry to parse: index, line and column."""
        mark = self._lexer.next_mark(self._at)
        if mark is not None and (not made.mapping or mark[0] < event.start_mark.index):
            if not made.mapping:
                self._at = mark[0] + 1
            return mark
        return event.start_mark.index, event.start_mark.line, event.start_mark.column

    def _entry(self, event: Any, made: Collection, before: list[str], column: int) -> Entry:
        key: Scalar | Alias | None = None
        if made.mapping:
            key = cast("Scalar | Alias", self._node(event, column)[0])
            event = next(self._events)
        behind = self._trailing(event.start_mark.index)
        within = self._own_lines(event.start_mark.index)
        value, opening = self._node(event, column)
        entry = Entry(key=key, value=value, before=before, behind=behind)
        if isinstance(value, Scalar) and value.style in {"|", ">"}:
            opening = [text] if (text := self._trailing(self._at)) else []
        if isinstance(value, Collection) and value.flow:
            value.lines = self._ignored_lines(event.start_mark, column)
            if value.lines:
                value.drop_comments()
                opening = []
        _attach(entry, opening)
        if isinstance(value, Collection) and not value.flow:
            value.entries[0].before = within + value.entries[0].before
            return entry
        entry.within = [text for text in within if text]
        entry.after = self._trailing(self._lexer.next_token(self._at))
        if isinstance(value, Scalar) and not value.raw:
            own = self._own_lines(self._lexer.next_token(self._at), column)
            entry.within += [text for text in own if text]
        return entry

    def _ignored_lines(self, start: Any, column: int) -> list[str]:
        """Return the lines of the brackets that were parsed last, if an ignore comment applies to one.

        The first one starts at a mark; the others keep their indentation beyond the column of their key or
        dash. None for a line break that is part of a text.
        """
        raw = self._text[start.index : self._at]
        first, *others = LINE_BREAK.split(raw)
        lines = range(start.line, start.line + 1 + len(others))
        if not any(line in self._ignored for line in lines) or any(
            char in raw for char in "\x85\u2028\u2029"
        ):
            return []
        return [_stripped(first), *(_indented(line, column) for line in others)]

    def _flow(self, made: Collection) -> list[str]:
        """Parse the entries in brackets; return the comment behind the opening one if there are entries."""
        opening: list[str] = []
        for event in self._events:
            if text := self._trailing(event.start_mark.index).strip():
                if made.entries:
                    last = made.entries[-1]
                    last.before += [last.after] if last.after else []
                    last.after = text
                else:
                    opening = [text]
            comments = [text for text in self._own_lines(event.start_mark.index) if text]
            if isinstance(event, yaml.CollectionEndEvent):
                made.end = comments if made.entries else opening + comments
                assert event.end_mark is not None
                self._at = max(self._at, event.end_mark.index)
                break
            key: Scalar | Alias | None = None
            if made.mapping:
                key = cast("Scalar | Alias", self._node(event, -1)[0])
                event = next(self._events)  # noqa: PLW2901 — the value of the key
                comments += [text for text in self._own_lines(event.start_mark.index) if text]
            value, inner = self._node(event, -1)
            entry = Entry(key=key, value=value, before=comments)
            _attach(entry, inner)
            made.entries.append(entry)
        return opening if made.entries else []


def _split(before: list[str]) -> tuple[list[str], list[str]]:
    """Split the comments above the first key of a document into those of the file and those of the key.

    An ignore comment applies to the key, which another key may precede in the canonical order.
    """
    at = next((number for number, text in enumerate(before) if directive(text) == "ignore"), len(before))
    of_file = [text for text in before[at:] if _is_of_file(text)]
    return before[:at] + of_file, [text for text in before[at:] if not _is_of_file(text)]


def _is_of_file(comment: str) -> bool:
    """Tell whether a comment that was parsed below an ignore comment applies to the whole file."""
    return directive(comment) == "ignore-file" or comment.startswith("# yaml-language-server:")


def _attach(entry: Entry, opening: list[str]) -> None:
    """Place the comments behind the anchor, tag or opening bracket of a parsed value.

    They stay on the line of the key, where problems of a block are. An item has no key: problems of a block
    that loses its brackets there are at its first entry.
    """
    value = entry.value
    if opening and entry.key is None and isinstance(value, Collection) and value.flow:
        value.entries[0].before[:0] = opening
        return
    for text in opening:
        if entry.behind:
            entry.before.append(text.strip())
        else:
            entry.behind = text


def _properties(event: Any) -> str:
    parts = []
    if event.anchor:
        parts.append("&" + event.anchor)
    if event.tag:
        parts.append("!!" + event.tag.removeprefix(_CORE) if event.tag.startswith(_CORE) else event.tag)
    return " ".join(parts)


def _content(raw: str, value: str, *, keep: bool) -> list[str]:
    """Parse a block scalar into its lines without their indentation; none if they are only spaces."""
    lines = LINE_BREAK.split(raw)[1:]
    if lines and not lines[-1]:
        lines.pop()
    first = next((line for line in lines if line.strip(" ")), None)
    shown = next((line for line in value.split("\n") if line.strip(" ")), None)
    if first is None or shown is None or any(char in raw for char in "\x85\u2028\u2029"):
        return []
    indent = _spaces(first) - _spaces(shown)
    lines = [line[indent:] for line in lines]
    while lines and not keep and not lines[-1]:
        lines.pop()
    return lines


def _stripped(line: str) -> str:
    """Return a line inside brackets without spaces at its end, except for one that a backslash keeps."""
    short = line.rstrip(" \t")
    return line if short.endswith("\\") else short


def _indented(line: str, column: int) -> str:
    """Return a line inside brackets with its indentation beyond a column: at least 2, at an end 0."""
    text = _stripped(line.lstrip(" \t"))
    least = 0 if text[:1] in {"}", "]"} else 2
    return " " * max(_spaces(line) - column, least) + text if text else ""


def _spaces(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
