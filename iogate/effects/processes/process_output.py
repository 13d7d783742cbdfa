"""Output of a process while it runs, as entries of its run's journal: redacted, by whole lines, bounded.

Used by the worker, which writes the entries. Invariant: a task adds at most ENTRIES entries and TOTAL
characters to the journal while it runs, and at its end the last LAST characters of each stream that were not
shown yet.

    process.output    {"stream": "stderr", "text": "…", "omitted": 1234}
                      where `omitted` counts characters before the text that are not shown
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any, Final

from iogate.effects.processes.process_run import Stream
from iogate.security.redaction import Redactor

EVERY_S: Final = 1.0
"""Time between two looks at the output of a process."""
EACH: Final = 8 * 1024
"""Characters of one entry."""
TOTAL: Final = 64 * 1024
ENTRIES: Final = 64
LAST: Final = 4 * 1024
LINE: Final = 4 * 1024
"""Characters from which a line is shown before it ends."""


class ProcessOutput:
    """Output of one process, of which each `take` returns the part that is to be shown now."""

    def __init__(self, redactor: Callable[[], Redactor]) -> None:
        self._redactor = redactor
        self._streams: dict[Stream, _Held] = {}
        self._left = TOTAL
        self._entries = 0

    def wrote(self, stream: Stream, chunk: bytes) -> None:
        """Add output that the running process has written."""
        held = self._streams.get(stream)
        if held is None:
            held = self._streams[stream] = _Held()
        held.add(chunk, keep=EACH + self._redactor().longest)

    def take(self, *, ended: bool = False) -> list[dict[str, Any]]:
        """Return the journal details of due output; at the end of the process, of all remaining output."""
        spent = self._left <= 0 or self._entries >= ENTRIES
        if spent and not ended:
            return []
        redactor = self._redactor()
        details = []
        for stream, held in self._streams.items():
            most = LAST if spent else EACH
            text, omitted = held.take(redactor, most, whole=ended)
            if text:
                detail: dict[str, Any] = {"stream": stream, "text": text}
                details.append(detail | {"omitted": omitted} if omitted else detail)
                self._left -= len(text)
                self._entries += 1
        return details


class _Held:
    """The part of a stream that was not shown yet, or its end."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._dropped = 0
        """Characters before `_text` that are not shown."""

    def add(self, chunk: bytes, *, keep: int) -> None:
        self._text += self._decoder.decode(chunk)
        if len(self._text) > 2 * keep:  # not at each chunk: a cut copies
            self._dropped += len(self._text) - keep
            self._text = self._text[-keep:]

    def take(self, redactor: Redactor, most: int, *, whole: bool) -> tuple[str, int]:
        """Return the last part of the output to show, and the number of characters omitted before it."""
        end = len(self._text) if whole else self._text.rfind("\n") + 1
        if not end and len(self._text) > LINE + redactor.longest:
            end = len(self._text) - redactor.longest  # a secret may have begun
        _, rest = redactor.split(self._text, end)
        raw = self._text[: len(self._text) - len(rest)]
        if not raw:
            return "", 0
        shown = redactor.tail(raw, most, partial=self._dropped > 0)
        omitted = self._dropped + max(0, len(raw) - most)
        self._text, self._dropped = rest, 0
        return shown, omitted
