"""Delays between attempts: exponential backoff, and jitter for periods.

Used by every loop that tries again after a failure or polls less and less often: worker, store, supervision
and cli. The launcher imports nothing of iogate and keeps its own. Pure; callers sleep.
"""

from __future__ import annotations

import random


class Backoff:
    """Exponential backoff: each delay is twice the one before, up to a limit."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = self._next_s = first_s
        self._longest_s = longest_s

    def next_s(self, longest_s: float | None = None) -> float:
        """Return the next delay of the backoff in seconds; `longest_s` replaces the limit from now on."""
        if longest_s is not None:
            self._longest_s = longest_s
        delay_s = min(self._longest_s, self._next_s)
        self._next_s = delay_s * 2
        return delay_s

    def reset(self) -> None:
        """Start the backoff again with the first delay, after a success."""
        self._next_s = self._first_s


def with_jitter(period_s: float, ratio: float) -> float:
    """Return a period to back off with jitter: it differs from `period_s` by at most `ratio` of it.

    Processes that start together would otherwise do their periodic work together.
    """
    return period_s * random.uniform(1 - ratio, 1 + ratio)  # noqa: S311 - no secret is drawn
