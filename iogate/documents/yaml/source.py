"""The text of a file, its lines, and the places in it that must not be shown.

A source outlives reading: every later problem is rendered from it. Literal secrets are masked here,
once, so that no message, caret or editor output can carry one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from iogate.documents.yaml.masking import mask_by_shape, mask_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# libyaml counts exactly these as line breaks; positions must agree with it.
LINE_BREAK: Final = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


class Span(NamedTuple):
    """A position in a file: line and column from 1, and the number of characters on this line."""

    line: int
    column: int
    length: int = 1


@dataclass(kw_only=True)
class Source:
    """A file's text. `path` is relative to the project, with forward slashes."""

    path: str
    text: str
    read: bool = False
    """The whole tree was read, so `masks` is complete."""
    sensitive: Mapping[str, bool] | None = None
    """Of a file of settings: whether the value of each setting may be a secret; None for another file."""
    _masks: list[tuple[int, int, int]] = field(default_factory=list)
    _find_masks: Callable[[], object] | None = None
    _lines: list[str] | None = None
    _starts: list[int] | None = None

    @property
    def masks(self) -> list[tuple[int, int, int]]:
        """Line and columns of each literal secret in the source; an end of 0 is the end of the line."""
        if self._find_masks is not None:
            find, self._find_masks = self._find_masks, None
            find()
        return self._masks

    def mask_later(self, find: Callable[[], object]) -> None:
        """Call `find`, which appends to the masks of the source, before they are used for the first time."""
        self._find_masks = find

    @property
    def lines(self) -> list[str]:
        if self._lines is None:
            self._lines = LINE_BREAK.split(self.text)
        return self._lines

    def lines_with_breaks(self) -> list[str]:
        """Return the lines of the source, each with its line break; the last one has none."""
        breaks = [*LINE_BREAK.findall(self.text), ""]
        return [line + each for line, each in zip(self.lines, breaks, strict=True)]

    def line(self, number: int) -> str | None:
        """Return the line of the source with secrets masked by asterisks; None if it does not exist."""
        if not 0 < number <= len(self.lines):
            return None
        text = self.lines[number - 1]
        if not self.read:
            text = mask_by_shape(self.lines, number - 1)
        if self.sensitive is not None:
            text = mask_setting(text, self.lines, number - 1, self.sensitive)
        for line, start, stop in self.masks:
            if line == number:
                end = stop or len(text)
                text = text[:start] + "*" * (end - start) + text[end:]
        return text

    def index_of(self, line: int, column: int) -> int:
        """Return the index in the source of a position, which must exist."""
        if self._starts is None:
            self._starts = [0, *(found.end() for found in LINE_BREAK.finditer(self.text))]
        return self._starts[line - 1] + column - 1

    def span_at(self, index: int) -> Span:
        """Return the position of a character of the source."""
        before = LINE_BREAK.split(self.text[:index])
        return Span(len(before), len(before[-1]) + 1)
