"""One run in a worker, from the claim to the commit that lets it go: a state machine.

`executor` decides and calls the transitions; `loader` creates runs. Invariants: only the methods of `Run`
write its fields; at most one commit of a run is under way; a run that is gone never changes again. `phase`
draws the transitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, assert_never

from iogate.compiler.program import Program
from iogate.compiler.revision import FaultHandler, Record
from iogate.engine.advance import Advance
from iogate.engine.commands import Cancelled, EngineEvent, Expired, Note, Perform, Resumed
from iogate.engine.expression_scope import RunFacts
from iogate.engine.state.run_state import State
from iogate.store.runs.claims import Claim
from iogate.store.runs.commits import Child, Commit, Move
from iogate.store.state_codec import Codec
from iogate.worker.events.sinks import Sinks
from iogate.worker.pool.crash_report import TaskRecorder
from iogate.worker.ports import Timer
from iogate.worker.runs.commit_builder import build
from iogate.worker.runs.journal import Outgoing
from iogate.worker.runs.phase import (
    ADVANCING,
    GONE,
    READY,
    RESOLVING,
    Advancing,
    Committing,
    Gone,
    Phase,
    Ready,
    Resolving,
    Resting,
)
from iogate.worker.runs.scheduler import Pace
from iogate.worker.secrets.redaction import Redaction

PRESUMED_LOST_S = 45.0
"""Time after the end of a lease. While the store is unreachable, no other worker can take the run and no
effect starts without a commit, so stopping effects at once would only repeat them."""


class Run:
    """See the module."""

    __slots__ = (
        "_expired",
        "_heard",
        "_inbox",
        "_inbox_has_more",
        "_performs",
        "_phase",
        "_recorder",
        "cancelled",
        "claim",
        "codec",
        "committed_at",
        "deadline_ms",
        "dirty",
        "effects",
        "facts",
        "handler",
        "held_until",
        "outgoing",
        "pace",
        "program",
        "record",
        "refused",
        "seq",
        "sinks",
        "state",
        "suspended",
        "unfinished",
    )

    def __init__(
        self,
        *,
        claim: Claim,
        program: Program | None,
        held_until: float,
        now: float,
        sinks: Sinks,
        record: Record,
        recorder: TaskRecorder | None,
    ) -> None:
        """`program` is None if it cannot be loaded; `held_until` and `now` are times of the loop's clock.

        With a `recorder`, the run may have killed a worker: each step is recorded before it is taken.
        """
        self.claim = claim
        self.program = program
        self.facts = _facts(claim, None)
        self.state = State()
        self.codec = Codec(input=claim.input)
        self.seq = claim.seq
        self.sinks = sinks
        self.record = record
        """Tasks whose input and output are recorded."""
        self.handler: FaultHandler | None = None
        self.outgoing = Outgoing(sinks)
        self.pace = Pace()
        self.held_until = held_until
        """Until then the lease is certainly held."""
        self.committed_at = now
        """Time of the last commit."""
        self.deadline_ms = claim.deadline_ms
        if self.deadline_ms is None and claim.timeout_s is not None:
            self.deadline_ms = claim.started_at_ms + int(claim.timeout_s * 1000)
        self.effects: dict[int, asyncio.Task[None]] = {}
        """Effects under way that the run waits for, by frame."""
        self.unfinished = False
        """The last slice ended with its budget: there is more to compute."""
        self.dirty = False
        """The state holds the result of an effect that is not stored."""
        self.refused = False
        """The store refused a commit once."""
        self.cancelled = self.suspended = False
        self._phase: Phase = READY
        self._recorder = recorder
        self._expired = False
        self._inbox: list[EngineEvent] = []
        self._heard = 0
        """Highest number of a message that was put into the inbox."""
        self._inbox_has_more = False
        self._performs: list[Perform] = []
        """Effects to start when the commit that records them is applied."""

    @property
    def uid(self) -> str:
        return self.claim.uid

    @property
    def api(self) -> str:
        return self.claim.api

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def gone(self) -> bool:
        return self._phase is GONE

    @property
    def committing(self) -> Move | None:
        """The move of this run's commit that is under way."""
        return self._phase.move if isinstance(self._phase, Committing) else None

    @property
    def leaving(self) -> bool:
        """Whether a commit of this run is under way that lets it go."""
        return isinstance(self._phase, Committing) and self._phase.move != "keep"

    @property
    def careful(self) -> bool:
        """Whether each step of this run is a slice of its own."""
        return self._recorder is not None

    @property
    def busy(self) -> bool:
        """Whether this run goes on by itself, and does not only wait for a result, a message or its time."""
        return self.pace.queued or not isinstance(self._phase, Resting)

    @property
    def has_performs(self) -> bool:
        """Whether effects of this run wait for its next commit."""
        return bool(self._performs)

    def has_work(self, *, leaves: bool) -> bool:
        """Tell whether a slice would find something to do; a run that leaves waits for its effects."""
        return bool(self._inbox) or (self.unfinished and not (leaves and self.effects))

    @property
    def can_move(self) -> bool:
        """Whether this run has no effect under way, and those to start may start in another worker."""
        return not self.effects and not any(perform.at_most_once for perform in self._performs)

    @property
    def wants_commit(self) -> bool:
        """Whether something must be stored before the run goes on computing.

        An event is published before the next slice may listen for it. If the next step may kill the worker,
        results of effects must not be lost with it.
        """
        return bool(self.outgoing.emits) or self.outgoing.full or (self.careful and self.dirty)

    # From the store.

    def restore(self, value: Any, state: State | None) -> None:
        """Take input and state of the claim over into this run; `state` is None if it has not begun."""
        self.facts = _facts(self.claim, value)
        if state is not None:
            self.state = state
            self._inbox.append(Resumed(worker=self.claim.left))
        self._heard = self.state.inbox_done

    def start_on_fault(self, handler: FaultHandler | None) -> None:
        """Let the commit of this run's fault start a workflow."""
        self.handler = handler

    def is_new(self, number: int) -> bool:
        """Tell whether this run has not heard the message with this number yet."""
        return number > self._heard

    def hear(self, messages: Iterable[tuple[int, EngineEvent]], *, more: bool) -> bool:
        """Take new messages over into this run, by number; return whether there were any.

        `more`: the store may hold further messages, which can be read after the next commit.
        """
        before = self._heard
        self._inbox_has_more = more
        for number, happening in messages:
            if self.is_new(number):
                self._heard = number
                self._inbox.append(happening)
        return self._heard > before

    def renew(self, held_until: float) -> None:
        """Take note that the store has renewed the lease of this run."""
        self.held_until = held_until

    def is_presumed_lost(self, now: float) -> bool:
        """Tell whether the lease of this run ended so long ago that another worker must have it."""
        return now > self.held_until + PRESUMED_LOST_S

    def cancel(self, reason: str = "") -> bool:
        """Cancel this run with its next slice; return False if it was cancelled already, or is gone."""
        if self.cancelled or self.gone:
            return False
        self.cancelled = True
        self._inbox.append(Cancelled(reason=reason))
        return True

    def suspend(self, *, wanted: bool = True) -> bool:
        """Stop this run after its effects under way, or go on; return False if it did so, or is gone."""
        if self.suspended == wanted or self.gone:
            return False
        self.suspended = wanted
        return True

    # Slices.

    def begin_slice(self, now_ms: int) -> list[EngineEvent] | None:
        """Return what has happened since the last slice; None if the run cannot advance now.

        A run that commits or resolves gets its next slice when that is done.
        """
        match self._phase:
            case Resting(timer):
                if timer is not None:
                    timer.cancel()
            case Ready():
                pass
            case Advancing() | Resolving() | Committing() | Gone():
                return None
            case never:
                assert_never(never)
        self._phase = ADVANCING
        if self.deadline_ms is not None and now_ms >= self.deadline_ms and not self._expired:
            self._expired = True
            limit_s = self.claim.timeout_s or (self.deadline_ms - self.claim.started_at_ms) / 1000
            self._inbox.append(Expired(limit_s=limit_s))
        happened, self._inbox = self._inbox, []
        return happened

    def budget(self, happened: Sequence[EngineEvent], now_ms: int, *, leaves: bool) -> int:
        """Return the number of steps of the next slice: none if the run leaves and has effects under way."""
        recorder = self._recorder
        steps = self.pace.steps if recorder is None else recorder.before(self.state, happened, now_ms)
        return 0 if leaves and self.effects else steps

    def apply(self, step: Advance) -> None:
        """Take over the result of this run's slice; cancel effects of tasks that the engine has left."""
        # A message leaves the inbox of the store with a commit, and its consequences must not be lost.
        self.dirty = self.dirty or step.state.inbox_done != self.state.inbox_done or bool(step.emits)
        self.state = step.state
        self.unfinished = step.more
        if step.notes:
            self.outgoing.note(step.notes)
        if step.performs:
            self._performs.extend(step.performs)
        if step.emits:
            self.outgoing.emits.extend(step.emits)
        if self.effects:
            for frame in self.effects.keys() - step.state.under_way:
                self.effects.pop(frame).cancel()
        self._phase = READY

    def resolve(self) -> None:
        """Enter the phase in which the workflows of the run's children are being looked up."""
        self.dirty = True
        self._phase = RESOLVING

    def resolved(self, children: Sequence[Child], ended: Sequence[EngineEvent]) -> None:
        """Let this run's children start with its next commit; one that does not start has its result now."""
        if self.gone:
            return
        self.outgoing.children.extend(children)
        self._inbox.extend(ended)
        self._phase = READY

    def fault(self, error: Any, at_ms: int) -> None:
        """Set this run to faulted for a reason outside its workflow; its frames stay, for `retry`."""
        if self.refused:
            self.outgoing.clear()
        self.state = replace(self.state, status="faulted", error=error)
        self.outgoing.note([Note(kind="workflow.faulted", at_ms=at_ms, detail={"error": error})])
        self._phase = READY

    def rest(self, timer: Timer | None) -> None:
        """Let this run rest before a result, a message or the timer; a crash report names the effect."""
        self._phase = Resting(timer)
        if self._recorder is not None:
            self._recorder.resting(self.state)

    # Effects.

    def effect_started(self, frame: int, task: asyncio.Task[None]) -> None:
        self.effects[frame] = task

    def effect_ended(self, frame: int, task: asyncio.Task[None] | None, outcome: EngineEvent) -> bool:
        """Take over the outcome of an effect of this run; return False if the run no longer waits for it."""
        if self.gone or self.effects.get(frame) is not task:
            return False
        del self.effects[frame]
        self._inbox.append(outcome)
        self.dirty = True
        return True

    def note_output(self, notes: Sequence[Note]) -> None:
        """Note output of a process of this run that is still running."""
        self.outgoing.note(notes)
        self.dirty = True

    # Commits.

    def commit(self, move: Move, due_ms: int | None, redaction: Redaction) -> Commit:
        """Return the next commit of this run; the state that it writes counts as stored from here on.

        Raises TooDeep for data nested too deeply, ValueError or TypeError for what JSON cannot hold.
        """
        self.state, commit = build(self, move, due_ms, redaction)
        # A result that comes while the commit is under way is not in it.
        self.dirty = False
        self.seq += 1
        self.outgoing.clear()
        self._phase = Committing(move)
        return commit

    def committed(self, now: float) -> list[Perform]:
        """Take note of an applied commit after which this run stays; return the effects to start."""
        self._phase = READY
        self.committed_at = now
        performs, self._performs = self._performs, []
        if self.cancelled:
            return []
        # A later slice may have left the task: a branch that lost, or a timeout.
        return [each for each in performs if each.frame in self.state.frames or not each.await_result]

    @property
    def inbox_has_more(self) -> bool:
        """Whether the store may hold messages of this run that one read of its inbox did not return."""
        return self._inbox_has_more

    def commit_refused(self) -> None:
        """Take note that the store refuses the commit of this run and applied nothing."""
        self.refused = True
        self.seq -= 1
        self._performs.clear()
        self._phase = READY

    def unencodable(self) -> None:
        """Take note that the state of this run cannot be encoded."""
        self.refused = True

    def leave(self) -> list[Perform]:
        """Let this run go: cancel all that goes on for it; return effects to start that no task awaits."""
        if isinstance(self._phase, Resting) and self._phase.timer is not None:
            self._phase.timer.cancel()
        self._phase = GONE
        for effect in self.effects.values():
            effect.cancel()
        self.effects.clear()
        return [perform for perform in self._performs if not perform.await_result]


def _facts(claim: Claim, value: Any) -> RunFacts:
    """Return the facts that a run gives the engine, from its claim; `value` is its decoded input."""
    return RunFacts(uid=claim.uid, started_at_ms=claim.started_at_ms, input=value, attempt=claim.attempt)
