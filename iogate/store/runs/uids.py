"""Run ids: 41 bits of milliseconds since 2020, then 22 random bits, as a decimal string.

Drawn by gateways and workers without coordination. Invariant: one source is strictly increasing, also if the
clock of the host is set back; ids of two sources may collide, which the scripts detect.
"""

from __future__ import annotations

import os

from iogate.timing.clock import epoch_ms

EPOCH_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z."""
_RANDOM_BITS = 22


_POOL_BYTES = 3 * 1024


class UidSource:
    """Generator of run ids, one per process."""

    def __init__(self) -> None:
        self._last = 0
        # Random bytes are read in blocks, because one system call per id would dominate its cost.
        self._pool = b""
        self._used = 0

    def next(self) -> str:
        """Draw the id of a run, its uid."""
        random = self._random()
        drawn = (epoch_ms() - EPOCH_MS) << _RANDOM_BITS | random >> 2
        # Within one millisecond, or after the clock was set back, continue from the last id by a random step,
        # so that the next one is hard to guess.
        if drawn <= self._last:
            drawn = self._last + 1 + (random & 0xFF)
        self._last = drawn
        return str(drawn)

    def _random(self) -> int:
        """Return 24 random bits for a uid, each of which is used once."""
        start = self._used
        if start == len(self._pool):
            self._pool, start = os.urandom(_POOL_BYTES), 0
        self._used = start + 3
        return int.from_bytes(self._pool[start : start + 3], "big")


def created_ms(uid: str) -> int:
    """Return the time at which the uid of a run was drawn."""
    return (int(uid) >> _RANDOM_BITS) + EPOCH_MS
