"""Drift: differences of the store from the live revision.

Called by the command `drift`, and by plans, which look at gates and schedules only. Invariant: only what
`apply` and `rollback` write is compared; the load of APIs and the progress of schedules are no drift.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from iogate.compiler.revision import Revision
from iogate.compiler.schedules import Schedule
from iogate.errors import IogateError
from iogate.store.revisions.due_schedules import Upcoming
from iogate.store.store import Store

Kind = Literal["gate", "program", "content", "schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Object of the store that differs from the live revision."""

    kind: Kind
    id: str
    text: str

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "id": self.id, "text": self.text}


async def find(store: Store, revision: Revision) -> list[Drift]:
    """Return the drift: objects of the store that differ from the live revision.

    Raises StoreUnavailable.
    """
    gates, schedules = await _gates(store, revision), await _scheduled(store, revision)
    return [
        *gates,
        *await _lost(store.revisions.program, "program", revision.programs),
        *await _lost(store.revisions.content, "content", set(revision.resources.values())),
        *schedules,
    ]


async def find_gates_and_schedules(store: Store, revision: Revision) -> list[Drift]:
    """Return the drift of gates and schedules, which a publish of the same revision repairs.

    Raises StoreUnavailable.
    """
    return [*await _gates(store, revision), *await _scheduled(store, revision)]


async def _gates(store: Store, revision: Revision) -> list[Drift]:
    return [
        Drift(kind="gate", id=api, text=text) for api, text in await store.revisions.altered_gates(revision)
    ]


async def _scheduled(store: Store, revision: Revision) -> list[Drift]:
    return _schedules(revision, await store.schedules.upcoming())


async def _lost(read: Callable[[str], Awaitable[bytes]], kind: Kind, digests: set[str]) -> list[Drift]:
    """Return the drift of programs or contents: those that are not in the store, or are forged."""

    async def error_of(digest: str) -> str:
        try:
            await read(digest)
        except IogateError as error:
            if error.exit_code == 6:  # the store itself
                raise
            return error.message
        return ""

    wanted = sorted(digests)
    errors = await asyncio.gather(*map(error_of, wanted))
    return [
        Drift(kind=kind, id=digest[:12], text=error)
        for digest, error in zip(wanted, errors, strict=True)
        if error
    ]


def _schedules(revision: Revision, stored: dict[str, Upcoming]) -> list[Drift]:
    found = []
    for name, (workflow, schedule) in revision.scheduled.items():
        there = stored.get(name)
        if there is None:
            found.append((name, f"the schedule ({schedule}) is not in the store: it starts nothing"))
        elif (there.workflow, there.schedule) != (workflow, schedule):
            found.append((name, f"the store has {_told(there)}, the revision {schedule} of {workflow}"))
        elif there.next_ms is None and there.run is None and not (there.disabled and schedule.chained):
            found.append((name, "the schedule has no next tick"))
    found += [
        (name, f"the store has {_told(stored[name])}, the revision has no schedule")
        for name in stored.keys() - revision.scheduled.keys()
    ]
    return [Drift(kind="schedule", id=name, text=text) for name, text in sorted(found)]


def _told(there: Upcoming) -> str:
    schedule: Schedule = there.schedule
    return f"{schedule} of {there.workflow}"
