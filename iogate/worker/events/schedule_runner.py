"""Runner of schedules, which starts their runs when they are due.

Started by `worker_process` in each worker. Invariants: the store gives each tick to one worker, so any number
of workers start one run per tick; the failure of one schedule does not affect others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from iogate.compiler.schedules import LATE_MS, PREFIX, Schedule
from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.revisions.due_schedules import Tick
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store

log = logging.getLogger(__name__)

POLL_S = 0.25
"""Longest delay until an apply is noticed; known due times are waited for exactly."""
SHORTEST_S = 0.001
"""Shortest wait, so that a due tick that this worker cannot take does not keep it busy."""
RELINK_S = 30.0
KEPT = 16
"""Number of revisions in memory."""


class ScheduleRunner:
    """Schedule task of one worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uids = UidSource()
        self._failed: dict[str, str] = {}
        """Failing schedules with the reason, which is logged once."""
        self._published: dict[int, Mapping[str, tuple[str, Schedule]]] = {}
        """Schedules of live revisions, by number."""
        self._doubtful: dict[str, tuple[int, bytes]] = {}
        """Entries that differed from their revision when they were read."""
        self._first = 0
        """Position of the ticks to look at next."""

    async def run(self) -> None:
        """Run schedules in this worker: take their ticks until cancelled."""
        loop = asyncio.get_running_loop()
        relink_at = 0.0
        while True:
            wait_s = POLL_S
            try:
                if loop.time() >= relink_at:
                    relink_at = loop.time() + RELINK_S
                    await self._store.schedules.relink()
                wait_s = await self._take_due()
            except (Unreachable, CommandFailed) as error:
                log.debug("schedules: %s", error, extra={"action": "schedule.postponed"})
            except Exception:
                log.exception("schedules failed", extra={"action": "schedule.failed"})
            await asyncio.sleep(wait_s)

    async def _take_due(self) -> float:
        """Take the due ticks of all schedules; return the seconds until the next check."""
        due = await self._store.schedules.due(self._first)
        # Concurrently, so that the store gets all ticks of one moment in one pipeline.
        is_taken = any(await asyncio.gather(*(self._try(tick, due.now_ms) for tick in due.ticks)))
        # Ticks that nobody can take, such as those of a project without a valid revision, hide no others.
        self._first = 0 if is_taken else due.behind
        if is_taken:
            return 0.0
        if self._first:
            return SHORTEST_S
        if due.next_ms is None:
            return POLL_S
        return min(POLL_S, max(SHORTEST_S, (due.next_ms - due.now_ms) / 1000))

    async def _try(self, tick: Tick, now_ms: int) -> bool:
        try:
            return await self._take(tick, now_ms)
        except (Unreachable, CommandFailed):
            return False
        except Exception as error:  # noqa: BLE001 - another release wrote it, or the time zone is missing
            self._warn_once(tick, f"{type(error).__name__}: {error}")
            return False

    async def _take(self, tick: Tick, now_ms: int) -> bool:
        """Take a due tick of a schedule as its runner; tell whether this worker took it."""
        if not await self._is_published(tick):
            return False
        schedule = tick.scheduled.schedule
        moments, following_ms = schedule.due(tick.due_ms, now_ms)
        outcome, stored, reason = await self._store.schedules.take(
            tick,
            [self._uids.next() for _ in moments],
            following_ms,
            again_ms=schedule.again_ms(now_ms) if schedule.chained else 0,
            missed=schedule.count_skipped(tick.due_ms, now_ms),
        )
        if outcome == "memory":
            self._warn_once(tick, "no runs start: the store is nearly full")
        if outcome == "skipped" and stored:
            log.info(
                "%s skipped %d tick%s: %s",
                tick.id,
                stored,
                "" if stored == 1 else "s",
                reason,
                extra={"action": "schedule.skipped", "api": tick.id, "skipped": stored},
            )
        if outcome == "skipped":
            return True
        if outcome != "ok":
            return False
        if stored < (len(moments) if schedule.overlap == "allow" else min(1, len(moments))):
            self._warn_once(tick, "no runs start: too many runs of the schedule are waiting")
            return not schedule.chained
        self._failed.pop(tick.id, None)
        if not schedule.chained and now_ms - tick.due_ms > LATE_MS:
            log.warning(
                "%s missed ticks for %d s: started %d run%s",
                tick.id,
                (now_ms - tick.due_ms) // 1000,
                stored,
                "" if stored == 1 else "s",
                extra={"action": "schedule.missed", "api": tick.id},
            )
        return True

    async def _is_published(self, tick: Tick) -> bool:
        """Tell whether the live revision has the schedule to run; log a difference only if it persists."""
        scheduled = self._published.get(tick.revision)
        if scheduled is None:
            revision = await self._store.revisions.load(tick.revision, project=tick.project)
            while len(self._published) >= KEPT:
                del self._published[next(iter(self._published))]
            scheduled = self._published[tick.revision] = revision.scheduled
        found = tick.scheduled
        if scheduled.get(tick.id.removeprefix(PREFIX)) == (found.workflow, found.schedule):
            self._doubtful.pop(tick.id, None)
            return True
        read = (tick.revision, tick.entry)
        if self._doubtful.get(tick.id) == read:
            self._store.schedules.refuse(tick)
        self._doubtful[tick.id] = read
        return False

    def _warn_once(self, tick: Tick, why: str) -> None:
        if self._failed.get(tick.id) != why:
            self._failed[tick.id] = why
            log.warning("%s: %s", tick.id, why, extra={"action": "schedule.failed", "api": tick.id})
