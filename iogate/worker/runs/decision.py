"""Decides how a run goes on after a slice of the engine or a commit. Pure; used by `executor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iogate.engine.advance import Advance
from iogate.engine.commands import StartChild
from iogate.store.runs.commits import Move

if TYPE_CHECKING:
    from iogate.worker.runs.run import Run

UNCOMMITTED_S = 1.0
"""Longest computation that a crash may lose."""
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
    """Stay in the worker until a result, a message, or the end of a delay."""

    delay_s: float | None = None


Decision = Continue | Resolve | Store | Rest
CONTINUE = Continue()


def decide(run: Run, advanced: Advance, *, leaves: bool, now: float, now_ms: int) -> Decision:
    """Decide how a run goes on after a slice.

    `leaves`: it is suspended or its worker drains, so it stops as soon as it can. `now` and `now_ms` are the
    times of `Clock`.
    """
    state = run.state
    if advanced.children:
        return Resolve(advanced.children)
    if state.ended:
        return Store("end")
    if run.unfinished:
        if leaves and run.can_move:
            return Store("queue")
        if run.wants_commit or _is_overdue(run, now):
            return Store("keep")
        # A run that leaves begins nothing beside its effects under way, or it would always have some.
        return rest(run, now=now, now_ms=now_ms) if leaves and run.effects else CONTINUE
    if not state.in_flight:
        # Effects to start are of tasks that the run has left, or no task awaits them: those start afterwards.
        due_ms = _earliest(state.due_ms, run.deadline_ms)
        if leaves or due_ms is None or due_ms - now_ms >= INLINE_MS:
            return Store("park", due_ms)
    if run.has_performs:
        return Store("queue" if leaves and run.can_move else "keep")
    return rest(run, now=now, now_ms=now_ms)


def rest(run: Run, *, now: float, now_ms: int) -> Store | Rest:
    """Decide how a run without work waits in the worker; results that must not be lost are stored before."""
    unstored = run.state is not run.codec.stored
    if run.dirty or (unstored and (_is_overdue(run, now) or run.codec.has_new_subscription(run.state))):
        return Store("keep")
    delays_s = [run.committed_at + UNCOMMITTED_S - now] if unstored else []
    due_ms = _earliest(run.state.due_ms, run.deadline_ms)
    if due_ms is not None:
        delays_s.append((due_ms - now_ms) / 1000)
    return Rest(max(0.001, min(delays_s)) if delays_s else None)


def _is_overdue(run: Run, now: float) -> bool:
    """Decide whether the run has computed for so long that a crash would cost too much."""
    return now - run.committed_at >= UNCOMMITTED_S


def _earliest(first: int | None, second: int | None) -> int | None:
    """Return the earlier of two times for a decision; None is never."""
    if first is None:
        return second
    return first if second is None else min(first, second)
