"""Histograms: quantiles near the exact ones, and buckets equal to those of the scripts."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from iogate.store.connection import scripts
from iogate.store.statistics.histograms import (
    FIRST_MS,
    LAST_BUCKET,
    PER_OCTAVE,
    Histogram,
    lower_ms,
    upper_ms,
)

TIMES = st.lists(st.integers(0, 10**9), min_size=1, max_size=200)


def bucket(ms: int) -> int:
    """Return the bucket of a time, as `statistics.lua` computes it."""
    return 0 if ms < FIRST_MS else math.floor(math.log(ms) * (PER_OCTAVE / math.log(2)) + 0.000001)


def histogram(times: list[int]) -> Histogram:
    return Histogram(dict(Counter(map(bucket, times))), sum(times))


def test_the_script_computes_the_same_buckets() -> None:
    text = scripts.script("commit").text
    assert str(PER_OCTAVE / math.log(2)) == "5.7707801635558535"
    assert f"if ms >= {FIRST_MS:.0f} then" in text
    assert "floor(math.log(ms) * 5.7707801635558535 + 0.000001)" in text


@given(ms=st.integers(0, 10**12))
def test_a_time_is_within_the_bounds_of_its_bucket(ms: int) -> None:
    found = bucket(ms)
    assert lower_ms(found) * 0.999_999 <= ms < upper_ms(found) * 1.000_001
    assert found <= LAST_BUCKET


@given(times=TIMES, share=st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_quantile_is_near_the_exact_one(times: list[int], share: float) -> None:
    exact = sorted(times)[max(1, math.ceil(share * len(times))) - 1]
    found = histogram(times).quantile_ms(share)
    assert found is not None
    assert abs(found - exact) <= max(FIRST_MS, 0.2 * exact)


def test_no_runs_have_no_quantile() -> None:
    assert Histogram().quantile_ms(0.5) is None
    assert Histogram().mean_ms is None
