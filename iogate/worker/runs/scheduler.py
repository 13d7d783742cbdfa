"""Whose turn it is: the runs of a worker that have something to work out, one slice of steps after the other.

Used by `executor`. Invariant: however many runs there are and however long their steps take, the loop does
its other work (ticks, leases, commits, answers) after HELD_S, or after a slice of each lane where that takes
longer; and a slice takes about SLICE_S, or one step where that takes longer: of an expression over much data
one step may take what a thousand others do, and a worker whose loop does not move is killed.

    add ──▶ quick: all, for HELD_S ──▶ slice ──▶ add, while it has more to do
        └─▶ slow:  one in between ─────┘

A run is slow while a slice of it takes longer than SLOW_S: who is quick does not wait for all the slow ones.
In each lane APIs take turns, then the runs of each: a herd of runs that wake together delays no other API.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from iogate.worker.runs.lane import Lane
from iogate.worker.runs.run import Run

FIRST_STEPS = 2
MOST_STEPS = 200
"""Tasks that the engine may run in one slice."""
SLICE_S = 0.01
HELD_S = 0.005
SLOW_S = 0.05


class Turns:
    """`slice_of(run)`: let the engine go on with the run, for `run.steps`."""

    def __init__(
        self,
        slice_of: Callable[[Run], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slice_of = slice_of
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._quick: Lane[Run] = Lane()
        self._slow: Lane[Run] = Lane()
        self._now: Run | None = None
        """Whose turn it is at this moment."""
        self._called = False

    def add(self, run: Run) -> None:
        """Something has happened to the run, or it has more to do."""
        if run.ready:
            return
        run.ready = True
        if run is self._now:
            return  # it has its lane once it is known how long this slice takes
        (self._slow if run.slow else self._quick).append(run.api, run)
        if not self._called:
            self._called = True
            self._loop.call_soon(self._go)

    def _go(self) -> None:
        try:
            ends = self._clock() + HELD_S
            while self._quick and self._clock() < ends:
                self._take_turn(self._quick.popleft())
            if self._slow:
                self._take_turn(self._slow.popleft())
        finally:
            self._called = bool(self._quick or self._slow)
            if self._called:
                self._loop.call_soon(self._go)

    def _take_turn(self, run: Run) -> None:
        run.ready, self._now = False, run
        run.steps = run.steps or (1 if run.careful else FIRST_STEPS)
        began = self._clock()
        try:
            self._slice_of(run)
        finally:
            self._now = None
            took_s = self._clock() - began
            run.slow = took_s > SLOW_S
            run.steps = self._paced(run, took_s)
            if run.ready:
                (self._slow if run.slow else self._quick).append(run.api, run)

    def _paced(self, run: Run, took_s: float) -> int:
        """How many steps the next slice of the run may have."""
        if took_s > SLICE_S:
            return max(1, int(run.steps * SLICE_S / took_s))
        if run.careful or not run.unfinished:
            return run.steps
        return min(MOST_STEPS, 4 * run.steps)
