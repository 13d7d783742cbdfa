"""Starts the runs of schedules: a task in each worker, all of them equal.

Put together by `process`. Invariants: the store decides who takes a tick, so that any number of workers
start one run a tick; what fails for one schedule fails for that schedule alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from iogate.compiler.schedules import LATE_MS, PREFIX, Schedule
from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.revisions.schedules import Tick
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store

log = logging.getLogger(__name__)

POLL_S = 0.25
"""How long an apply is not noticed, at most; due moments that are known are waited for exactly."""
SHORTEST_S = 0.001
"""What is due and cannot be taken here must not keep this worker busy."""
RELINK_S = 30.0


class ScheduleRunner:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._uids = UidSource()
        self._failed: dict[str, str] = {}
        """Schedules that this worker cannot serve, and why: said once."""
        self._published: tuple[int, Mapping[str, tuple[str, Schedule]]] = (0, {})
        """Number of a revision, and its schedules."""
        self._doubtful: dict[str, tuple[int, bytes]] = {}
        """Entries that were not the ones of their revision when they were read."""

    async def run(self) -> None:
        """Take ticks for ever."""
        loop = asyncio.get_running_loop()
        relink_at = 0.0
        while True:
            wait_s = POLL_S
            try:
                if loop.time() >= relink_at:
                    relink_at = loop.time() + RELINK_S
                    await self._store.schedules.relink()
                wait_s = await self._look()
            except (Unreachable, CommandFailed) as error:
                log.debug("schedules: %s", error, extra={"action": "schedule.postponed"})
            except Exception:
                log.exception("schedules failed", extra={"action": "schedule.failed"})
            await asyncio.sleep(wait_s)

    async def _look(self) -> float:
        """Take what is due; seconds until it is worth looking again."""
        due = await self._store.schedules.due()
        # Together: what is due in the same moment goes to the store in one piece.
        if any(await asyncio.gather(*(self._try(tick, due.now_ms) for tick in due.ticks))):
            return 0.0
        if due.next_ms is None:
            return POLL_S
        return min(POLL_S, max(SHORTEST_S, (due.next_ms - due.now_ms) / 1000))

    async def _try(self, tick: Tick, now_ms: int) -> bool:
        try:
            return await self._take(tick, now_ms)
        except (Unreachable, CommandFailed):
            return False
        except Exception as error:  # noqa: BLE001 - another release wrote it, or this machine lacks its zone
            self._say(tick, f"{type(error).__name__}: {error}")
            return False

    async def _take(self, tick: Tick, now_ms: int) -> bool:
        """Whether this worker was the one."""
        if not await self._is_published(tick):
            return False
        schedule = tick.scheduled.schedule
        moments, following_ms = schedule.due(tick.due_ms, now_ms)
        outcome, stored = await self._store.schedules.take(
            tick,
            [self._uids.next() for _ in moments],
            following_ms,
            again_ms=schedule.again_ms(now_ms) if schedule.chained else 0,
        )
        if outcome == "memory":
            self._say(tick, "the store is nearly full, and starts nothing")
        if outcome != "ok":
            return False
        if stored < len(moments):
            self._say(tick, "ticks start nothing: too many of its runs are waiting")
            return not schedule.chained
        self._failed.pop(tick.id, None)
        if not schedule.chained and now_ms - tick.due_ms > LATE_MS:
            log.warning(
                "%s missed ticks for %d s: %d run%s started",
                tick.id,
                (now_ms - tick.due_ms) // 1000,
                stored,
                " is" if stored == 1 else "s are",
                extra={"action": "schedule.missed", "api": tick.id},
            )
        return True

    async def _is_published(self, tick: Tick) -> bool:
        """Whether the live revision has this schedule; an apply between two readings is no reason to log."""
        if self._published[0] != tick.revision:
            revision = await self._store.revisions.load(tick.revision)
            self._published = tick.revision, revision.scheduled
        found = tick.scheduled
        if self._published[1].get(tick.id.removeprefix(PREFIX)) == (found.workflow, found.schedule):
            self._doubtful.pop(tick.id, None)
            return True
        read = (tick.revision, tick.entry)
        if self._doubtful.get(tick.id) == read:
            self._store.schedules.refuse(tick)
        self._doubtful[tick.id] = read
        return False

    def _say(self, tick: Tick, why: str) -> None:
        if self._failed.get(tick.id) != why:
            self._failed[tick.id] = why
            log.warning("%s: %s", tick.id, why, extra={"action": "schedule.failed", "api": tick.id})
