"""Comments of a YAML file with their positions, which the tree of its values does not have.

Used for ignore comments. Invariant: a `#` inside a scalar is no comment; a file that cannot be scanned
has none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from iogate.documents.yaml.source import Source

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*[ \t]+(?=#)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """Comment up to the end of its line."""

    line: int
    column: int
    """Position of the `#`, from 1."""
    text: str
    alone: bool
    """True if nothing else is on its line."""
    leading: bool
    """True if it is before the first value of the file."""
    applies_to: range
    """Lines of its content: its own line, or the next one with content if it is alone; with all lines of a
    scalar that starts there."""


def comments(source: Source, wanted: re.Pattern[str]) -> Iterator[Comment]:
    """Yield the comments that match `wanted`, from the `#` on."""
    candidates = [
        (number, found.start())
        for number, line in enumerate(source.lines)
        for found in re.finditer("#", line)
        if (found.start() == 0 or line[found.start() - 1] in " \t") and wanted.match(line, found.start())
    ]
    if not candidates:
        return
    try:
        scalars, first = _scalars(source)
    except yaml.YAMLError:
        return
    begins = {each.last: each.line for each in reversed(scalars)}
    ends = {each.line: each.last for each in scalars}
    content = _content_lines(source)
    places = [each.start for each in scalars]
    taken = -1
    for number, column in candidates:
        at = bisect_right(places, (number, column)) - 1
        if number == taken or (at >= 0 and (number, column) < scalars[at].end):
            continue
        taken = number
        line = source.lines[number]
        alone = not line[:column].strip()
        begin = content[number] if alone else begins.get(number, number)
        end = ends.get(begin, begin) if alone else max(number, ends.get(number, number))
        yield Comment(
            line=number + 1,
            column=column + 1,
            text=line[column:],
            alone=alone,
            leading=(number, column) < first,
            applies_to=range(begin + 1, end + 2),
        )


_Place = tuple[int, int]
"""Line and column, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scalar:
    start: _Place
    """Where its text begins, in which a `#` is no comment."""
    end: _Place
    line: int
    """Its first line; of a block scalar, the line of the header."""
    last: int


def _scalars(source: Source) -> tuple[list[_Scalar], _Place]:
    """Return the scalars of a file, which are no comments, and the start of the first token with content."""
    found: list[_Scalar] = []
    first: _Place | None = None
    for token in yaml.scan(source.text, Loader=_Loader):
        start = (token.start_mark.line, token.start_mark.column)
        if isinstance(token, yaml.StreamStartToken | yaml.DirectiveToken | yaml.DocumentStartToken):
            continue
        if first is None and not isinstance(token, yaml.BlockMappingStartToken):
            first = start
        if not isinstance(token, yaml.ScalarToken):
            continue
        end = (token.end_mark.line, token.end_mark.column)
        line, last = start[0], end[0]
        if token.style in ("|", ">"):
            # It ends at the start of a line. A comment behind its header is part of the token.
            last -= end[1] == 0
            if _BLOCK_HEADER.match(source.lines[line], start[1]):
                start = (line + 1, 0)
        found.append(_Scalar(start=start, end=end, line=line, last=max(line, last)))
    return found, first or (len(source.lines), 0)


def _content_lines(source: Source) -> list[int]:
    """Return, for each line, the next one that is neither empty nor a comment; the line itself if none is."""
    found = list(range(len(source.lines)))
    following: int | None = None
    for number in range(len(source.lines) - 1, -1, -1):
        if following is not None:
            found[number] = following
        if source.lines[number].strip()[:1] not in ("", "#"):
            following = number
    return found
