"""The store's time, as a worker knows it between two answers of the store.

Leases, timers and deadlines are judged by one clock, the store's: hosts may disagree by minutes.
"""

from __future__ import annotations

import time


class StoreTime:
    """Set by each take; advances with this machine's monotonic clock."""

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - time.monotonic() * 1000

    def set(self, now_ms: int) -> None:
        """The store said so just now. Its answer took its time: this clock is late, never early."""
        self._offset_ms = now_ms - time.monotonic() * 1000

    def now_ms(self) -> int:
        return int(self._offset_ms + time.monotonic() * 1000)
