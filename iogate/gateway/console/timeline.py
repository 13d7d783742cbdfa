"""Tasks of a run as bars over time, from its rows of tasks and its journal.

Used by the page of a run. Pure. The bars show where time went: in the queue, at work, in a wait, between
two attempts, suspended. Invariants: each task has one row, in order of start; a journal that has dropped
its oldest entries gives fewer bars, never wrong ones; the axis covers all bars.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from iogate.gateway.console.formatting import duration, to_ms

Json = Mapping[str, Any]

NICE: Final = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 8, 10)
"""Quarters of an axis, by their leading digits."""
_UNITS: Final = ((1, 1000), (1000, 60_000), (60_000, 3_600_000), (3_600_000, math.inf))
"""Milliseconds of a unit of quarters, and the longest quarter in it."""
DEEPEST: Final = 6
VISIBLE: Final = 0.1
"""Width in percent of a bar without a length, so that its outline is visible."""
_WORDS: Final = {
    "queue": ("in the queue", "times in the queue"),
    "run": ("at work", "times at work"),
    "ok": ("done", "times done"),
    "bad": ("faulted", "times faulted"),
    "live": ("running", "running"),
    "wait": ("a wait", "waits"),
    "retry": ("a delay before an attempt", "delays before attempts"),
    "hold": ("suspended", "suspensions"),
    "group": ("tasks in it", "groups of tasks in it"),
    "off": ("not completed", "times not completed"),
}
_OVER: Final = frozenset({"task.completed", "task.faulted", "task.cancelled", "task.skipped"})
_BEGUN: Final = frozenset({"task.started", "task.restarted"})
_MESSAGE: Final = 240
RETRIED: Final = "workflow.retried"
"""Journal entry with which a further attempt of a run begins."""
_NOT_IN_ANCHOR: Final = re.compile("[^A-Za-z0-9]")


@dataclass(kw_only=True)
class Bar:
    """A bar of one row, in milliseconds since the creation of the run."""

    kind: str
    """queue, run, ok, bad, off, wait, retry, hold, group, or live for work that has not ended."""
    start: int
    end: int | None = None
    """None while it lasts."""
    title: str = ""

    def width(self, until: int) -> int:
        """Return the length of a bar of the timeline; of one that lasts, up to `until`."""
        return max(0, (until if self.end is None else self.end) - self.start)


@dataclass(kw_only=True)
class Row:
    """A task with its bars."""

    name: str
    reference: str
    anchor: str
    status: str
    depth: int
    count: int
    failed: int
    took: str
    bars: list[Bar] = field(default_factory=list)
    message: str = ""
    """Message of its last fault."""
    is_past: bool = False
    """Whether that fault was in an earlier attempt of the run."""
    recorded: list[Json] = field(default_factory=list)
    """Recorded inputs and outputs of its executions, the newest last."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Rows of a run over one axis."""

    rows: Sequence[Row]
    whole: Sequence[Bar]
    """Bands of the whole run: the queue before its start, and suspensions."""
    axis: int
    """Length of the axis in milliseconds."""
    ticks: Sequence[str]
    """Labels of the quarters of the axis."""
    now: int
    """Time of the page, in milliseconds since the creation of the run."""

    def words(self, bars: Sequence[Bar]) -> str:
        """Return the bars as text for screen readers: `at work for 20 ms, 2 waits for 3.1 s`."""
        texts = []
        for kind, (one, many) in _WORDS.items():
            found = [bar for bar in bars if bar.kind == kind]
            if found:
                count = one if len(found) == 1 else f"{len(found)} {many}"
                texts.append(f"{count} for {duration(sum(bar.width(self.now) for bar in found))}")
        return ", ".join(texts) or "no time"

    def left(self, bar: Bar) -> str:
        """Return the left edge of a bar in percent of the axis of the timeline."""
        return f"{100 * bar.start / self.axis:.3f}%"

    def width(self, bar: Bar) -> str:
        """Return the width of a bar in percent of the timeline's axis; of one that lasts, up to now."""
        return f"{max(VISIBLE, 100 * bar.width(self.now) / self.axis):.3f}%"


def anchor(reference: str) -> str:
    """Return the id of the row of a task in the timeline, for links to it."""
    return "task" + _NOT_IN_ANCHOR.sub("-", reference)


