"""Selection of the tasks that the page of a run shows at first.

Used by `run_page_values`. Pure. A run has up to 1,000 rows of tasks; the page shows those that people look
for, in their order, and counts the rest. Invariants: a selected task is shown with the tasks around it; each
row is either shown or counted; rows with many bars keep at most `BARS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from iogate.gateway.console.timeline import Bar, Row

ROWS: Final = 100
"""Most rows that the page shows at first."""
BARS: Final = 24
"""Most bars of a row; neighbours are joined beyond it."""
EXECUTIONS: Final = 3
"""Newest executions of a task whose recorded input and output the page shows at first."""
_OVER: Final = ("completed", "skipped", "cancelled")
_WORST: Final = ("bad", "retry", "live", "hold", "wait", "run", "ok", "group", "off", "queue")
"""Kinds of bars; the first one of those that are joined is shown."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Neighbouring rows that are not shown."""

    count: int
    statuses: Mapping[str, int]
    anchor: str
    """Id of the first of them in the page with all tasks."""


Shown: TypeAlias = "Row | Gap"


def select(rows: Sequence[Row]) -> list[Shown]:
    """Select the rows of tasks to show first; return them, and the gaps between them.

    Faulted tasks precede running and waiting ones, then tasks with failed executions, then the newest.
    """
    if len(rows) <= ROWS:
        return list(rows)
    positions = {row.reference: at for at, row in enumerate(rows)}
    chosen: set[int] = set()
    for at in sorted(range(len(rows)), key=lambda at: (_rank(rows[at]), -at)):
        wanted = {at, *_around(rows[at].reference, positions)} - chosen
        if len(chosen) + len(wanted) <= ROWS:
            chosen |= wanted
    found: list[Shown] = []
    hidden: list[Row] = []
    for at, row in enumerate(rows):
        if at not in chosen:
            hidden.append(row)
            continue
        found += _gap(hidden)
        hidden = []
        found.append(row)
    return [*found, *_gap(hidden)]


def _rank(row: Row) -> int:
    """Return the rank of a task's row in the selection: the lower, the earlier."""
    if row.status == "faulted":
        return 0
    if row.status not in _OVER:
        return 1
    return 2 if row.failed else 3


def _around(reference: str, positions: Mapping[str, int]) -> set[int]:
    parts = reference.split("/")
    prefixes = ("/".join(parts[:length]) for length in range(2, len(parts)))
    return {positions[each] for each in prefixes if each in positions}


def _gap(hidden: Sequence[Row]) -> list[Gap]:
    if not hidden:
        return []
    statuses = Counter(row.status for row in hidden)
    return [Gap(count=len(hidden), statuses=dict(statuses.most_common()), anchor=hidden[0].anchor)]


def join_bars(bars: Sequence[Bar]) -> list[Bar]:
    """Return at most `BARS` bars over the same time: neighbours become one of the more important kind."""
    if len(bars) <= BARS:
        return list(bars)
    # The last bar may still last, and a page that is watched lengthens it.
    *earlier, last = bars
    share = -(-len(earlier) // (BARS - 1))
    groups = [earlier[at : at + share] for at in range(0, len(earlier), share)]
    return [*(_joined(group) for group in groups), last]


def _joined(bars: Sequence[Bar]) -> Bar:
    if len(bars) == 1:
        return bars[0]
    kind = min((bar.kind for bar in bars), key=_WORST.index)
    ends = [bar.start if bar.end is None else bar.end for bar in bars]
    return Bar(kind=kind, start=bars[0].start, end=max(ends), title=f"{len(bars)} bars in one")
