"""Reads a request's body under a limit of bytes and a deadline.

Invariant: never holds more than the limit and one chunk, and never waits longer than the deadline.
"""

from __future__ import annotations

import asyncio

from litestar.types import Receive

from iogate.gateway.answers import BROKEN_OFF, TIMED_OUT, Failed, too_large

DEADLINE_S = 20.0
"""For a whole body; each MiB of the limit adds a second."""


async def read(
    receive: Receive,
    *,
    limit: int,
    length: int | None,
    reading: set[asyncio.Timeout],
    deadline_s: float = DEADLINE_S,
) -> bytes:
    """The whole body. `length` is what Content-Length promises, None without one.

    `reading` holds the deadline meanwhile, for a process that must end earlier.
    """
    if length == 0:
        return b""
    if length is not None and length > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(deadline_s + limit / 1_048_576) as deadline:
            reading.add(deadline)
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
    except TimeoutError:
        raise Failed(TIMED_OUT) from None
    finally:
        reading.discard(deadline)
