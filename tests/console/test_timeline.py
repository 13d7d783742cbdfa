"""The timeline of a run: bands from its rows and its journal."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.gateway.console import timeline

CREATED = 1_764_335_522_000


def at(ms: int) -> str:
    return dt.datetime.fromtimestamp((CREATED + ms) / 1000, tz=dt.UTC).isoformat(timespec="milliseconds")


def entry(ms: int, kind: str, reference: str = "/do/0/a", **detail: Any) -> dict[str, Any]:
    return {"at": at(ms), "kind": kind, "reference": reference, "detail": detail or None}


def task(
    reference: str = "/do/0/a", status: str = "completed", start: int = 10, end: int | None = 100
) -> dict[str, Any]:
    return {
        "name": reference.rpartition("/")[2],
        "reference": reference,
        "status": status,
        "startedAt": at(start),
        "endedAt": None if end is None else at(end),
        "attempt": 1,
        "count": 1,
    }


def run(*tasks: dict[str, Any], started: int | None = 5, end: int | None = 100) -> dict[str, Any]:
    return {
        "createdAt": at(0),
        "startedAt": None if started is None else at(started),
        "endedAt": None if end is None else at(end),
        "tasks": list(tasks),
    }


def bands(row: timeline.Row) -> list[tuple[str, int, int | None]]:
    return [(bar.kind, bar.start, bar.end) for bar in row.bars]


def built(found: dict[str, Any], *journal: dict[str, Any], now: int = 200) -> timeline.Timeline:
    return timeline.build(found, journal, CREATED + now)


def test_a_wait_is_a_band_of_its_own() -> None:
    journal = (entry(10, "task.started"), entry(30, "task.waiting"), entry(100, "task.completed"))
    assert bands(built(run(task()), *journal).rows[0]) == [("run", 10, 30), ("wait", 30, 100)]


def test_the_delay_before_an_attempt_ends_with_the_first_task_of_the_attempt() -> None:
    inner = "/do/0/a/try/0/b"
    found = built(
        run(task(), task(inner, "faulted")),
        entry(10, "task.started"),
        entry(10, "task.started", inner),
        entry(20, "task.faulted", inner, error={"detail": "refused"}),
        entry(20, "task.retried", attempt=1),
        entry(70, "task.started", inner),
        entry(80, "task.faulted", inner, error={"detail": "refused again"}),
        entry(100, "task.completed"),
    )
    outer, tried = found.rows
    assert bands(outer) == [("group", 10, 20), ("retry", 20, 70), ("group", 70, 100)]
    assert bands(tried) == [("bad", 10, 20), ("bad", 70, 80)]
    assert (tried.failed, tried.message, tried.depth, outer.depth) == (2, "refused again", 1, 0)


def test_a_fault_of_an_earlier_attempt_of_the_run_is_past() -> None:
    first = (
        entry(10, "task.started"),
        entry(20, "task.faulted", error={"detail": "refused"}),
        entry(60, "workflow.retried", "", attempt=2),
        entry(70, "task.started"),
    )
    found = built(run(task()), *first, entry(100, "task.completed")).rows[0]
    assert (found.message, found.is_past) == ("refused", True)
    again = entry(100, "task.faulted", error={"detail": "refused again"})
    found = built(run(task(status="faulted")), *first, again).rows[0]
    assert (found.message, found.is_past) == ("refused again", False)


def test_parallel_executions_of_a_task_are_one_band_until_the_last_one_ends() -> None:
    journal = (
        entry(10, "task.started"),
        entry(20, "task.started"),
        entry(30, "task.completed"),
        entry(60, "task.completed"),
    )
    assert bands(built(run(task()), *journal).rows[0]) == [("ok", 10, 60)]


def test_a_task_without_entries_has_the_band_of_its_row() -> None:
    assert bands(built(run(task(status="faulted"))).rows[0]) == [("bad", 10, 100)]


def test_what_has_not_ended_lasts_until_now_and_ends_with_its_run() -> None:
    live = built(run(task(status="running", end=None), end=None), entry(10, "task.started"), now=90)
    assert bands(live.rows[0]) == [("live", 10, None)]
    assert live.rows[0].bars[0].width(live.now) == 80
    ended = built(run(task(status="running", end=None), end=50), entry(10, "task.started"), now=90)
    assert bands(ended.rows[0]) == [("run", 10, 50)]


def test_the_whole_run_shows_its_queue_and_its_suspensions() -> None:
    found = built(run(started=40), entry(50, "workflow.suspended", ""), entry(80, "workflow.resumed", ""))
    assert [(bar.kind, bar.start, bar.end) for bar in found.whole] == [
        ("queue", 0, 40),
        ("group", 40, 100),
        ("hold", 50, 80),
    ]
    waiting = built(run(started=None, end=None), now=70)
    assert [(bar.kind, bar.end) for bar in waiting.whole] == [("queue", None)]


@pytest.mark.parametrize(
    ("length", "axis"), [(0, 4), (4, 4), (98, 100), (3_310, 4_000), (61_000, 80_000), (5_400_000, 6_000_000)]
)
def test_an_axis_ends_at_a_round_number(length: int, axis: int) -> None:
    assert timeline.nice_axis(length) == axis


@given(st.integers(0, 10**11))
def test_an_axis_covers_its_length_and_wastes_little(length: int) -> None:
    axis = timeline.nice_axis(length)
    assert length <= axis <= max(4, length * 2)


KINDS = st.sampled_from(
    [
        "task.started",
        "task.completed",
        "task.faulted",
        "task.waiting",
        "task.retried",
        "task.restarted",
        "task.skipped",
        "task.cancelled",
        "workflow.suspended",
        "workflow.resumed",
        "task.recorded",
        "odd",
    ]
)
ENTRIES = st.lists(st.tuples(st.integers(0, 50), KINDS, st.sampled_from(["/do/0/a", "/do/0/a/try/0/b", ""])))


@given(steps=ENTRIES, has_ended=st.booleans())
def test_bands_follow_each_other_whatever_a_journal_says(
    steps: list[tuple[int, str, str]],
    *,
    has_ended: bool,
) -> None:
    moment, journal = 0, []
    for step, kind, reference in steps:
        moment += step
        journal.append(entry(moment, kind, reference))
    end = moment + 10 if has_ended else None
    found = built(run(task(), task("/do/0/a/try/0/b"), end=end), *journal, now=moment + 10)
    for row in found.rows:
        for first, second in zip(row.bars, row.bars[1:], strict=False):
            assert first.end is not None
            assert first.start <= first.end <= second.start
        assert row.bars[-1].start <= found.axis
        assert not has_ended or row.bars[-1].end is not None