def nice_axis(length_ms: int) -> int:
    """Return the length of an axis with room for `length_ms` and with round numbers at its quarters."""
    quarter = max(1.0, length_ms / 4)
    unit = next(unit for unit, limit in _UNITS if quarter <= limit)
    steps = quarter / unit
    power = 10 ** math.floor(math.log10(max(steps, 1)))
    found = next(each for each in NICE if each * power >= steps - 1e-9)
    quarter_ms: int = math.ceil(found * power * unit)
    return quarter_ms * 4


def build(run: Json, journal: Sequence[Json], now_ms: int) -> Timeline:
    """Return the timeline of a run in the form of `runs show`, with its journal, at a time."""
    created = to_ms(run["createdAt"]) or now_ms
    ended = to_ms(run["endedAt"])
    now = max(0, (now_ms if ended is None else ended) - created)
    folded = _Journal(created, None if ended is None else now)
    for entry in journal:
        folded.add(entry)
    rows = _rows(run["tasks"], folded, created, None if ended is None else now)
    whole = [*_queue(run, created, now), *folded.suspensions]
    longest = max([now, 1, *(bar.end or 0 for row in rows for bar in row.bars)])
    axis = nice_axis(longest)
    ticks = [duration(axis * part / 4) if part else "0" for part in range(4)]
    return Timeline(rows=rows, whole=whole, axis=axis, ticks=ticks, now=now)


def _queue(run: Json, created: int, now: int) -> list[Bar]:
    started = to_ms(run["startedAt"])
    if started is None:
        if to_ms(run["endedAt"]) is not None:
            return [Bar(kind="queue", start=0, end=now, title=f"not started, {duration(now)}")]
        return [Bar(kind="queue", start=0, title="waits to be started")]
    waited = max(0, started - created)
    over = None if run["endedAt"] is None else now
    return [
        Bar(kind="queue", start=0, end=waited, title=f"in the queue for {duration(waited)}"),
        Bar(kind="group", start=waited, end=over),
    ]


def _rows(tasks: Sequence[Json], folded: _Journal, created: int, end: int | None) -> list[Row]:
    known = {task["reference"] for task in tasks}
    rows = []
    parents: set[str] = set()
    for task in tasks:
        chain = _ancestors(task["reference"], known)
        parents.update(chain)
        reference = task["reference"]
        rows.append(
            Row(
                name=task["name"],
                reference=reference,
                anchor=anchor(reference),
                status=task["status"],
                depth=min(DEEPEST, len(chain)),
                count=task["count"],
                failed=folded.failed.get(reference, task.get("failed") or 0),
                took=_took(task),
                message=folded.messages.get(reference, ""),
                is_past=reference in folded.past,
                recorded=folded.recorded.get(reference, []),
            )
        )
    for row, task in zip(rows, tasks, strict=True):
        row.bars = folded.bars_of(row.reference) or [_whole_bar(task, created, end)]
        if row.reference in parents:
            row.bars = [_as_group(bar) for bar in row.bars]
    return rows


def _ancestors(reference: str, known: set[str]) -> list[str]:
    """Return the known tasks around a task on the timeline, by their JSON Pointers."""
    parts = reference.split("/")
    prefixes = ("/".join(parts[:length]) for length in range(2, len(parts)))
    return [each for each in prefixes if each in known]


def _took(task: Json) -> str:
    start, end = to_ms(task["startedAt"]), to_ms(task["endedAt"])
    return "" if start is None or end is None else duration(end - start)


def _whole_bar(task: Json, created: int, end: int | None) -> Bar:
    """Return the only bar on the timeline of a task of which the journal has no entry any more."""
    start, over = to_ms(task["startedAt"]), to_ms(task["endedAt"])
    first = max(0, (created if start is None else start) - created)
    last = end if over is None else max(first, over - created)
    kind = {"completed": "ok", "faulted": "bad", "skipped": "off", "cancelled": "off", "waiting": "wait"}
    return Bar(kind=kind.get(task["status"], "live" if last is None else "run"), start=first, end=last)


def _as_group(bar: Bar) -> Bar:
    """Return the bar on the timeline of a task with tasks below it, which show the work."""
    if bar.kind in {"run", "ok", "live", "bad"}:
        return Bar(kind="group", start=bar.start, end=bar.end, title=bar.title)
    return bar


