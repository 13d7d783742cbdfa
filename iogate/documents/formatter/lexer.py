"""Positions that the events of a YAML parser do not have: comments, dashes, bodies of scalars, directives.

Called by the parser of the formatter, and by `canonical` to compare the comments of two texts. Between two
tokens there are only spaces and comments, so that the text between them gives every comment of a file.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from iogate.documents.yaml.source import LINE_BREAK

LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BLOCK_HEADER: Final = re.compile(r"([|>])([-+0-9]*)[ \t]*(#[^\r\n\x85\u2028\u2029]*)?")
_COMMENT: Final = re.compile(r"#[^\r\n\x85\u2028\u2029]*")


@dataclass(frozen=True, slots=True)
class Comment:
    index: int
    line: int
    column: int
    text: str
    own_line: bool
    """There is nothing but spaces before it on its line."""
    gap: int
    """Spaces before it."""


class Lexer:
    """Positions in one text; lines and columns count from 0."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = LINE_BREAK.split(text)
        self.comments: list[Comment] = []
        self.marks: list[tuple[int, int, int]] = []
        """Index, line and column of each dash, and of each question mark before a key."""
        self.bodies: dict[int, int] = {}
        """End of each scalar to its start behind anchor and tag."""
        self.directives: list[tuple[int, str]] = []
        self._content: set[int] = set()
        """Lines of block scalars, where an empty line is content."""
        self._line_starts = [0, *(found.end() for found in LINE_BREAK.finditer(text))]
        self._token_starts: list[int] = []
        at = 0
        for token in yaml.scan(text, Loader=LOADER):
            start, end = token.start_mark.index, token.end_mark.index
            self._collect(at, start)
            if end > start:
                self._token_starts.append(start)
            self._note(token, start, end)
            at = max(at, end)
        self._collect(at, len(text))

    def next_token(self, index: int) -> int:
        """Return the position of the lexer's first token at an index or after it; else the text's end."""
        at = bisect.bisect_left(self._token_starts, index)
        return self._token_starts[at] if at < len(self._token_starts) else len(self.text)

    def next_mark(self, index: int) -> tuple[int, int, int] | None:
        """Return the first dash or question mark that the lexer has at an index or after it."""
        at = bisect.bisect_left(self.marks, (index, 0, 0))
        return self.marks[at] if at < len(self.marks) else None

    def empty_above(self, line: int) -> bool:
        """Tell whether the lexer has an empty line above this one, which is no content of a block scalar."""
        above = line - 1
        return above >= 0 and above not in self._content and not self.lines[above].strip(" \t\ufeff")

    def mark_content(self, index: int, lines: int) -> None:
        """Mark lines for the lexer as content of a block scalar: those below the line of an index."""
        first = bisect.bisect_right(self._line_starts, index)
        self._content.update(range(first, first + lines))

    def _note(self, token: yaml.Token, start: int, end: int) -> None:
        match token:
            case yaml.ScalarToken():
                self.bodies[end] = start
                if getattr(token, "style", None) in {"|", ">"}:
                    header = BLOCK_HEADER.match(self.text, start)
                    assert header is not None, "a block scalar starts with its indicator"
                    self._collect(header.start(3) if header[3] else start, header.end())
            case yaml.DirectiveToken():
                self.directives.append((start, self.text[start:end]))
            case yaml.BlockEntryToken() | yaml.KeyToken() if end > start:
                line = bisect.bisect_right(self._line_starts, start) - 1
                self.marks.append((start, line, start - self._line_starts[line]))

    def _collect(self, start: int, stop: int) -> None:
        """Collect the comments that the lexer finds between two tokens of YAML."""
        for found in _COMMENT.finditer(self.text, start, stop):
            index = found.start()
            line = bisect.bisect_right(self._line_starts, index) - 1
            first = self._line_starts[line]
            before = self.text[first:index]
            own_line = not before.strip(" \t\ufeff")
            gap = len(before) - len(before.rstrip(" "))
            self.comments.append(Comment(index, line, index - first, found[0].rstrip(), own_line, gap))
