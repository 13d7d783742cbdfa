"""The virtual clock of an executor: time passes only when it is moved, and callbacks run in order."""

from __future__ import annotations

from iogate.testing import FakeClock
from iogate.testing.clock import VirtualClock


def test_callbacks_run_in_the_order_of_their_times_and_not_before() -> None:
    clock, called = VirtualClock(FakeClock()), list[str]()
    start = clock.now_ms()
    clock.call_later(2, called.append, "second")
    clock.call_later(1, called.append, "first")
    clock.call_later(1, called.append, "of the same time")
    dropped = clock.call_later(0.5, called.append, "dropped")
    assert clock.due_ms == start + 500
    dropped.cancel()
    assert clock.due_ms == start + 1_000
    clock.move_to(start + 999)
    assert called == []
    clock.move_to(start + 1_000)
    assert called == ["first", "of the same time"]
    clock.move_to(start + 5_000)
    assert called[2:] == ["second"]
    clock.move_to(start)
    assert clock.now_ms() == start + 5_000


def test_whole_milliseconds_are_exact_and_other_delays_not_early() -> None:
    clock = VirtualClock(FakeClock())
    for ms in range(1, 2_000):
        timer = clock.call_later(ms / 1000, print)
        assert clock.due_ms == clock.now_ms() + ms
        timer.cancel()
    clock.call_later(0.0101, print)
    assert clock.due_ms == clock.now_ms() + 11


def test_seconds_pass_with_the_clock_and_slightly_with_each_reading() -> None:
    fake = FakeClock()
    clock = VirtualClock(fake)
    before = clock.monotonic()
    assert 0 < clock.monotonic() - before < 0.001
    fake.advance(60)
    assert 60 < clock.monotonic() - before < 60.001
