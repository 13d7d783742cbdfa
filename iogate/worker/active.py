"""One run in a worker's hands: what is known of it between a take and the commit that lets it go.

Made by `drive`, which decides; this module holds the facts and builds commits. Invariant: `committed`
is what the store has, and at most one commit of a run is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from iogate.compiler.program import Program
from iogate.engine.commands import Happening, Note, Perform
from iogate.engine.scope import Environment, RunFacts
from iogate.engine.state import State, WaitingFor
from iogate.store.leases import Claim, Commit, Move, TaskRow
from iogate.worker.frames import Codec, encode
from iogate.worker.journal import KEPT, gather, lines
from iogate.worker.redaction import Redaction

MANY = 4_096
"""Notes of one run in memory."""


@dataclass(slots=True, eq=False)
class Run:
    claim: Claim
    program: Program | None
    """None where it cannot be loaded: the run is about to fault."""
    environment: Environment
    facts: RunFacts
    state: State
    deadline_ms: int | None
    held_until: float
    """Moment of the loop's clock until which the lease is certainly ours."""
    committed_at: float
    """Moment of the loop's clock; pure work longer than a second is committed."""
    codec: Codec = field(default_factory=Codec)
    seq: int = 0
    inbox: list[Happening] = field(default_factory=list)
    """What happened and was not told to the engine yet."""
    notes: list[Note] = field(default_factory=list)
    """Since the last commit; of a long loop, the last ones."""
    told: list[Note] = field(default_factory=list)
    """Older ones, which the rows have counted."""
    rows: dict[str, TaskRow] = field(default_factory=dict)
    performs: list[Perform] = field(default_factory=list)
    """What must happen outside, once the commit that records it is applied."""
    effects: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """Under way, by frame."""
    timer: asyncio.TimerHandle | None = None
    committing: Move | None = None
    unfinished: bool = False
    """The engine's budget was used up: it has more to do."""
    dirty: bool = False
    """A result of an effect is in the state and not in the store."""
    refused: bool = False
    expired: bool = False
    cancelled: bool = False
    gone: bool = False
    """Ended, parked, lost or handed back: nothing may happen to it here any more."""

    @property
    def uid(self) -> str:
        return self.claim.uid

    def note(self, notes: Sequence[Note]) -> None:
        """Remember for the next commit, in bounded memory."""
        self.notes.extend(notes)
        if len(self.notes) > MANY:
            gather(self.rows, self.notes)
            # Counted in the rows from here on, and still lines of the journal.
            self.told, self.notes = self.notes[-KEPT:], []

    def forget(self) -> None:
        """Stop everything that goes on for the run in this process."""
        self.gone = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for effect in self.effects.values():
            effect.cancel()
        self.effects.clear()

    def commit(self, move: Move, due_ms: int | None, redaction: Redaction) -> Commit:
        """The next commit; the state that it writes counts as stored from here on."""
        state = self.state
        gather(self.rows, self.notes)
        notes = [*self.told, *self.notes] if self.told else self.notes
        ended = move == "end"
        error: Any = None
        if ended and state.error is not None:
            error = redaction.scrub(dict(state.error))
        delta = None if ended else self.codec.delta(state)
        commit = Commit(
            uid=self.uid,
            token=self.claim.token,
            seq=self.seq + 1,
            move=move,
            status=state.status,
            due_ms=due_ms,
            waiting_for=None if ended else waiting(state.waiting_for),
            head=None if delta is None else delta.head,
            frames={} if delta is None else delta.frames,
            frames_gone=[] if delta is None else delta.frames_gone,
            values={} if delta is None else delta.values,
            values_gone=[] if delta is None else delta.values_gone,
            tasks=list(self.rows.values()),
            journal=lines(notes, redaction),
            output=encode(state.output) if ended and state.status == "completed" else None,
            error=None if error is None else encode(error),
            deadline_ms=self.deadline_ms,
        )
        self.seq += 1
        self.committing = move
        self.hush()
        return commit

    def hush(self) -> None:
        """Forget what was to be said."""
        self.notes, self.told, self.rows = [], [], {}


def waiting(wait: WaitingFor | None) -> bytes | None:
    """What a run waits for, as a reader of the run sees it."""
    if wait is None:
        return None
    return encode({"kind": wait.kind, "task": wait.task, "until_ms": wait.until_ms})
