"""Queue of jobs for one server, which those who send them share fairly.

Used by `validation`. Pure: the time is an argument. The next job is the one with the least score: the seconds
that its sharer has recently used, and an estimate of its own. Invariants: while a job waits, another sharer
uses no more than the score of that job and one job more; and the waiting jobs are bounded, for each sharer
and in total, where the job with the greatest score gives way.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

MIB: Final = 1024 * 1024
S_PER_MIB: Final = 1.0
"""Estimate of what a job takes."""
HALF_S: Final = 10.0
"""Time after which half of what a sharer has used is forgotten."""
REMEMBERED: Final = 4096
"""Addresses and sharers whose use is known."""


class Sharer(NamedTuple):
    """Sender of jobs; the use of all sharers of an address counts for each of them, too."""

    address: str
    interface: str


class Bound(NamedTuple):
    """The most jobs that wait, and the most bytes of them; one job may always wait."""

    jobs: int
    size: int

    def excludes(self, jobs: int, size: int) -> bool:
        """Tell whether so many jobs of this size together are more than may wait."""
        return jobs > self.jobs or (jobs > 1 and size > self.size)


TOTAL: Final = Bound(64, 48 * MIB)
EACH: Final = Bound(32, 24 * MIB)


class Full(Exception):
    """Too many jobs of all sharers wait."""


class SharerFull(Exception):
    """Too many jobs of this sharer wait."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Entry(Generic[T]):
    item: T
    sharer: Sharer
    size: int
    number: int


class FairQueue(Generic[T]):
    """See the module."""

    def __init__(self, *, total: Bound = TOTAL, each: Bound = EACH) -> None:
        self._total, self._each = total, each
        self._entries: list[_Entry[T]] = []
        self._numbers = itertools.count()
        self._used: dict[str | Sharer, tuple[float, float]] = {}
        """Seconds, and when they were counted."""

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, item: T, sharer: Sharer, size: int, now_s: float) -> list[T]:
        """Add a job of a size in bytes, and return the jobs that give way to it.

        Raises SharerFull, or Full if no job with a greater score waits.
        """
        entry = _Entry(item=item, sharer=sharer, size=size, number=next(self._numbers))
        own = [each.size for each in self._entries if each.sharer == sharer]
        if self._each.excludes(len(own) + 1, sum(own) + size):
            raise SharerFull
        kept = sorted([*self._entries, entry], key=lambda each: self._score(each, now_s))
        removed: list[_Entry[T]] = []
        while self._total.excludes(len(kept), sum(each.size for each in kept)):
            removed.append(kept.pop())
        if entry in removed:
            raise Full
        self._entries = kept
        return [each.item for each in removed]

    def pop(self, now_s: float) -> tuple[T, Sharer] | None:
        """Remove the next job and return it with its sharer; None if no job waits."""
        if not self._entries:
            return None
        entry = min(self._entries, key=lambda each: self._score(each, now_s))
        self._entries.remove(entry)
        return entry.item, entry.sharer

    def remove(self, item: T) -> None:
        """Remove a job if it waits."""
        self._entries = [each for each in self._entries if each.item is not item]

    def charge(self, sharer: Sharer, seconds: float, now_s: float) -> None:
        """Count what a job of a sharer has used."""
        for key in (sharer.address, sharer):
            self._used[key] = (self._recently(key, now_s) + seconds, now_s)
        if len(self._used) > REMEMBERED:
            most = sorted(self._used, key=lambda key: self._recently(key, now_s))[REMEMBERED // 2 :]
            self._used = {key: self._used[key] for key in most}

    def used(self, sharer: Sharer, now_s: float) -> float:
        """Return the seconds that count against the jobs of a sharer."""
        return self._recently(sharer.address, now_s) + self._recently(sharer, now_s)

    def _recently(self, key: str | Sharer, now_s: float) -> float:
        seconds, counted_s = self._used.get(key, (0.0, now_s))
        return seconds * float(0.5 ** ((now_s - counted_s) / HALF_S))

    def _score(self, entry: _Entry[T], now_s: float) -> tuple[float, int]:
        return self.used(entry.sharer, now_s) + entry.size / MIB * S_PER_MIB, entry.number
