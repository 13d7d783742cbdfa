"""Reads a request's body under a limit of bytes and a deadline.

Invariant: never holds more than the limit and one chunk, and waits at most `LOOK_S` longer than the
deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from litestar.types import Receive

from iogate.gateway.answers import BROKEN_OFF, TIMED_OUT, Failed, too_large

DEADLINE_S = 20.0
"""For a whole body; each MiB of the limit adds a second."""
LOOK_S = 0.25


class _Reading:
    """One body that is being read, and until when."""

    __slots__ = ("due_s", "late", "task")

    def __init__(self, due_s: float) -> None:
        self.due_s = due_s
        self.late = False
        self.task = asyncio.current_task()


class Deadlines:
    """Ends what is read for too long, by one timer for all bodies: one each costs more than reading it."""

    def __init__(self) -> None:
        self._readings: set[_Reading] = set()
        self._looking = False

    def begin(self, seconds: float) -> _Reading:
        loop = asyncio.get_running_loop()
        reading = _Reading(loop.time() + seconds)
        self._readings.add(reading)
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_S, self._look, loop)
        return reading

    def end(self, reading: _Reading) -> None:
        self._readings.discard(reading)

    def shorten(self, seconds: float) -> None:
        """Whoever reads now has this long, or less."""
        latest_s = asyncio.get_running_loop().time() + seconds
        for reading in self._readings:
            reading.due_s = min(reading.due_s, latest_s)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for reading in self._readings:
            if reading.due_s <= now_s and not reading.late and reading.task is not None:
                reading.late = reading.task.cancel()
        self._looking = bool(self._readings)
        if self._looking:
            loop.call_later(LOOK_S, self._look, loop)


def length(headers: Mapping[bytes, bytes]) -> int | None:
    """What Content-Length promises, None without a promise."""
    value = headers.get(b"content-length")
    if value is None or b"transfer-encoding" in headers:
        return None
    return int(value) if value.isdigit() and len(value) < 19 else None


async def read(
    receive: Receive,
    *,
    limit: int,
    length: int | None,
    deadlines: Deadlines,
    deadline_s: float = DEADLINE_S,
) -> bytes:
    """The whole body. `length` is what Content-Length promises, None without one.

    `deadlines` knows of it meanwhile, for a process that must end earlier.
    """
    if length == 0:
        return b""
    if length is not None and length > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    reading = deadlines.begin(deadline_s + limit / 1_048_576)
    try:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Failed(BROKEN_OFF)
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            # The server says `more_body` after the last byte too: the length spares a turn.
            if size == length or not message.get("more_body"):
                if not chunks:
                    return chunk
                chunks.append(chunk)
                return b"".join(chunks)
            chunks.append(chunk)
    except asyncio.CancelledError:
        if reading.late and reading.task is not None and not reading.task.uncancel():
            raise Failed(TIMED_OUT) from None
        raise
    finally:
        deadlines.end(reading)
