"""One run in a worker's hands: what is known of it between a take and the commit that lets it go.

Made by `executor`, which decides; this module holds the facts and builds commits. Invariant: `committed`
is what the store has, and at most one commit of a run is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from iogate.compiler.program import Program
from iogate.engine.commands import Emit, EngineEvent, Note, Perform
from iogate.engine.scope import Environment, RunFacts
from iogate.engine.state.run_state import State, WaitingFor
from iogate.store.revisions.schedules import LIVE_REVISION
from iogate.store.runs.claims import Claim
from iogate.store.runs.commits import Child, Commit, Move, TaskRow
from iogate.worker.events.lifecycle import Chronicle
from iogate.worker.events.sinks import Leaving, Sinks
from iogate.worker.pool.crash_report import Witness
from iogate.worker.runs.codec import NOTHING, Codec, Delta, encode, encode_data
from iogate.worker.runs.journal import KEPT, gather, lines
from iogate.worker.secrets.redaction import Redaction

MANY = 4_096
"""Notes of one run in memory."""
MOST_LEAVING = 100
"""Events and children that wait for a commit, before pure work stops for it."""


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
    sinks: Sinks
    witness: Witness | None
    """It may have killed a worker: what it comes to is noted before, and its steps are taken one by one."""
    codec: Codec = field(default_factory=Codec)
    seq: int = 0
    inbox: list[EngineEvent] = field(default_factory=list)
    """What happened and was not told to the engine yet."""
    notes: list[Note] = field(default_factory=list)
    """Since the last commit; of a long loop, the last ones."""
    told: list[Note] = field(default_factory=list)
    """Older ones, which the rows have counted."""
    rows: dict[str, TaskRow] = field(default_factory=dict)
    heard: int = 0
    """The highest number of a message that was put into `inbox`."""
    overheard: bool = False
    """There was more than one reading of the inbox gives; the rest can be read after a commit."""
    emits: list[Emit] = field(default_factory=list)
    """Events to publish with the next commit."""
    children: list[Child] = field(default_factory=list)
    """Runs to start with the next commit."""
    resolving: bool = False
    """The workflows of children are being looked up: nothing may happen before."""
    performs: list[Perform] = field(default_factory=list)
    """What must happen outside, once the commit that records it is applied."""
    effects: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """Under way, by frame."""
    timer: asyncio.TimerHandle | None = None
    committing: Move | None = None
    steps: int = 0
    """How many the next slice may have; 0: it had none yet."""
    slow: bool = False
    """Its last slice took long."""
    ready: bool = False
    """It waits for its turn."""
    unfinished: bool = False
    """The engine's budget was used up: it has more to do."""
    dirty: bool = False
    """A result of an effect is in the state and not in the store."""
    refused: bool = False
    expired: bool = False
    cancelled: bool = False
    suspended: bool = False
    gone: bool = False
    """Ended, parked, lost or handed back: nothing may happen to it here any more."""

    @property
    def uid(self) -> str:
        return self.claim.uid

    @property
    def api(self) -> str:
        return self.claim.api

    @property
    def careful(self) -> bool:
        """Its steps are taken one by one."""
        return self.witness is not None

    def budget(self, happened: Sequence[EngineEvent], now_ms: int) -> int:
        """Steps of the slice that begins."""
        return self.steps if self.witness is None else self.witness.before(self.state, happened, now_ms)

    @property
    def full(self) -> bool:
        """So much is to leave that it should."""
        told = len(self.notes) if self.sinks.lifecycle else 0
        return len(self.emits) + len(self.children) >= MOST_LEAVING or told >= KEPT

    def note(self, notes: Sequence[Note]) -> None:
        """Remember for the next commit, in bounded memory."""
        self.notes.extend(notes)
        if len(self.notes) > MANY and not self.sinks.lifecycle:
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
            # What `retry` goes on from is stored, too; it finds the task by the instance.
            state = self.state = replace(state, error={**error, "instance": state.error.get("instance")})
        before = self.codec.stored.status if self.codec.stored is not None else "pending"
        delta = self._delta(ended=ended)
        children = (
            [child for child in self.children if self._starts(child, ended=ended)] if self.children else ()
        )
        emitted = [Leaving(type=e.event["type"], data=_event(e), lifecycle=False) for e in self.emits]
        lifecycle: list[Leaving] = []
        # A standing run decides when others start: the standard knows it as no run.
        standing = self.claim.revision == LIVE_REVISION
        if self.sinks.lifecycle and not standing:
            chronicle = Chronicle(self.uid, self.claim.workflow, statuses=self.sinks.statuses)
            step = f"{self.claim.attempt}/{self.seq + 1}"
            lifecycle = chronicle.tell(notes, step, redaction, before=before, after=state.status)
        commit = Commit(
            uid=self.uid,
            token=self.claim.token,
            seq=self.seq + 1,
            move=move,
            status=state.status,
            due_ms=due_ms,
            waiting_for=None if ended else waiting(state.waiting_for),
            head=delta.head,
            frames=delta.frames,
            frames_gone=delta.frames_gone,
            digests=dict(delta.digests),
            parent="" if self.claim.forged else self.claim.parent,
            values=delta.values,
            values_gone=delta.values_gone,
            tasks=list(self.rows.values()),
            journal=lines(notes, redaction),
            output=encode_data(state.output, "the output of the workflow")
            if ended and state.status == "completed"
            else None,
            error=None if error is None else encode(error),
            has_parent=self.claim.depth > 0,
            deadline_ms=self.deadline_ms,
            inbox_done=state.inbox_done,
            wants=delta.wants,
            wants_gone=delta.wants_gone,
            children=children,
            scheduled=standing,
            children_gone=delta.children_gone,
            emits=[event.data for event in emitted],
            once=[place for place, emit in enumerate(self.emits) if self._once(emit)],
            outbox=self.sinks.outbox([*lifecycle, *emitted]) if self.sinks.all else {},
        )
        self.seq += 1
        self.committing = move
        self.hush()
        return commit

    def _delta(self, *, ended: bool) -> Delta:
        """What the commit writes of the state: of an end, only what `retry` goes on from."""
        if not ended:
            return self.codec.delta(self.state)
        if self.state.status != "faulted" or self.refused:
            return NOTHING
        # What an end leaves behind in subscriptions and children is the store's to clear.
        return replace(self.codec.delta(self.state), wants={}, wants_gone=(), children_gone=())

    def _once(self, emit: Emit) -> bool:
        """Whether nobody publishes the event again: a commit is applied once, a sink may send it back."""
        return emit.generated and not self.sinks.emitted(emit.event["type"])

    def _starts(self, child: Child, *, ended: bool) -> bool:
        """Whether the child is still wanted: a branch may have lost since it asked."""
        if not child.awaits:
            return True
        frame = self.state.frames.get(child.frame)
        return not ended and frame is not None and frame.phase == "child"

    def hush(self) -> None:
        """Forget what was to be said."""
        self.notes, self.told, self.rows = [], [], {}
        self.emits, self.children = [], []


def _event(emit: Emit) -> bytes:
    return encode_data(emit.event, f"the event {emit.event['type']}")


def waiting(wait: WaitingFor | None) -> bytes | None:
    """What a run waits for, as a reader of the run sees it."""
    if wait is None:
        return None
    return encode({"kind": wait.kind, "task": wait.task, "until_ms": wait.until_ms})
