"""Watches how full the server is, for those who bring work in.

Used by `intake` and `events`. Invariant: a server without a limit is never full; while one is over the
watermark, a flag in the store tells every script that takes something in.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from iogate.store import keys
from iogate.store.line import CommandFailed, Line, StoreFull, StoreUnavailable

WATERMARK = 0.9
"""Share of the server's maxmemory above which nothing is accepted: running work needs the rest."""
LOOK_S = 1.0


class Memory:
    def __init__(self, line: Line) -> None:
        self._line = line
        self._looked_at = 0.0

    async def look(self, left_s: float | None = None) -> None:
        """Raise or keep the flag, at most once a second and within `left_s`.

        Raises StoreUnavailable where the store does not answer in that time.
        """
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        try:
            async with asyncio.timeout(left_s):
                info: bytes = await self._line.call("INFO", "memory")
        except TimeoutError:
            raise StoreUnavailable(f"{self._line.address} gave no answer in time") from None
        except CommandFailed:
            # A user who may not ask: a full server still refuses by itself.
            return
        sizes = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        limit = int(sizes.get("maxmemory", 0))
        if limit and int(sizes["used_memory"]) > limit * WATERMARK:
            with contextlib.suppress(StoreFull):  # then every script that takes something in fails by itself
                await self._line.call("SET", keys.FULL, "1", "EX", keys.FULL_S)
