"""Fair queue of jobs for one server, shared by the senders of the jobs.

Used by `validator`. Pure: the time is an argument. Sharers form a tree: networks, the addresses in them,
and the APIs that an address uses. At each level the branch that has recently used the fewest
measured seconds is next. Invariants: while a job waits, a branch beside one of its own uses
no more than that one and one job more, so that a network without recent use is served after at most one job
of each other network, however many addresses these have; and the waiting jobs are bounded, for each address
and in total; at the bound, the branch with the most loses jobs.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from iogate.security.failure_limit import network

T = TypeVar("T")

MIB: Final = 1024 * 1024
S_PER_MIB: Final = 1.0
"""Seconds by which a job overtakes an earlier, larger job of the same sharer."""
HALF_S: Final = 10.0
"""Half-life of the measured use."""
REMEMBERED: Final = 4096
"""Limit of branches with recorded use."""
WIDE: Final = (32, 48, 56)
"""Prefixes of the IPv6 networks of providers, sites and customers: one sender may have many /64 networks."""

Sharer = tuple[str, ...]
"""Sender of jobs: the networks that its address is in, widest first, the address, and an API."""


def sharer_of(address: str, api: str) -> Sharer:
    """Return the sender of a job in the queue; an IPv6 address counts as its /64."""
    own = network(address)
    if "/" not in own:
        return (own, api)
    found = ipaddress.IPv6Network(own)
    return (*(str(found.supernet(new_prefix=prefix)) for prefix in WIDE), own, api)


class Bound(NamedTuple):
    """Limits on the number and total bytes of waiting jobs; one job may always wait."""

    jobs: int
    size: int

    def excludes(self, jobs: int, size: int) -> bool:
        """Tell whether a queue of this number of jobs, of this total size, exceeds the limits."""
        return jobs > self.jobs or (jobs > 1 and size > self.size)


TOTAL: Final = Bound(64, 48 * MIB)
EACH: Final = Bound(32, 24 * MIB)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Entry(Generic[T]):
    item: T
    sharer: Sharer
    size: int
    number: int
    due_s: float
    """Order of the jobs of one sharer; a large job waits, but not indefinitely."""


class FairQueue(Generic[T]):
    """Bounded queue that is fair to networks, addresses and APIs; see the module."""

    def __init__(self, *, total: Bound = TOTAL, each: Bound = EACH) -> None:
        self._total, self._each = total, each
        self._entries: list[_Entry[T]] = []
        self._numbers = itertools.count()
        self._used: dict[Sharer, tuple[float, float]] = {}
        """Seconds that a branch has used, and the time of the last update."""

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, item: T, sharer: Sharer, size: int, now_s: float) -> list[tuple[T, bool]]:
        """Add a job to the queue, and return the displaced jobs, which may include it; `size` is in bytes.

        Each comes with True if its address exceeds its bound, False if all jobs together do.
        """
        due_s = now_s + size / MIB * S_PER_MIB
        entry = _Entry(item=item, sharer=sharer, size=size, number=next(self._numbers), due_s=due_s)
        address = sharer[:-1]
        own = [each for each in self._entries if each.sharer[:-1] == address]
        removed = dict.fromkeys(self._excess([*own, entry], self._each, now_s), True)
        kept = [each for each in (*self._entries, entry) if each not in removed]
        removed |= dict.fromkeys(self._excess(kept, self._total, now_s), False)
        if entry in removed:
            return [(item, removed[entry])]
        self._entries = [each for each in kept if each not in removed]
        return [(each.item, is_own) for each, is_own in removed.items()]

    def pop(self, now_s: float) -> tuple[T, Sharer] | None:
        """Remove the next job of the queue and return it with its sharer; None if no job waits."""
        if not self._entries:
            return None

        def least(branch: Sharer, entries: list[_Entry[T]]) -> tuple[float, int]:
            return -self.used(branch, now_s), -min(each.number for each in entries)

        entry = min(_descend(self._entries, least), key=lambda each: (each.due_s, each.number))
        self._entries.remove(entry)
        return entry.item, entry.sharer

    def remove(self, item: T) -> None:
        """Remove a job if it waits in the queue."""
        self._entries = [each for each in self._entries if each.item is not item]

    def charge(self, sharer: Sharer, seconds: float, now_s: float) -> None:
        """Record the seconds that a job of a sharer of the queue has used."""
        for depth in range(1, len(sharer) + 1):
            self._used[sharer[:depth]] = (self.used(sharer[:depth], now_s) + seconds, now_s)
        if len(self._used) > REMEMBERED:
            most = sorted(self._used, key=lambda branch: self.used(branch, now_s))[-REMEMBERED // 2 :]
            self._used = {branch: self._used[branch] for branch in most}

    def used(self, branch: Sharer, now_s: float) -> float:
        """Return the seconds that a branch of the queue, a network, address or sharer, has recently used."""
        seconds, counted_s = self._used.get(branch, (0.0, now_s))
        return seconds * float(0.5 ** ((now_s - counted_s) / HALF_S))

    def _excess(self, entries: list[_Entry[T]], bound: Bound, now_s: float) -> list[_Entry[T]]:
        """Return the queued jobs above the bound: the newest of the branches with the most jobs or bytes."""
        kept = list(entries)
        removed: list[_Entry[T]] = []
        while bound.excludes(len(kept), sum(each.size for each in kept)):
            by_jobs = len(kept) > bound.jobs

            def most(branch: Sharer, held: list[_Entry[T]], *, by_jobs: bool = by_jobs) -> tuple[float, ...]:
                size = len(held) if by_jobs else sum(each.size for each in held)
                return size, self.used(branch, now_s), max(each.number for each in held)

            removed.append(max(_descend(kept, most), key=lambda each: each.number))
            kept.remove(removed[-1])
        return removed


def _descend(
    entries: list[_Entry[T]], key: Callable[[Sharer, list[_Entry[T]]], tuple[Any, ...]]
) -> list[_Entry[T]]:
    """Return the queued jobs of one sharer: those of the branch with the greatest key, level by level."""
    depth = 1
    while any(each.sharer != entries[0].sharer for each in entries):
        branches: dict[Sharer, list[_Entry[T]]] = {}
        for each in entries:
            branches.setdefault(each.sharer[:depth], []).append(each)
        _, entries = max(branches.items(), key=lambda branch: key(*branch))
        depth += 1
    return entries
