"""Fair, time-sliced scheduling of the runs of a worker on its event loop.

Used by `executor`. A run is queued while it has something to compute, and gets slices of a bounded number of
steps. In each lane APIs take turns, then the runs of each API.

    add ──▶ quick: all, for HELD_S ──▶ slice ──▶ add, while it has more to do
        └─▶ slow:  one in between ─────┘

A run is slow while a slice of it takes longer than SLOW_S. Invariant: however many runs there are, the loop
does its other work (heartbeats, leases, commits, responses) after HELD_S plus one slice of each lane; a slice
takes about SLICE_S, or one step if that takes longer. A worker whose loop stands still for too long is
killed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")

FIRST_STEPS = 2
MOST_STEPS = 200
"""Steps of the engine in one slice."""
SLICE_S = 0.01
HELD_S = 0.005
SLOW_S = 0.05


@dataclass(slots=True)
class Pace:
    """Record of the scheduler about one run."""

    steps: int = 0
    """Steps of the next slice; 0 before the first one."""
    slow: bool = False
    """The last slice took long."""
    queued: bool = False


class Schedulable(Protocol):
    """A run, as the scheduler sees it."""

    pace: Pace

    @property
    def api(self) -> str: ...

    @property
    def careful(self) -> bool:
        """Whether the scheduler gives a run each step as a slice of its own."""
        ...

    @property
    def unfinished(self) -> bool:
        """Whether the scheduler may lengthen a run's slices, since the last one ended with its budget."""
        ...


Scheduled = TypeVar("Scheduled", bound=Schedulable)


class Lane(Generic[Item]):
    """Queue in which APIs take turns; the items of one API leave in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def append(self, api: str, item: Item) -> None:
        waiting = self._waiting.get(api)
        if waiting is None:
            self._waiting[api] = deque((item,))
        else:
            waiting.append(item)

    def popleft(self) -> Item:
        """Return the next item of a lane of the scheduler, in which APIs take turns.

        Raises StopIteration if there is none.
        """
        api = next(iter(self._waiting))
        waiting = self._waiting.pop(api)
        item = waiting.popleft()
        if waiting:
            self._waiting[api] = waiting
        return item


class Scheduler(Generic[Scheduled]):
    """`slice_of(run)` lets the engine go on with the run for `run.pace.steps`."""

    def __init__(
        self,
        slice_of: Callable[[Scheduled], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slice_of = slice_of
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._quick: Lane[Scheduled] = Lane()
        self._slow: Lane[Scheduled] = Lane()
        self._now: Scheduled | None = None
        """The run whose slice this is."""
        self._called = False

    def add(self, run: Scheduled) -> None:
        """Queue a run for a slice, since something has happened to it or it has more to do."""
        pace = run.pace
        if pace.queued:
            return
        pace.queued = True
        if run is self._now:
            return  # its lane depends on the time that this slice takes
        self._lane(pace).append(run.api, run)
        if not self._called:
            self._called = True
            self._loop.call_soon(self._go)

    def _lane(self, pace: Pace) -> Lane[Scheduled]:
        return self._slow if pace.slow else self._quick

    def _go(self) -> None:
        try:
            ends = self._clock() + HELD_S
            while self._quick and self._clock() < ends:
                self._slice(self._quick.popleft())
            if self._slow:
                self._slice(self._slow.popleft())
        finally:
            self._called = bool(self._quick or self._slow)
            if self._called:
                self._loop.call_soon(self._go)

    def _slice(self, run: Scheduled) -> None:
        pace = run.pace
        pace.queued, self._now = False, run
        pace.steps = pace.steps or (1 if run.careful else FIRST_STEPS)
        began = self._clock()
        try:
            self._slice_of(run)
        finally:
            self._now = None
            took_s = self._clock() - began
            pace.slow = took_s > SLOW_S
            pace.steps = _steps(run, took_s)
            if pace.queued:
                self._lane(pace).append(run.api, run)


def _steps(run: Schedulable, took_s: float) -> int:
    """Return the steps that the scheduler gives a run next, after a slice that took so long."""
    steps = run.pace.steps
    if took_s > SLICE_S:
        return max(1, int(steps * SLICE_S / took_s))
    if run.careful or not run.unfinished:
        return steps
    return min(MOST_STEPS, 4 * steps)
