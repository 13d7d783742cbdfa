"""Decides how a run goes on after a slice of the engine. Pure; used by `executor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iogate.engine.advance import Advance
from iogate.engine.commands import StartChild
from iogate.store.runs.commits import Move

if TYPE_CHECKING:
    from iogate.worker.runs.run import Run

INLINE_MS = 1_000
"""A run that waits for less stays in the worker: to park and wake it costs more."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Take another slice."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look up the workflows of these children."""

    children: tuple[StartChild, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """Commit; a run that is parked wakes when it is due."""

    move: Move
    due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """Stay in the worker until a result, a message or the due time."""


Decision = Continue | Resolve | Store | Rest
CONTINUE = Continue()
REST = Rest()


def decide(run: Run, advanced: Advance, *, leaves: bool, overdue: bool, now_ms: int) -> Decision:
    """Return how a run goes on.

    `leaves`: it is suspended or its worker drains, so it stops as soon as it can. `overdue`: it has computed
    for so long that a crash would cost too much.
    """
    state = run.state
    decision: Decision = REST
    if advanced.children:
        decision = Resolve(advanced.children)
    elif state.ended:
        decision = Store("end")
    elif run.unfinished:
        if leaves and not run.effects:
            decision = Store("queue")
        else:
            decision = Store("keep") if run.wants_commit or overdue else CONTINUE
    elif run.has_performs:
        decision = Store("queue" if leaves and run.can_move else "keep")
    elif not state.in_flight:
        due_ms = earliest(state.due_ms, run.deadline_ms)
        if leaves or due_ms is None or due_ms - now_ms >= INLINE_MS:
            decision = Store("park", due_ms)
    return decision


def earliest(first: int | None, second: int | None) -> int | None:
    """Return the earlier of two times; None is never."""
    if first is None:
        return second
    return first if second is None else min(first, second)
