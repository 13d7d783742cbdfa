"""What runs did: counts and times by API, workflow and hour, and the distinct errors.

Used by `runs stats`, `runs errors`, their routes and pages. Invariant: times are in seconds, and quantiles
have the accuracy of `histograms`; everything is read from counters, so the cost does not grow with the runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from iogate.store import keys
from iogate.store.runs.presentation import rfc3339
from iogate.store.statistics.histograms import Histogram
from iogate.store.statistics.hourly_counts import HOUR_MS, NONE, Counts, Sum, total
from iogate.store.statistics.statistics import ErrorGroup
from iogate.store.store import Store

DAY_MS: Final = 24 * HOUR_MS
KEPT_MS: Final = keys.STATISTICS_MS - DAY_MS
"""Time back from now for which there are counts."""
SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


async def run_statistics(
    store: Store,
    *,
    api: str | None = None,
    workflow: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> dict[str, Any]:
    """Return the statistics of runs for operators: counts and times by API, workflow and hour, and in total.

    The time goes from the hour of `since_ms`, by default a day ago, to that of `until_ms`, by default now.
    `total`, `apis` and `hours` have the runs that calls, events and schedules have started; with `workflow`,
    and in `workflows`, also those that other runs have started.
    """
    now_ms = await store.now_ms()
    until_ms = now_ms if until_ms is None else min(until_ms, now_ms)
    since_ms = max(now_ms - DAY_MS if since_ms is None else since_ms, now_ms - KEPT_MS)
    apis: defaultdict[str, Sum] = defaultdict(Sum)
    workflows: defaultdict[str, Sum] = defaultdict(Sum)
    hours: defaultdict[int, Sum] = defaultdict(Sum)
    async for series, hour, counts in store.statistics.hours(since_ms, until_ms, api=api, workflow=workflow):
        workflows[series.workflow].add(counts)
        if workflow is not None or not series.child:
            apis[series.api].add(counts)
            hours[hour].add(counts)
    first, last = since_ms // HOUR_MS * HOUR_MS, until_ms // HOUR_MS * HOUR_MS
    return {
        "since": rfc3339(first),
        "until": rfc3339(min(last + HOUR_MS, now_ms)),
        "total": counts_json(total(each.counts for each in apis.values())),
        "apis": [{"api": name, **counts_json(each.counts)} for name, each in sorted(apis.items())],
        "workflows": [
            {"workflow": name, **counts_json(each.counts)} for name, each in sorted(workflows.items())
        ],
        "hours": [
            {"hour": rfc3339(hour), **counts_json(hours[hour].counts)}
            for hour in range(first, last + 1, HOUR_MS)
        ],
    }


async def last_day(store: Store, *, api: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the counts and times of each API in the last day, as the routes and commands show them.

    An API without runs is left out: `NO_RUNS` are its counts.
    """
    until_ms = await store.now_ms()
    apis: defaultdict[str, Sum] = defaultdict(Sum)
    async for series, _, counts in store.statistics.hours(until_ms - DAY_MS, until_ms, api=api):
        if not series.child:
            apis[series.api].add(counts)
    return {name: counts_json(each.counts) for name, each in apis.items()}


def counts_json(counts: Counts) -> dict[str, Any]:
    """Return run statistics as JSON: `accepted` of runs, `completed`, `faulted`, `cancelled` of attempts.

    `faultRate` is the share of the faulted attempts. A time or rate without runs is null.
    """
    durations, waits = counts.durations, counts.waits
    completed, faulted = durations.count, counts.faulted
    ended = completed + faulted
    return {
        "accepted": counts.accepted,
        "completed": completed,
        "faulted": faulted,
        "cancelled": counts.cancelled,
        "retried": counts.retried,
        "faultRate": round(faulted / ended, 4) if ended else None,
        "durationS": _times(durations),
        "queueWaitS": _times(waits),
    }


def _times(histogram: Histogram) -> dict[str, float] | None:
    mean_ms = histogram.mean_ms
    if mean_ms is None:
        return None
    quantiles = {name: histogram.quantile_ms(share) or 0.0 for name, share in SHARES.items()}
    return {name: round(ms / 1000, 4) for name, ms in {"mean": mean_ms, **quantiles}.items()}


NO_RUNS: Final = counts_json(NONE)


async def error_groups(
    store: Store, *, api: str | None = None, since_ms: int | None = None
) -> dict[str, Any]:
    """Return the distinct errors as JSON since `since_ms`, by default seven days ago, the last one first."""
    if since_ms is None:
        since_ms = await store.now_ms() - KEPT_MS
    found = await store.statistics.errors(since_ms, api=api)
    return {"since": rfc3339(since_ms), "errors": [_error(group) for group in found]}


def _error(group: ErrorGroup) -> Mapping[str, Any]:
    return {
        "api": group.api,
        "workflow": group.workflow,
        "task": group.task or None,
        "type": group.type,
        "status": group.status,
        "code": group.type.rstrip("/").rpartition("/")[2] or "runtime",
        "message": group.message,
        "count": group.count,
        "firstAt": rfc3339(group.first_ms),
        "lastAt": rfc3339(group.last_ms),
        "lastRun": group.last_uid,
    }
