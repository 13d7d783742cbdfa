"""Whose turn it is: the runs of a worker that have something to work out, one slice of steps after the other.

Used by `drive`. Invariant: however many runs there are and however long their steps take, the loop does its
other work (ticks, leases, commits, answers) after HELD_S, or after one slice where that takes longer; and a
slice takes about SLICE_S, or one step where that takes longer: of an expression over much data one step may
take what a thousand others do, and a worker whose loop does not move is killed.

    add ──▶ ready ──▶ slice ──▶ add, while it has more to do
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from iogate.worker.active import Run

FIRST_STEPS = 8
MOST_STEPS = 200
"""Tasks that the engine may run in one slice."""
SLICE_S = 0.01
HELD_S = 0.01


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
        self._ready: deque[Run] = deque()
        self._called = False

    def add(self, run: Run) -> None:
        """Something has happened to the run, or it has more to do."""
        if run.ready:
            return
        run.ready = True
        self._ready.append(run)
        if not self._called:
            self._called = True
            self._loop.call_soon(self._go)

    def _go(self) -> None:
        began = now = self._clock()
        try:
            while self._ready and now - began < HELD_S:
                run = self._ready.popleft()
                run.ready = False
                run.steps = run.steps or (1 if run.careful else FIRST_STEPS)
                self._slice_of(run)
                before, now = now, self._clock()
                run.steps = self._paced(run, now - before)
        finally:
            self._called = bool(self._ready)
            if self._called:
                self._loop.call_soon(self._go)

    def _paced(self, run: Run, took_s: float) -> int:
        """How many steps the next slice of the run may have."""
        if took_s > SLICE_S:
            return max(1, int(run.steps * SLICE_S / took_s))
        if run.careful or not run.unfinished:
            return run.steps
        return min(MOST_STEPS, 2 * run.steps)
