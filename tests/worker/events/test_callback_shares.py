"""Slow hosts never have all tries of a worker, in whatever spelling and under however many names."""

from __future__ import annotations

import pytest

from iogate.worker.events.callback_delivery import Pace
from iogate.worker.events.callback_shares import (
    AT_ONCE,
    AT_ONCE_PER_HOST,
    AT_ONCE_PER_PATTERN,
    SLOW_AT_ONCE,
    UNPROVEN_AT_ONCE,
    Share,
    Shares,
    Try,
)


def entered(shares: Shares, *given: Share) -> list[Try]:
    return [found for share in given if (found := shares.enter(share)) is not None]


def proven(shares: Shares, seconds: float, *hosts: str) -> list[Share]:
    """Make a try of each host that takes so long."""
    found = [Share(host) for host in hosts]
    for share in found:
        (each,) = entered(shares, share)
        shares.leave(each, seconds)
    return found


def test_a_host_and_a_pattern_have_their_shares() -> None:
    shares = Shares()
    assert len(entered(shares, *[Share("one.test")] * AT_ONCE)) == AT_ONCE_PER_HOST
    shares = Shares()
    many = [Share(f"h{n}.example.com", "shop/order *.example.com") for n in range(AT_ONCE)]
    assert len(entered(shares, *many)) == AT_ONCE_PER_PATTERN


def test_slow_and_unknown_hosts_leave_tries_to_fast_ones() -> None:
    shares = Shares()
    fast = proven(shares, 0.1, *(f"fast{n}" for n in range(AT_ONCE)))
    slow = proven(shares, 15.0, *(f"slow{n}" for n in range(AT_ONCE)))
    assert len(entered(shares, *slow)) == SLOW_AT_ONCE
    unknown = [Share(f"new{n}") for n in range(AT_ONCE)]
    assert len(entered(shares, *unknown)) == UNPROVEN_AT_ONCE - SLOW_AT_ONCE
    assert len(entered(shares, *fast)) == AT_ONCE


def test_what_was_taken_is_given_back() -> None:
    shares = Shares()
    share = Share("h.example.com", "a/b *")
    for seconds in (15.0, 0.1, 0.1, 0.1, 0.1):
        for each in entered(shares, *[share] * AT_ONCE_PER_HOST):
            shares.leave(each, seconds)
    assert len(entered(shares, *[share] * AT_ONCE)) == AT_ONCE_PER_HOST
    assert len(entered(shares, *(Share(f"s{n}") for n in range(AT_ONCE)))) == UNPROVEN_AT_ONCE


def test_waiting_callbacks_of_a_slow_host_come_back_one_after_the_other() -> None:
    shares = Shares()
    (slow,) = proven(shares, 8.0, "slow")
    (fast,) = proven(shares, 0.0, "fast")
    waits = [shares.wait_s(slow, 1000.0, 0.25, 30.0) for _ in range(40)]
    assert waits[:3] == [0.25, 1.25, 2.25]
    assert max(waits) == 29.25
    assert waits.count(0.25) == 2
    assert {shares.wait_s(fast, 1000.0, 0.25, 30.0) for _ in range(40)} == {0.25}


@pytest.mark.parametrize(
    ("pace", "tries"), [(Pace(), 13), (Pace(first_s=1, factor=1, limit_s=3), 4), (Pace(first_s=0.0), 1000)]
)
def test_the_schedule_has_a_number_of_tries(pace: Pace, tries: int) -> None:
    assert pace.tries() == tries