class _Journal:
    """Bands of each task, from the entries of a journal in their order."""

    def __init__(self, created: int, end: int | None) -> None:
        self._created, self._end = created, end
        self._bars: dict[str, list[Bar]] = {}
        self._active: dict[str, int] = {}
        """Number of executions of a task that have begun and not ended."""
        self._retrying: dict[str, Bar] = {}
        self.suspensions: list[Bar] = []
        self.failed: dict[str, int] = {}
        self.messages: dict[str, str] = {}
        self.past: set[str] = set()
        """Tasks whose last fault was in an earlier attempt of the run."""
        self.recorded: dict[str, list[Json]] = {}

    def add(self, entry: Json) -> None:
        kind, reference = str(entry.get("kind")), str(entry.get("reference", ""))
        at = to_ms(entry.get("at"))
        if at is None:
            return
        if kind == RETRIED:
            self.past = {*self.messages}
        detail = entry.get("detail")
        self._place(kind, reference, max(0, at - self._created), detail if isinstance(detail, dict) else {})

    def _place(self, kind: str, reference: str, at: int, detail: Json) -> None:
        if kind in _BEGUN:
            self._end_retries(reference, at)
            self._begin(reference, at)
        elif kind in _OVER:
            self._finish(kind, reference, at, detail)
        elif kind == "task.waiting":
            self._change(reference, Bar(kind="wait", start=at, title=_wait_title(detail)))
        elif kind == "task.retried":
            bar = Bar(kind="retry", start=at, title=f"waits for attempt {_attempt(detail)}")
            self._change(reference, bar)
            self._retrying[reference] = bar
        elif kind == "task.recorded":
            self.recorded.setdefault(reference, []).append(detail)
        elif kind == "workflow.suspended":
            self.suspensions.append(Bar(kind="hold", start=at, title="suspended"))
        elif kind in {"workflow.resumed", RETRIED, *_ENDS} and self.suspensions:
            last = self.suspensions[-1]
            last.end = at if last.end is None else last.end

    def _begin(self, reference: str, at: int) -> None:
        running = self._active.get(reference, 0)
        self._active[reference] = running + 1
        last = self._last(reference)
        if last is None or last.end is not None:
            self._bars.setdefault(reference, []).append(Bar(kind="live", start=at))
        elif running == 0:
            self._change(reference, Bar(kind="live", start=at))

    def _finish(self, kind: str, reference: str, at: int, detail: Json) -> None:
        if kind == "task.faulted":
            self.failed[reference] = self.failed.get(reference, 0) + 1
            self.past.discard(reference)
            if message := _message(detail):
                self.messages[reference] = message
        running = self._active.get(reference, 0)
        self._active[reference] = max(0, running - 1)
        last = self._last(reference)
        if last is None or last.end is not None:
            if kind != "task.skipped":
                return
            last = Bar(kind="live", start=at)
            self._bars.setdefault(reference, []).append(last)
        self._retrying.pop(reference, None)
        if running <= 1:
            last.end = at
            if last.kind == "live":
                last.kind = {"task.completed": "ok", "task.faulted": "bad"}.get(kind, "off")

    def _change(self, reference: str, bar: Bar) -> None:
        """End the bar of a task on the timeline that lasts, and begin another one."""
        last = self._last(reference)
        if last is not None and last.end is None:
            last.end = bar.start
            last.kind = "run" if last.kind == "live" else last.kind
        self._bars.setdefault(reference, []).append(bar)

    def _end_retries(self, reference: str, at: int) -> None:
        """End the retry bar of each enclosing task when a task in it starts."""
        for around in [each for each in self._retrying if reference.startswith(each + "/")]:
            self._retrying.pop(around)
            self._change(around, Bar(kind="live", start=at))

    def _last(self, reference: str) -> Bar | None:
        bars = self._bars.get(reference)
        return bars[-1] if bars else None

    def bars_of(self, reference: str) -> list[Bar]:
        """Return the bars of a task; the last one ends with the run."""
        bars = self._bars.get(reference, [])
        if bars and bars[-1].end is None and self._end is not None:
            bars[-1].end = max(bars[-1].start, self._end)
            bars[-1].kind = "run" if bars[-1].kind == "live" else bars[-1].kind
        return bars


_ENDS: Final = frozenset({"workflow.completed", "workflow.faulted", "workflow.cancelled"})


def _attempt(detail: Json) -> int | str:
    attempt = detail.get("attempt")
    return attempt + 1 if isinstance(attempt, int) else "again"


def _wait_title(detail: Json) -> str:
    if isinstance(workflow := detail.get("workflow"), str):
        return f"waits for {workflow}"
    return f"waits until {detail['until']}" if detail.get("until") else "waits for an event"


def _message(detail: Json) -> str:
    error = detail.get("error")
    if not isinstance(error, dict):
        return ""
    text = str(error.get("detail") or error.get("title") or "")
    return text if len(text) <= _MESSAGE else f"{text[:_MESSAGE]}…"
