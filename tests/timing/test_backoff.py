"""Delays between attempts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from iogate.timing.backoff import Backoff, with_jitter

FIRSTS = st.floats(min_value=0.001, max_value=10)
FACTORS = st.floats(min_value=1, max_value=1000)


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_reset_begins_with_the_first_delay_again() -> None:
    backoff = Backoff(0.5, 3.0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert [backoff.next_s(), backoff.next_s()] == [0.5, 1.0]


def test_a_limit_that_changes_holds_for_the_next_delays() -> None:
    backoff = Backoff(0.1, 10.0)
    assert [backoff.next_s() for _ in range(5)] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert [backoff.next_s(1.0), backoff.next_s(), backoff.next_s(10.0)] == [1.0, 1.0, 2.0]


@given(FIRSTS, FACTORS, st.integers(1, 3000))
def test_no_delay_is_shorter_than_the_one_before_or_longer_than_the_limit(
    first_s: float, factor: float, number: int
) -> None:
    longest_s = first_s * factor
    backoff = Backoff(first_s, longest_s)
    delays = [backoff.next_s() for _ in range(number)]
    assert delays[0] == first_s
    assert delays == sorted(delays)
    assert max(delays) <= longest_s
    assert all(after == min(longest_s, before * 2) for before, after in pairwise(delays))


@given(st.floats(min_value=0.001, max_value=1e6), st.floats(min_value=0, max_value=1))
def test_jitter_stays_within_its_ratio(period_s: float, ratio: float) -> None:
    margin_s = period_s * (ratio + 1e-9)
    assert period_s - margin_s <= with_jitter(period_s, ratio) <= period_s + margin_s


def test_jitter_spreads_periods() -> None:
    assert len({with_jitter(10.0, 0.1) for _ in range(20)}) > 1
