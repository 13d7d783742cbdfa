"""Run ids: 41 bits of milliseconds since 2020, then 22 random bits, as a decimal string.

Drawn by a gateway without asking anyone. Invariant: one source never repeats and never goes back, also
when the host's clock does; two sources may collide, which the accept script refuses.
"""

from __future__ import annotations

import secrets

from iogate.clock import epoch_ms

EPOCH_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z."""
_RANDOM_BITS = 22


class UidSource:
    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        drawn = (epoch_ms() - EPOCH_MS) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        # Within one millisecond, or with a clock set back, count on from the last one by a random step:
        # the next uid stays hard to guess.
        if drawn <= self._last:
            drawn = self._last + 1 + secrets.randbits(8)
        self._last = drawn
        return str(drawn)


def created_ms(uid: str) -> int:
    """When its gateway drew it."""
    return (int(uid) >> _RANDOM_BITS) + EPOCH_MS
