"""State of schedules that revisions do not have: the switch of a person, the last run, and skipped ticks.

Written by the scripts `tick` and `schedule`, read by the command line. Invariant: the switch outlives
revisions, until a command or its time ends it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from iogate.compiler.schedules import PREFIX
from iogate.errors import NotFound
from iogate.messages import did_you_mean
from iogate.store import keys
from iogate.store.connection.connection import Connection, pairs
from iogate.store.revisions.origin import DEFAULT_PROJECT
from iogate.store.revisions.revision_errors import Foreign

UNKNOWN: Final = "IOG722"
_SKIPS: Final = "skips:"


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Switch of a person that disables a schedule."""

    author: str
    reason: str
    since_ms: int
    until_ms: int | None


class ScheduleState(msgspec.Struct, frozen=True, kw_only=True):
    """State of one schedule."""

    pause: Pause | None = None
    run: str | None = None
    """Run that it started last, also for a person."""
    started_ms: int | None = None
    waits: bool = False
    """Whether a tick waits for the end of that run."""
    skipped: int = 0
    """Number of ticks without a run."""
    skipped_at_ms: int | None = None
    skipped_reason: str = ""
    skips: Mapping[str, int] = {}
    """Number of ticks without a run by the label of their reason: `missed`, `disabled`, `overlap`, `late`,
    `queue_full`."""


class ScheduleStates:
    """Client of the switch and the state of schedules."""

    def __init__(self, connection: Connection, project: str | None = None) -> None:
        self._connection = connection
        self._project = project

    async def read(self, names: Sequence[str], now_ms: int) -> dict[str, ScheduleState]:
        """Return the stored states of these schedules, by `namespace/name`."""
        rows = [("HGETALL", keys.SCHEDULE + PREFIX + name) for name in names]
        found = await self._connection.calls(rows) if rows else []
        return {name: _state(pairs(row), now_ms) for name, row in zip(names, found, strict=True)}

    async def skips(self) -> dict[str, Mapping[str, int]]:
        """Return the numbers of skipped ticks of all live schedules, by `namespace/name` and reason."""
        found = await self._connection.call("HKEYS", keys.SCHEDULES)
        names = sorted(name.decode("utf-8", "replace").removeprefix(PREFIX) for name in found)
        return {name: state.skips for name, state in (await self.read(names, 0)).items()}

    async def switch(
        self, names: Sequence[str], *, enabled: bool, author: str, reason: str, ttl_s: float | None
    ) -> None:
        """Switch the stored state of schedules on or off by `namespace/name`, in one step.

        Raises NotFound for an unknown schedule, Foreign if another project owns one; none is switched then.
        """
        reply, *rest = await self._connection.run(
            "schedule",
            int(enabled),
            author,
            reason,
            "" if ttl_s is None else max(1, int(ttl_s * 1000)),
            self._project or "",
            *(PREFIX + name for name in names),
        )
        texts = [each.decode("utf-8", "replace").removeprefix(PREFIX) for each in rest]
        if reply == b"unknown":
            raise unknown_schedule(texts)
        if reply == b"foreign":
            raise Foreign(self._project or DEFAULT_PROJECT, list(zip(texts[::2], texts[1::2], strict=True)))


def unknown_schedule(names: Sequence[str], known: Collection[str] = ()) -> NotFound:
    """Return the error for workflows without a live schedule; `known` are those that have one."""
    near = did_you_mean(names[0], known) if len(names) == 1 else ""
    return NotFound(
        f"no live schedule of {', '.join(names)}{near}",
        code=UNKNOWN,
        hint="`iogate schedule list` shows the schedules of this project",
    )


def _state(row: Mapping[str, bytes], now_ms: int) -> ScheduleState:
    def text(name: str) -> str:
        return row.get(name, b"").decode("utf-8", "replace")

    def number(name: str) -> int | None:
        return int(value) if (value := text(name)).isdigit() else None

    until_ms = number("until")
    pause = None
    if text("off") == "1" and (until_ms is None or now_ms < until_ms):
        pause = Pause(
            author=text("author"), reason=text("reason"), since_ms=number("since") or 0, until_ms=until_ms
        )
    return ScheduleState(
        pause=pause,
        run=text("run") or None,
        started_ms=number("at"),
        waits="resume" in row,
        skipped=number("skipped") or 0,
        skipped_at_ms=number("skip_at"),
        skipped_reason=text("skip_why"),
        skips={
            name.removeprefix(_SKIPS): number(name) or 0 for name in sorted(row) if name.startswith(_SKIPS)
        },
    )
