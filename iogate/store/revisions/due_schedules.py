"""Schedules: due ticks, the runs that they start, and the time of the next tick.

Written by `Revisions.publish`, used by the schedulers of all workers, read by the command line. Invariants:
a tick is taken once, by compare-and-set on its due time, in one step with the runs that it starts; all times
are in the store's clock.

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
from iogate.store.connection.connection import CLOCK, Connection, pairs, store_time_ms
from iogate.store.integrity.refusals import Refusals
from iogate.store.integrity.seals import Facts, seal_facts
from iogate.store.revisions.live_record import LiveRecord
from iogate.store.revisions.origin import DEFAULT_PROJECT

INPUT = b"{}"
"""Input of a scheduled run."""
CALLER = "schedule"
"""Caller of a scheduled run."""
QUEUED = 10_000
"""Maximum number of queued runs of one schedule; further ticks start none."""
LIVE_REVISION = 0
"""Revision of a standing run: the runs that it starts use the revision that is live then."""
BATCH = 64

Outcome = Literal["ok", "gone", "memory", "taken", "skipped"]
"""`skipped`: the tick was taken, and started no run."""


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """Stored form of a schedule."""

    workflow: str
    """`namespace/name:version`."""
    schedule: Schedule


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """Due tick of a schedule."""

    id: str
    """`schedule:namespace/name`: the API of its runs."""
    due_ms: int
    revision: int
    """Live revision of the project that owns the schedule; 0 for none."""
    entry: bytes
    project: str = DEFAULT_PROJECT

    @property
    def scheduled(self) -> Scheduled:
        """The schedule of this due tick. Raises msgspec.MsgspecError if another release wrote it."""
        return _read(self.entry)


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """Due ticks, with the time of the next one."""

    now_ms: int
    ticks: tuple[Tick, ...]
    next_ms: int | None
    """Time of the next tick that is not due; None if there is none."""
    behind: int = 0
    """Position of further ticks that are due; 0 if there are none."""


class Upcoming(msgspec.Struct, frozen=True, kw_only=True):
    """View of a schedule."""

    workflow: str
    schedule: Schedule
    next_ms: int | None
    """Time of its next tick; None if it follows from the end of `run`, or if it waits to be enabled."""
    run: str | None
    disabled: bool = False
    """Whether a person has disabled it: its ticks start no runs."""


_scheduled = msgspec.json.Decoder(Scheduled)
_entry = msgspec.msgpack.Decoder(tuple[str, str, str])
_encode = msgspec.json.Encoder(order="deterministic").encode


def publish_arguments(revision: Revision, now_ms: int) -> list[tuple[Any, ...]]:
    """Return the schedules of a revision, with their first due times, as arguments of the publish script."""
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
    """Client of the scripts that take ticks and list schedules."""

    def __init__(
        self,
        connection: Connection,
        ring: Keyring,
        refusals: Refusals,
        record: LiveRecord,
        project: str | None = None,
    ) -> None:
        """With a project, `upcoming` returns only its schedules."""
        self._project = project
        self._connection = connection
        self._ring = ring
        self._refusals = refusals
        self._record = record

    def refuse(self, tick: Tick) -> None:
        """Log and count that a due tick is refused: its stored schedule differs from the live revision."""
        why = f"revision {tick.revision} has another schedule, or none"
        self._refusals.note("schedule", f"{tick.id}@{tick.revision}", why)

    async def due(self, first: int = 0) -> Due:
        """Return up to BATCH due ticks of schedules from a position on, and the time of the next one."""
        last = first + BATCH
        clock, ahead, record, found, following = await self._connection.calls(
            [
                *CLOCK,
                ("HGETALL", keys.LIVE),
                ("ZRANGE", keys.TICKS, first, last - 1, "WITHSCORES"),
                ("ZRANGE", keys.TICKS, last, last, "WITHSCORES"),
            ]
        )
        now_ms = store_time_ms(clock, ahead)
        moments = [
            (name.decode(), int(float(score))) for name, score in zip(found[::2], found[1::2], strict=True)
        ]
        ready = [(name, moment) for name, moment in moments if moment <= now_ms]
        names = [name for name, _ in ready]
        entries, owners = await self._entries(names), await self._owners(names)
        live = (await self._record.verified(pairs(record))).live if ready else {}
        after = [int(float(score)) for score in following[1:]]
        later = [moment for moment in (*(moment for _, moment in moments), *after) if moment > now_ms]
        return Due(
            now_ms=now_ms,
            ticks=tuple(
                Tick(
                    id=name,
                    due_ms=moment,
                    revision=live[owner][0] if owner in live else 0,
                    entry=entry,
                    project=owner,
                )
                for (name, moment), entry, owner in zip(ready, entries, owners, strict=True)
                if entry is not None
            ),
            next_ms=min(later, default=None),
            behind=last if any(moment <= now_ms for moment in after) else 0,
        )

    async def take(
        self,
        tick: Tick,
        uids: Sequence[str],
        following_ms: int | None,
        *,
        again_ms: int = 0,
        missed: int = 0,
        caller: str = "",
    ) -> tuple[Outcome, int, str]:
        """Take a due tick of a schedule and start a run for each uid; return outcome, number and skip reason.

        The number is that of stored runs, or of skipped ticks. The caller has compared the schedule with the
        live revision. `following_ms` is the time of the next tick; None: it follows `again_ms` after the end
        of the last of these runs. After `memory` the tick is still due. `missed`:
        number of earlier ticks that start no run, to be recorded. With a `caller`, a person starts one
        run now, and the ticks stay as they are. Raises StoreUnavailable if the outcome is unknown; a
        repetition is idempotent.
        """
        scheduled = tick.scheduled
        standing = scheduled.schedule.kind == "on"
        facts = Facts(
            LIVE_REVISION if standing else tick.revision,
            scheduled.workflow,
            scheduled.schedule.program,
            caller or CALLER,
            None,
            "",
        )
        answer = await self._connection.run(
            "tick",
            tick.id,
            "" if caller else tick.due_ms,
            tick.entry,
            "" if following_ms is None else following_ms,
            again_ms,
            int(RETENTION_S * 1000),
            INPUT,
            scheduled.schedule.overlap,
            scheduled.schedule.delay_ms(tick.id, tick.due_ms),
            missed,
            *(
                argument
                for uid in uids
                for argument in (uid, seal_facts(self._ring, uid, tick.id, facts, INPUT))
            ),
        )
        outcome: Outcome = answer[0].decode()
        number = int(answer[1]) if outcome in ("ok", "skipped") else 0
        return outcome, number, answer[2].decode() if outcome == "skipped" else ""

    async def find(self, name: str) -> Tick | None:
        """Return a schedule by `namespace/name` as a tick that is not due; None if there is none."""
        record, entry, owner = await self._connection.calls(
            [
                ("HGETALL", keys.LIVE),
                ("HGET", keys.SCHEDULES, PREFIX + name),
                ("HGET", keys.GATE + PREFIX + name, "project"),
            ]
        )
        project = DEFAULT_PROJECT if owner is None else owner.decode("utf-8", "replace")
        if entry is None or (self._project is not None and project != self._project):
            return None
        live = (await self._record.verified(pairs(record))).live
        number = live[project][0] if project in live else 0
        return Tick(id=PREFIX + name, due_ms=0, revision=number, entry=entry, project=project)

    async def relink(self) -> int:
        """Repair schedules with a deleted run, and stray ticks; return the number of repairs."""
        return int(await self._connection.run("relink"))

    async def upcoming(self, *, everywhere: bool = False) -> dict[str, Upcoming]:
        """Return all readable schedules of the project with their next ticks, by `namespace/name`.

        `everywhere`, or without a project: those of all projects.
        """
        entries, ticks, chains = await self._connection.calls(
            [
                ("HGETALL", keys.SCHEDULES),
                ("ZRANGE", keys.TICKS, 0, -1, "WITHSCORES"),
                ("HGETALL", keys.CHAINS),
            ]
        )
        moments = {
            name: int(float(score))
            for name, score in zip(ticks[::2], ticks[1::2], strict=True)
            if float(score) != keys.HELD_MS
        }
        runs = dict(zip(chains[::2], chains[1::2], strict=True))
        found = {}
        stored = sorted(zip(entries[::2], entries[1::2], strict=True))
        off = await self._disabled([name.decode() for name, _ in stored])
        if self._project is not None and not everywhere:
            owners = await self._owners([name.decode() for name, _ in stored])
            stored = [each for each, owner in zip(stored, owners, strict=True) if owner == self._project]
        for name, entry in stored:
            try:
                scheduled = _read(entry)
            except msgspec.MsgspecError:
                continue
            found[name.decode().removeprefix(PREFIX)] = Upcoming(
                workflow=scheduled.workflow,
                schedule=scheduled.schedule,
                next_ms=moments.get(name),
                run=runs[name].decode().partition(" ")[0] if name in runs else None,
                disabled=name.decode() in off,
            )
        return found

    async def _entries(self, names: Sequence[str]) -> list[bytes | None]:
        return list(await self._connection.call("HMGET", keys.SCHEDULES, *names)) if names else []

    async def _disabled(self, names: Sequence[str]) -> set[str]:
        """Return which of these schedules start no runs when due: a person has disabled them for now."""
        if not names:
            return set()
        clock, ahead, *found = await self._connection.calls(
            [*CLOCK, *(("HMGET", keys.SCHEDULE + name, "off", "until") for name in names)]
        )
        now_ms = store_time_ms(clock, ahead)
        return {
            name
            for name, (off, until) in zip(names, found, strict=True)
            if off == b"1" and not (until and now_ms >= int(until))
        }

    async def _owners(self, names: Sequence[str]) -> list[str]:
        """Return for each due or upcoming schedule the project that owns it."""
        if not names:
            return []
        found = await self._connection.calls([("HGET", keys.GATE + name, "project") for name in names])
        return [DEFAULT_PROJECT if each is None else each.decode("utf-8", "replace") for each in found]


def _read(entry: bytes) -> Scheduled:
    return _scheduled.decode(_entry.decode(entry)[2])
