"""Standard streams of a worker: text that Python functions print is redacted like the log.

Installed once by `__main__`. Invariant: a known secret that Python code writes to `sys.stdout` or
`sys.stderr` does not reach the terminal. Bytes that native code or a child of a function writes to the file
descriptors themselves are not seen here.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from iogate import logs

LONGEST = 64 * 1024
"""Characters of a line that are held back until it ends."""


def redact() -> None:
    """Redact the standard streams of this process, to which Python functions print."""
    for name in ("stdout", "stderr"):
        stream = RedactedStream(getattr(sys, name), logs.split)
        setattr(sys, name, stream)
        atexit.register(stream.close)  # an unfinished line is held back until then


class RedactedStream(io.TextIOBase):
    """Text stream that redacts whole lines before it writes them; safe for use by several threads."""

    def __init__(self, stream: TextIO, split: Callable[[str, int], tuple[str, str]]) -> None:
        """`split` returns the redacted text before an index, and the rest."""
        self._stream, self._split = stream, split
        self._held = ""
        self._lock = threading.RLock()
        self.buffer = _Bytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class declares an attribute
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # as above
        return self._stream.errors

    def write(self, text: str) -> int:
        with self._lock:
            self._held += text
            end = self._held.rfind("\n") + 1
            if not end and len(self._held) > LONGEST:
                end = len(self._held) - LONGEST // 2
            if end:
                clean, self._held = self._split(self._held, end)
                self._stream.write(clean)
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Flush whole lines of the stream; an unfinished one may hold the beginning of a secret and waits."""
        with self._lock:
            self._stream.flush()

    def close(self) -> None:
        """Write the unfinished line; the underlying stream stays open, since the process still needs it."""
        with self._lock, contextlib.suppress(ValueError):  # the interpreter may have closed it
            if self._held:
                clean, self._held = self._split(self._held, len(self._held))
                self._stream.write(clean)
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True


class _Bytes(io.RawIOBase):
    """The `buffer` of a stream, for code that writes bytes."""

    def __init__(self, stream: RedactedStream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._stream.write(raw.decode("utf-8", "replace"))
        return len(raw)
