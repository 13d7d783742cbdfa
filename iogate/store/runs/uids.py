"""Run ids: 41 bits of milliseconds since 2020, then 22 random bits, as a decimal string.

Drawn by a gateway without asking anyone. Invariant: one source never repeats and never goes back, also
when the host's clock does; two sources may collide, which the accept script refuses.
"""

from __future__ import annotations

import os

from iogate.timing.clock import epoch_ms

EPOCH_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z."""
_RANDOM_BITS = 22


_POOL_BYTES = 3 * 1024


class UidSource:
    """One source for each process that draws ids."""

    def __init__(self) -> None:
        self._last = 0
        # A read of the kernel's generator for each id would cost more than all the rest of drawing it.
        self._pool = b""
        self._used = 0

    def next(self) -> str:
        """Draw an id."""
        random = self._random()
        drawn = (epoch_ms() - EPOCH_MS) << _RANDOM_BITS | random >> 2
        # Within one millisecond, or with a clock set back, count on from the last one by a random step:
        # the next uid stays hard to guess.
        if drawn <= self._last:
            drawn = self._last + 1 + (random & 0xFF)
        self._last = drawn
        return str(drawn)

    def _random(self) -> int:
        """Return 24 random bits, each of which is used once."""
        start = self._used
        if start == len(self._pool):
            self._pool, start = os.urandom(_POOL_BYTES), 0
        self._used = start + 3
        return int.from_bytes(self._pool[start : start + 3], "big")


def created_ms(uid: str) -> int:
    """When its gateway drew it."""
    return (int(uid) >> _RANDOM_BITS) + EPOCH_MS
