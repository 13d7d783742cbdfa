"""Clocks of a test: one that the test advances, and the worker's view of it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

TICK_S = 0.0001


class FakeClock:
    """Clock for the engine, in milliseconds since 1970."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now_ms = int(at.timestamp() * 1000)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ms / 1000, tz=UTC)

    def advance(self, seconds: float) -> None:
        """Advance the virtual clock of a test of a workflow."""
        self.now_ms += round(seconds * 1000)

    def move_to(self, now_ms: int) -> None:
        """Advance the clock of a test to a time; a time in the past has no effect."""
        self.now_ms = max(self.now_ms, now_ms)


class VirtualTimer:
    """A callback that is due at a time."""

    def __init__(self, due_ms: int, callback: Callable[[], object]) -> None:
        self.due_ms = due_ms
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Drop the callback of the virtual clock."""
        self.callback = None


class VirtualClock:
    """Clock of an executor, whose time passes only when it is moved.

    `monotonic` moves on by a tick with each look, so that a run that does not end does not hold the event
    loop, and the slices of a test are the same each time.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._ticks_s = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[int, int, VirtualTimer]] = []

    def now_ms(self) -> int:
        """Return the time of a test's virtual clock in milliseconds since 1970."""
        return self._clock.now_ms

    def monotonic(self) -> float:
        """Return the seconds of a test's virtual clock since an arbitrary moment."""
        self._ticks_s += TICK_S
        return self._clock.now_ms / 1000 + self._ticks_s

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> VirtualTimer:
        """Call back when the virtual clock is moved to the end of the delay or beyond."""
        # A delay that was computed from milliseconds is not rounded up to the next one.
        due_ms = self._clock.now_ms + math.ceil(delay_s * 1000 - 1e-6)
        timer = VirtualTimer(due_ms, lambda: callback(*arguments))
        heapq.heappush(self._timers, (due_ms, next(self._numbers), timer))
        return timer

    def skip_to(self, now_ms: int) -> None:
        """Advance the virtual clock without callbacks that are due then; the next advance makes them."""
        self._clock.move_to(now_ms)

    async def sleep(self, delay_s: float) -> None:
        """Wait until the virtual clock was moved to the end of the delay or beyond."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_s, over.set_result, None)
        try:
            await over
        finally:
            timer.cancel()

    @property
    def due_ms(self) -> int | None:
        """The time of the next callback of the virtual clock."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def move_to(self, now_ms: int) -> None:
        """Advance the virtual clock to a time and call back what is due then."""
        self._clock.move_to(now_ms)
        while (due_ms := self.due_ms) is not None and due_ms <= self._clock.now_ms:
            _, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
