"""Local copy of the store's clock.

Leases, timers and due times are in milliseconds of the store's clock, so that hosts whose clocks differ
agree. A worker receives that time with each request for runs and advances it by the monotonic clock, which
cannot be set back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


def epoch_ms() -> int:
    """Return this host's clock in epoch milliseconds; only for times that no other host compares."""
    return time.time_ns() // 1_000_000


class StoreClock:
    """The store's time at the last observation plus the time since; initially this host's own time."""

    def __init__(self) -> None:
        self.observe(epoch_ms())

    def observe(self, store_now_ms: int) -> None:
        """Set the clock to the store's time in a reply; the delay of the reply makes it late, never early."""
        self._offset_ms = store_now_ms - time.monotonic() * 1000

    def now_ms(self) -> int:
        return int(self._offset_ms + time.monotonic() * 1000)

    monotonic = staticmethod(time.monotonic)
    """Seconds since an arbitrary moment; the time of the event loop."""

    def call_later(
        self, delay_s: float, callback: Callable[..., object], *arguments: Any
    ) -> asyncio.TimerHandle:
        """Call back on the running event loop after a delay by the store's clock."""
        return asyncio.get_running_loop().call_later(delay_s, callback, *arguments)
