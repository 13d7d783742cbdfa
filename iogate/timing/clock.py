"""The store's clock, followed from afar.

Leases, timers and due times are in milliseconds of the store's own clock, so that hosts whose clocks
differ agree. A worker learns that time with each take and goes on from it by the monotonic clock,
which no administrator can set back.
"""

from __future__ import annotations

import time


def epoch_ms() -> int:
    """This host's wall clock; only for what no other host compares."""
    return time.time_ns() // 1_000_000


class StoreClock:
    """The store's time as of the last answer, plus what has passed here since; at first, this host's own."""

    def __init__(self) -> None:
        self.observe(epoch_ms())

    def observe(self, store_now_ms: int) -> None:
        """Take over what an answer said. It took its time: this clock is late, never early."""
        self._offset_ms = store_now_ms - time.monotonic() * 1000

    def now_ms(self) -> int:
        return int(self._offset_ms + time.monotonic() * 1000)
