"""Histograms of times with fixed buckets, four for each power of two of milliseconds.

Used by `hourly_counts`; `statistics.lua` counts into the same buckets. Pure. Invariant: a quantile is less
than 20 % from the exact one, and usually less than 10 %, as values are taken as evenly spread in a bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

PER_OCTAVE = 4
FIRST_MS = 2.0
"""Shorter times are in bucket 0; buckets 1 to 3 are empty, because the next one begins here."""
LAST_BUCKET = 40 * PER_OCTAVE
"""Bucket of about 35 years; no run has a later one."""


def lower_ms(bucket: int) -> float:
    """Return the time at which a bucket begins."""
    return 0.0 if bucket <= 0 else 2.0 ** (bucket / PER_OCTAVE)


def upper_ms(bucket: int) -> float:
    """Return the time at which a bucket ends, exclusive."""
    return FIRST_MS if bucket <= 0 else 2.0 ** ((bucket + 1) / PER_OCTAVE)


class Histogram(msgspec.Struct, frozen=True):
    """Number of runs by bucket, and the sum of their times."""

    buckets: Mapping[int, int] = {}
    sum_ms: int = 0

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    @property
    def mean_ms(self) -> float | None:
        """Mean of the times; None without any."""
        count = self.count
        return self.sum_ms / count if count else None

    def quantile_ms(self, share: float) -> float | None:
        """Return the time that this share of the runs (0 to 1) does not exceed; None without any."""
        count = self.count
        if not count:
            return None
        rank = max(1, math.ceil(share * count))
        below = 0
        for bucket in sorted(self.buckets):
            inside = self.buckets[bucket]
            if below + inside >= rank:
                low, high = lower_ms(bucket), upper_ms(bucket)
                return low + (high - low) * (rank - below) / (inside + 1)
            below += inside
        raise AssertionError("the rank is at most the count")
