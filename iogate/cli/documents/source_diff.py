"""Unified differences of files, for `fmt --diff` and `lint --diff`.

Invariant: lines are compared as they are and shown with literal secrets masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from iogate.documents.yaml.source import Source


def unified_diff(before: Source, after: Source, name: str) -> Iterator[str]:
    """Return the lines of a unified diff of two texts of a file, without line breaks."""
    old, new = _Lines(before), _Lines(after)
    yield f"--- {name}"
    yield f"+++ {name}"
    for group in SequenceMatcher(None, old.real, new.real, autojunk=False).get_grouped_opcodes(3):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for tag, start, end, new_start, new_end in group:
            if tag == "equal":
                yield from (" " + line for line in old.shown[start:end])
                continue
            yield from ("-" + line for line in old.shown[start:end])
            yield from ("+" + line for line in new.shown[new_start:new_end])


class _Lines:
    """Lines of a file: with their line breaks for comparison, and as they are shown."""

    real: Sequence[str]
    shown: Sequence[str]

    def __init__(self, source: Source) -> None:
        real = source.lines_with_breaks()
        shown = [source.line(number) or "" for number in range(1, len(real) + 1)]
        if real[-1]:
            shown[-1] += "\n\\ No newline at end of file"
        else:
            real.pop()
        self.real = real
        self.shown = shown


def _range(start: int, end: int) -> str:
    """Return a range of source lines in the form of unified diffs."""
    length = end - start
    return f"{start + (length > 0)},{length}"
