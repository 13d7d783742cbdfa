"""The live schedules: next ticks, last runs, the switch of a person, and runs started by hand.

Used by `iogate schedule` and by the routes of schedules. Invariant: a run that a person starts is one of the
verified live revision, as those that workers start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from iogate.errors import NotFound, Refused
from iogate.messages import counted
from iogate.operators.activity import clean_reason
from iogate.operators.live_revision import live_revision
from iogate.store.connection.failures import Unconfirmed
from iogate.store.revisions.due_schedules import Tick, Upcoming
from iogate.store.revisions.schedule_states import ScheduleState, unknown_schedule
from iogate.store.runs.presentation import rfc3339
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store

NOT_STARTED: Final = "IOG723"
TICKS: Final = 3
"""Next ticks of a schedule in a list."""
_AT_ONCE: Final = 16
"""Runs that are read at the same time."""


async def list_all(store: Store) -> dict[str, Any]:
    """Return the live schedules with next ticks, last run, skipped ticks and switch."""
    upcoming = await store.schedules.upcoming()
    names = sorted(upcoming)
    states = await store.schedule_states.read(names, await store.timer_now_ms())
    slots = asyncio.Semaphore(_AT_ONCE)

    async def row(name: str) -> dict[str, Any]:
        async with slots:
            return await _row(store, name, upcoming[name], states[name])

    return {"schedules": await asyncio.gather(*map(row, names))}


def schedules_json(found: Iterable[Upcoming]) -> dict[str, dict[str, Any]]:
    """Return each schedule of the live workflows as JSON, by the full name of its workflow."""
    return {
        each.workflow: {
            "when": str(each.schedule),
            "missed": each.schedule.missed,
            "overlap": each.schedule.overlap,
            "jitterS": each.schedule.jitter_ms / 1000,
            "disabled": each.disabled,
            "nextAt": rfc3339(each.next_ms),
            "run": each.run,
        }
        for each in found
    }


async def _row(store: Store, name: str, each: Upcoming, state: ScheduleState) -> dict[str, Any]:
    described = schedules_json([each])[each.workflow]
    run = state.run or each.run
    last = None if run is None else await store.runs.show(run, most=0)
    return {
        "schedule": name,
        "workflow": each.workflow,
        **{key: value for key, value in described.items() if key not in ("nextAt", "run")},
        "nextTicks": [rfc3339(moment) for moment in _next_ticks(each, state)],
        "waiting": state.waits,
        "lastRun": run,
        "lastStatus": None if last is None else last.status,
        "lastStartedAt": rfc3339(state.started_ms),
        "skipped": state.skipped,
        "lastSkippedAt": rfc3339(state.skipped_at_ms),
        "lastSkipReason": state.skipped_reason or None,
        "disabled": None
        if state.pause is None
        else {
            "author": state.pause.author,
            "reason": state.pause.reason or None,
            "since": rfc3339(state.pause.since_ms),
            "until": rfc3339(state.pause.until_ms),
        },
    }


def _next_ticks(each: Upcoming, state: ScheduleState) -> list[int]:
    """Return the times of a live schedule's next ticks that start runs; empty if it follows runs or events.

    A disabled schedule has none, or those after the time at which it is enabled again.
    """
    pause = state.pause
    if each.next_ms is None or (pause is not None and (each.schedule.chained or pause.until_ms is None)):
        return []
    if each.schedule.chained:
        return [each.next_ms]
    moments = [each.next_ms]
    if pause is not None and pause.until_ms is not None and pause.until_ms > each.next_ms:
        moments = [each.schedule.due(each.next_ms, pause.until_ms)[1] or each.next_ms]
    while len(moments) < TICKS:
        moments.append(each.schedule.next_ms(moments[-1]))
    return moments


async def disable(
    store: Store, names: Sequence[str], *, author: str, reason: str = "", ttl_s: float | None = None
) -> dict[str, Any]:
    """Disable schedules by `namespace/name`: their ticks start no runs until `enable`, or for `ttl_s`.

    Raises NotFound for an unknown schedule, Foreign if another project owns one; none is switched then.
    """
    reason = clean_reason(reason)
    await _switch(store, names, enabled=False, author=author, reason=reason, ttl_s=ttl_s)
    return {"schedules": list(names), "enabled": False, "reason": reason, "ttlS": ttl_s}


async def enable(store: Store, names: Sequence[str], *, author: str) -> dict[str, Any]:
    """Enable schedules by `namespace/name` from their next tick on.

    Raises NotFound for an unknown schedule, Foreign if another project owns one; none is switched then.
    """
    await _switch(store, names, enabled=True, author=author, reason="", ttl_s=None)
    return {"schedules": list(names), "enabled": True}


async def _switch(
    store: Store, names: Sequence[str], *, enabled: bool, author: str, reason: str, ttl_s: float | None
) -> None:
    """Switch schedules; raises as `enable`, with a suggestion for an unknown one."""
    try:
        await store.schedule_states.switch(names, enabled=enabled, author=author, reason=reason, ttl_s=ttl_s)
    except NotFound:
        known = await store.schedules.upcoming()
        raise unknown_schedule([each for each in names if each not in known], known) from None


async def run(store: Store, names: Sequence[str], *, author: str, operation: str = "") -> dict[str, Any]:
    """Start a run of each schedule now, also of a disabled one; return the uids by `namespace/name`.

    With the same id of an operation, no second run is started.

    Raises NotFound for an unknown schedule, Refused for one on events, one that differs from the live
    revision, or if the store starts no runs, and Unconfirmed, with the uids, if too few replicas confirm.
    """
    found = {name: await store.schedules.find(name) for name in names}
    missing = [name for name, tick in found.items() if tick is None]
    if missing:
        raise unknown_schedule(missing, await store.schedules.upcoming())
    ticks = {name: tick for name, tick in found.items() if tick is not None}
    await _check(store, ticks)
    uids: dict[str, str] = {}
    source = UidSource()
    for name, tick in ticks.items():
        drawn = source.next()
        uid = await store.replies.plan(operation, name, drawn) if operation else drawn
        outcome, stored, _ = await store.schedules.take(tick, [uid], None, caller=author)
        # An attempt whose reply was lost may have started the run.
        is_done = outcome == "taken" and await store.runs.api_of(uid) == tick.id
        if not is_done and (outcome != "ok" or not stored):
            why = "the store is nearly full" if outcome == "memory" else "too many of its runs wait"
            if outcome in ("gone", "taken"):
                why = "the schedule changed meanwhile"
            done = f"; {counted(len(uids), 'run')} started" if uids else ""
            raise Refused(f"no run of {name}: {why}{done}", code=NOT_STARTED, hint="try again later")
        uids[name] = uid
    try:
        await store.confirm()
    except Unconfirmed as error:
        started = ", ".join(f"run {uid} of {name}" for name, uid in uids.items())
        raise Unconfirmed(error.confirmed, error.wanted, done=f"started: {started}") from None
    return {"runs": uids}


async def _check(store: Store, ticks: dict[str, Tick]) -> None:
    """Check that schedules are those of the live revision, and start by ticks. Raises Refused if not."""
    _, revision = await live_revision(store)
    for name, tick in ticks.items():
        # As workers do: the run that is signed here must be one of the verified revision.
        if revision.scheduled.get(name) != (tick.scheduled.workflow, tick.scheduled.schedule):
            raise Refused(
                f"no run of {name}: its schedule in the store is not that of the live revision",
                code=NOT_STARTED,
                hint="`iogate drift` shows what differs; `iogate apply` restores it",
            )
        if tick.scheduled.schedule.kind == "on":
            raise started_by_events(name)


def started_by_events(name: str) -> Refused:
    """Return the error for a run by hand of a schedule on events, which only events can start."""
    return Refused(
        f"{name} starts on events, and not by a tick",
        code=NOT_STARTED,
        hint="send an event: POST /v1/events",
    )
