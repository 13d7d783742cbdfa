"""The tasks that the page of a run shows at first, and the bars of a row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iogate.gateway.console.task_selection import BARS, ROWS, Gap, join_bars, select
from iogate.gateway.console.timeline import Bar, Row, anchor

STATUSES = st.sampled_from(["completed", "faulted", "running", "waiting", "skipped", "cancelled"])


def row(reference: str, status: str = "completed", failed: int = 0) -> Row:
    return Row(
        name=reference.rpartition("/")[2],
        reference=reference,
        anchor=anchor(reference),
        status=status,
        depth=0,
        count=1,
        failed=failed,
        took="",
    )


def references(rows: list[Row | Gap]) -> list[str]:
    return [each.reference for each in rows if isinstance(each, Row)]


def test_few_tasks_are_all_shown() -> None:
    rows = [row(f"/do/{number}/a") for number in range(ROWS)]
    assert select(rows) == rows


def test_faulted_running_and_failed_tasks_precede_the_newest_and_gaps_count_the_rest() -> None:
    rows = [row(f"/do/{number}/a") for number in range(1_000)]
    rows[3] = row("/do/3/bad", "faulted")
    rows[10] = row("/do/10/live", "running")
    rows[500] = row("/do/500/retried", failed=2)
    found = select(rows)
    shown = references(found)
    assert shown[:3] == ["/do/3/bad", "/do/10/live", "/do/500/retried"]
    assert shown[3:] == [each.reference for each in rows[1_000 - (ROWS - 3) :]]
    gaps = [each for each in found if isinstance(each, Gap)]
    assert [(gap.count, gap.anchor) for gap in gaps] == [
        (3, "task-do-0-a"),
        (6, "task-do-4-a"),
        (489, "task-do-11-a"),
        (402, "task-do-501-a"),
    ]
    assert gaps[0].statuses == {"completed": 3}


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), STATUSES), max_size=400))
def test_a_shown_task_has_the_tasks_around_it(tasks: list[tuple[int, int, str]]) -> None:
    known: dict[str, str] = {}
    for outer, inner, status in tasks:
        known.setdefault(f"/do/{outer}/a", "completed")
        known[f"/do/{outer}/a/for/{inner}/b"] = status
    rows = [row(reference, status) for reference, status in known.items()]
    found = select(rows)
    shown = references(found)
    assert shown == [each.reference for each in rows if each.reference in set(shown)]
    assert len(shown) + sum(each.count for each in found if isinstance(each, Gap)) == len(rows)
    assert min(len(rows), ROWS - 1) <= len(shown) <= ROWS
    for reference in shown:
        assert "/for/" not in reference or reference.partition("/for/")[0] in shown


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(["ok", "bad", "wait"]))))
def test_joined_bars_cover_the_same_time_and_hide_no_fault(bars: list[tuple[int, int, str]]) -> None:
    at, given_bars = 0, []
    for pause, length, kind in bars:
        given_bars.append(Bar(kind=kind, start=at + pause, end=at + pause + length))
        at += pause + length
    joined = join_bars(given_bars)
    assert len(joined) <= BARS
    if given_bars:
        assert (joined[0].start, joined[-1].end) == (given_bars[0].start, given_bars[-1].end)
    assert {bar.kind for bar in given_bars if bar.kind == "bad"} <= {bar.kind for bar in joined}


def test_the_last_bar_of_many_still_lasts() -> None:
    bars = [Bar(kind="ok", start=at, end=at + 1) for at in range(100)]
    joined = join_bars([*bars, Bar(kind="live", start=100)])
    assert len(joined) <= BARS
    assert (joined[-1].kind, joined[-1].end) == ("live", None)
