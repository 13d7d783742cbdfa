"""Phases of a run in a worker.

Used by `run`, which makes the transitions; a slice is what the scheduler gives a run of the event loop.

    ready ──begin_slice──▶ advancing ──apply──▶ ready         a slice of the engine, again and again
    ready ──resolve──▶ resolving ──resolved──▶ ready          the workflows of children are looked up
    ready ──rest──▶ resting ──begin_slice──▶ advancing        waits for a result, a message or its time
    ready ──commit──▶ committing ──committed──▶ ready         the store applied the commit and the run stays
    committing ──commit_refused──▶ ready                      the store applied nothing
    any ──leave──▶ gone                                       ended, parked, lost or handed back
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from iogate.store.runs.commits import Move
from iogate.worker.ports import Timer


@dataclass(frozen=True, slots=True)
class Ready:
    """May have its next slice, or a commit."""


@dataclass(frozen=True, slots=True)
class Advancing:
    """The engine works on it."""


@dataclass(frozen=True, slots=True)
class Resolving:
    """The workflows of its children are being looked up."""


@dataclass(frozen=True, slots=True)
class Committing:
    """A commit is under way; nothing else happens to the run until the store has answered."""

    move: Move


@dataclass(frozen=True, slots=True)
class Resting:
    """Waits for a result, a message, or its timer."""

    timer: Timer | None


@dataclass(frozen=True, slots=True)
class Gone:
    """Has left this worker."""


Phase = Ready | Advancing | Resolving | Committing | Resting | Gone
READY: Final = Ready()
ADVANCING: Final = Advancing()
RESOLVING: Final = Resolving()
GONE: Final = Gone()
