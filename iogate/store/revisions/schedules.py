"""Schedules: what is due, who takes a tick, and when the next one comes.

Written by `Revisions.publish`, worked by every worker's `scheduling`, read by the command line.
Invariants: a tick is taken once, by compare-and-set on its due moment, together with the runs that it
starts; all moments are of the store's clock.

    publish ──▶ ticks ──due──▶ take ──▶ runs          every, cron: the next tick is known at once
                  ▲                       │
                  └────── its end ────────┘           after, on: the run is chained to the schedule
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from iogate.compiler.revision import RETENTION_S, Revision
from iogate.compiler.schedules import PREFIX, Schedule
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection, time_ms
from iogate.store.integrity.refusals import Refusals
from iogate.store.integrity.seals import Facts, seal_facts

INPUT = b"{}"
"""Of a scheduled run."""
CALLER = "schedule"
"""Who started a scheduled run."""
QUEUED = 10_000
"""Runs of one schedule that wait to be taken; further ticks start none."""
LIVE_REVISION = 0
"""Of a standing run: what it starts is as the revision says that is live by then."""
BATCH = 64

Outcome = Literal["ok", "gone", "memory", "taken"]


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """What the store keeps of a schedule."""

    workflow: str
    """`namespace/name:version`."""
    schedule: Schedule


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One that is due, as it was read."""

    id: str
    """`schedule:namespace/name`: the API of its runs."""
    due_ms: int
    revision: int
    entry: bytes

    @property
    def scheduled(self) -> Scheduled:
        """Raises msgspec.MsgspecError for one that another release wrote."""
        return _read(self.entry)


class Due(msgspec.Struct, frozen=True, kw_only=True):
    now_ms: int
    ticks: tuple[Tick, ...]
    next_ms: int | None
    """When the next one is due; None: none is known."""


class Upcoming(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as people see it."""

    workflow: str
    schedule: Schedule
    next_ms: int | None
    """Of its next tick; None: that follows from the end of `run`."""
    run: str | None


_scheduled = msgspec.json.Decoder(Scheduled)
_entry = msgspec.msgpack.Decoder(tuple[str, str, str])
_encode = msgspec.json.Encoder(order="deterministic").encode


def swap(revision: Revision, now_ms: int) -> list[tuple[Any, ...]]:
    """All schedules of a revision, as `publish` takes them."""
    return [
        (
            PREFIX + name,
            schedule.kind,
            schedule.phase,
            _encode(Scheduled(workflow=workflow, schedule=schedule)).decode(),
            schedule.first_ms(now_ms),
            QUEUED,
        )
        for name, (workflow, schedule) in sorted(revision.scheduled.items())
    ]


class Schedules:
    def __init__(self, connection: Connection, ring: Keyring, refusals: Refusals) -> None:
        self._connection = connection
        self._ring = ring
        self._refusals = refusals

    def refuse(self, tick: Tick) -> None:
        """Note that a schedule is not the one that the live revision says."""
        why = f"revision {tick.revision} has another schedule, or none"
        self._refusals.note("schedule", f"{tick.id}@{tick.revision}", why)

    async def due(self) -> Due:
        """The ticks whose moment has come, at most BATCH, and the moment of the next one."""
        clock, number, found, behind = await self._connection.calls(
            [
                ("TIME",),
                ("HGET", keys.LIVE, "number"),
                ("ZRANGE", keys.TICKS, 0, BATCH - 1, "WITHSCORES"),
                ("ZRANGE", keys.TICKS, BATCH, BATCH, "WITHSCORES"),
            ]
        )
        now_ms = time_ms(clock)
        moments = [
            (name.decode(), int(float(score))) for name, score in zip(found[::2], found[1::2], strict=True)
        ]
        ready = [(name, moment) for name, moment in moments if moment <= now_ms]
        entries = await self._entries([name for name, _ in ready])
        ahead = [moment for _, moment in moments if moment > now_ms] + [
            int(float(score)) for score in behind[1:]
        ]
        return Due(
            now_ms=now_ms,
            ticks=tuple(
                Tick(id=name, due_ms=moment, revision=int(number or 0), entry=entry)
                for (name, moment), entry in zip(ready, entries, strict=True)
                if entry is not None
            ),
            next_ms=min(ahead, default=None),
        )

    async def take(
        self, tick: Tick, uids: Sequence[str], following_ms: int | None, *, again_ms: int = 0
    ) -> tuple[Outcome, int]:
        """Start a run for each uid, if nobody has taken the tick yet; how many were stored.

        The caller has compared the schedule with the live revision.
        `following_ms` is the next tick; None: it comes `again_ms` after the end of the last of these runs.
        `memory` leaves the tick due. Raises StoreUnavailable: nobody knows, and taking again is harmless.
        """
        scheduled = tick.scheduled
        standing = scheduled.schedule.kind == "on"
        facts = Facts(
            LIVE_REVISION if standing else tick.revision,
            scheduled.workflow,
            scheduled.schedule.program,
            CALLER,
            None,
            "",
        )
        answer = await self._connection.run(
            "tick",
            tick.id,
            tick.due_ms,
            tick.entry,
            "" if following_ms is None else following_ms,
            again_ms,
            int(RETENTION_S * 1000),
            INPUT,
            *(
                argument
                for uid in uids
                for argument in (uid, seal_facts(self._ring, uid, tick.id, facts, INPUT))
            ),
        )
        outcome: Outcome = answer[0].decode()
        return outcome, int(answer[1]) if outcome == "ok" else 0

    async def relink(self) -> int:
        """Bring back schedules whose run an outsider deleted, and forget ticks of none; how many."""
        return int(await self._connection.run("relink"))

    async def upcoming(self) -> dict[str, Upcoming]:
        """All schedules of the live revision by `namespace/name`; one that cannot be read is left out."""
        entries, ticks, chains = await self._connection.calls(
            [
                ("HGETALL", keys.SCHEDULES),
                ("ZRANGE", keys.TICKS, 0, -1, "WITHSCORES"),
                ("HGETALL", keys.CHAINS),
            ]
        )
        moments = dict(zip(ticks[::2], ticks[1::2], strict=True))
        runs = dict(zip(chains[::2], chains[1::2], strict=True))
        found = {}
        for name, entry in sorted(zip(entries[::2], entries[1::2], strict=True)):
            try:
                scheduled = _read(entry)
            except msgspec.MsgspecError:
                continue
            found[name.decode().removeprefix(PREFIX)] = Upcoming(
                workflow=scheduled.workflow,
                schedule=scheduled.schedule,
                next_ms=int(float(moments[name])) if name in moments else None,
                run=runs[name].decode().partition(" ")[0] if name in runs else None,
            )
        return found

    async def _entries(self, names: Sequence[str]) -> list[bytes | None]:
        return list(await self._connection.call("HMGET", keys.SCHEDULES, *names)) if names else []


def _read(entry: bytes) -> Scheduled:
    return _scheduled.decode(_entry.decode(entry)[2])
