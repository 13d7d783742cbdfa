"""Watches how full the server is, for those who bring work in.

Used by `intake` and `bus`. Invariant: a server without a limit is never full; while one is over the
watermark, a flag in the store tells every script that takes something in.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time

from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection, StoreFull, StoreUnavailable

WATERMARK = 0.9
"""Share of the server's maxmemory above which nothing is accepted: running work needs the rest."""
LOOK_S = 1.0
SHARE = 8
"""A process looks again after letting in this part of the room that is left: others let in as much."""


class Memory:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._looked_at = 0.0
        self._room = math.inf
        """Bytes below the watermark at the last look; none if the flag was raised."""
        self._let_in = 0

    async def check(self, left_s: float | None = None, *, size: int) -> None:
        """Raise or keep the flag, within `left_s`; `size` is the bytes that are about to be let in.

        It looks once a second, and sooner if much was let in: a burst must leave what running work needs.

        Raises StoreUnavailable where the store does not answer in that time.
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
            # A user who may not ask: a full server still refuses by itself.
            return
        sizes = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        limit = int(sizes.get("maxmemory", 0))
        self._room = limit * WATERMARK - int(sizes["used_memory"]) if limit else math.inf
        if self._room < 0:
            with contextlib.suppress(StoreFull):  # then every script that takes something in fails by itself
                await self._connection.call("SET", keys.FULL, "1", "EX", keys.FULL_S)
