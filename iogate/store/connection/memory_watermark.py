"""Watermark of the server's memory: new data is rejected before running work lacks room.

Used by `intake` and `bus`. Invariant: a server without a limit is never full; while memory is
above the watermark, a flag in the store makes every script reject new data.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time

from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection, StoreFull, StoreUnavailable

WATERMARK = 0.9
"""Share of maxmemory above which nothing is accepted; the rest is for running work."""
LOOK_S = 1.0
SHARE = 8
"""A process checks again after accepting 1/SHARE of the remaining room, because others accept as much."""


class Memory:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._looked_at = 0.0
        self._room = math.inf
        """Bytes below the watermark at the last check; negative if the flag was set."""
        self._let_in = 0

    async def check(self, left_s: float | None = None, *, size: int) -> None:
        """Set the flag if the server's memory is above the watermark; `size` is about to be accepted.

        It asks the server once per second, and sooner after much was accepted, so that a burst leaves room
        for running work. Raises StoreUnavailable if the server does not answer within `left_s`.
        """
        now = time.monotonic()
        self._let_in += size
        much = 0 < self._room < self._let_in * SHARE
        if now - self._looked_at < LOOK_S and not much:
            return
        self._looked_at, self._let_in = now, size
        try:
            async with asyncio.timeout(left_s):
                info: bytes = await self._connection.call("INFO", "memory")
        except TimeoutError:
            raise StoreUnavailable(f"{self._connection.address} gave no answer in time") from None
        except CommandFailed:
            # The user may not call INFO. A full server still rejects writes by itself.
            return
        sizes = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        limit = int(sizes.get("maxmemory", 0))
        self._room = limit * WATERMARK - int(sizes["used_memory"]) if limit else math.inf
        if self._room < 0:
            with contextlib.suppress(StoreFull):  # scripts that accept data fail by themselves then
                await self._connection.call("SET", keys.FULL, "1", "EX", keys.FULL_S)
