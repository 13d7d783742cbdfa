"""Drives the runs of a worker: what happened goes to the engine, what it decides is committed, then done.

Used by `loop`, which takes runs and renews leases. Plain calls, no task for each run; a task only for
what goes on outside. Invariants: an effect starts only after the commit that records it was applied
under a valid lease, and a result reaches the store before anything that follows from it leaves.

                 ┌──────── more: next slice, or a commit after a second ◀──────┐
    take ──▶ step ── performs: commit keep ──▶ start effects ──▶ a result ──▶ step …
                 ├── waits, due within a second: timer ──▶ step
                 ├── waits longer: commit park ──▶ let go
                 └── ended: commit end ──▶ let go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from iogate.clock import StoreClock
from iogate.effects.perform import EffectContext, Effects
from iogate.engine.advance import advance
from iogate.engine.commands import Cancelled, Expired, Note, Perform, Performed, Resumed
from iogate.engine.scope import RunFacts
from iogate.engine.state import State
from iogate.errors import WorkflowError
from iogate.store.leases import Claim, Leases, Move, Verdict
from iogate.worker.active import Run
from iogate.worker.commits import Commits
from iogate.worker.frames import decode
from iogate.worker.programs import Programs, Unloadable
from iogate.worker.vault import Vault

log = logging.getLogger(__name__)

STEPS = 200
"""Tasks that the engine may run before other runs have their turn."""
UNCOMMITTED_S = 1.0
"""Pure work that a crash may cost."""
INLINE_MS = 1_000
"""A shorter wait keeps its run here: parking and waking costs more than it saves."""


class Drive:
    def __init__(
        self,
        *,
        leases: Leases,
        programs: Programs,
        effects: Effects,
        vault: Vault,
        clock: StoreClock,
        released: Callable[[], None],
        presumed_lost_s: float,
    ) -> None:
        self._programs = programs
        self._effects = effects
        self._vault = vault
        self._clock = clock
        self._released = released
        self._presumed_lost_s = presumed_lost_s
        self._loop = asyncio.get_running_loop()
        self._detached: set[asyncio.Task[None]] = set()
        self.commits = Commits(
            leases,
            settled=self._settled,
            lost=self.lose,
            refused=self._refused,
            presumed_lost=self.presumed_lost,
        )
        self.runs: dict[str, Run] = {}
        self.loading: dict[str, Claim] = {}
        """Taken, and waiting for its program."""
        self.leaving = 0
        """Runs whose last commit is on its way: they take no room."""
        self.draining = False

    # What the loop tells.

    def begin(self, claim: Claim, held_until: float) -> None:
        """Go on with a run that was just taken."""
        known = self.runs.get(claim.uid)
        if known is not None:
            # Its old lease is void: the store has given the run anew, and to this worker.
            self._let_go(known)
        program = self._programs.get(claim.program)
        if program is None:
            self.loading[claim.uid] = claim
            self._programs.fetch(claim.program, lambda: self._begin_loaded(claim, held_until))
            return
        run = Run(
            claim=claim,
            program=None if isinstance(program, Unloadable) else program,
            environment=self._vault.environment(() if isinstance(program, Unloadable) else program.secrets),
            facts=RunFacts(
                uid=claim.uid, started_at_ms=claim.started_at_ms, input=None, attempt=claim.attempt
            ),
            state=State(),
            deadline_ms=claim.deadline_ms,
            held_until=held_until,
            committed_at=self._loop.time(),
            seq=claim.seq,
        )
        self.runs[claim.uid] = run
        if isinstance(program, Unloadable):
            self._fault(run, "configuration", program.reason)
            return
        if run.deadline_ms is None and claim.timeout_s is not None:
            run.deadline_ms = claim.started_at_ms + int(claim.timeout_s * 1000)
        try:
            run.facts = replace(run.facts, input=decode(claim.input))
            if claim.head is not None:
                run.state = run.codec.load(claim.head, claim.frames, claim.values)
                run.inbox.append(Resumed())
            elif claim.seq:
                # Starting anew would repeat what has been done.
                raise ValueError("its frames are gone")  # noqa: TRY301 - the same end as for what cannot be decoded
        except Exception as error:  # noqa: BLE001 - a defect of ours faults one run, not the worker
            self._broken(run, "what is stored of it cannot be loaded", error)
            return
        if claim.cancelled:
            run.cancelled = True
            run.inbox.append(Cancelled(reason=claim.reason))
        self.step(run)

    def cancel(self, uid: str) -> None:
        """Someone asked for the run's end and the store knows it."""
        run = self.runs.get(uid)
        if run is not None and not run.cancelled and not run.gone:
            run.cancelled = True
            run.inbox.append(Cancelled())
            self.step(run)

    def lose(self, run: Run, reason: str) -> None:
        """The lease is not ours any more: whoever has it goes on from the last commit."""
        if not run.gone:
            log.warning(
                "run %s: lease lost: %s", run.uid, reason, extra={"action": "lease.lost", "uid": run.uid}
            )
            self._let_go(run)

    def presumed_lost(self, run: Run) -> bool:
        return self._loop.time() > run.held_until + self._presumed_lost_s

    def drain(self) -> None:
        """Start nothing new: what waits is parked, what runs ends or stops at its next effect."""
        self.draining = True
        for run in list(self.runs.values()):
            if run.timer is not None and not run.effects and run.committing is None:
                self.step(run)

    def abandon(self) -> dict[str, Any]:
        """Stop everything; uid to token of what was held."""
        held = {uid: claim.token for uid, claim in self.loading.items()}
        held |= {uid: run.claim.token for uid, run in self.runs.items()}
        self.loading.clear()
        for run in list(self.runs.values()):
            self._let_go(run)
        for task in self._detached:
            task.cancel()
        return held

    @property
    def idle(self) -> bool:
        return not self.runs and not self.loading and not self._detached

    # One run.

    def step(self, run: Run) -> None:
        """Tell the engine what happened, for one slice."""
        if run.gone or run.committing is not None:
            return  # the commit's verdict comes back here
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None
        now_ms = self._clock.now_ms()
        if run.deadline_ms is not None and now_ms >= run.deadline_ms and not run.expired:
            run.expired = True
            run.inbox.append(Expired())
        happened, run.inbox = run.inbox, []
        assert run.program is not None
        try:
            result = advance(run.program, run.state, happened, now_ms, run.facts, run.environment, STEPS)
        except Exception as error:  # noqa: BLE001 - a defect of ours faults one run, not the worker
            self._broken(run, "the engine failed", error)
            return
        state = run.state = result.state
        if result.notes:
            run.note(result.notes)
        if result.performs:
            run.performs.extend(result.performs)
        run.unfinished = result.more
        if run.effects:
            _cancel_given_up(run)
        if state.ended:
            self._commit(run, "end", None)
        elif result.more:
            if self.draining and not run.effects:
                self._commit(run, "queue", None)
            elif self._overdue(run):
                self._commit(run, "keep", None)
            else:
                self._loop.call_soon(self.step, run)
        elif run.performs:
            self._commit(run, "queue" if self.draining and _can_wait(run) else "keep", None)
        elif state.in_flight:
            self._rest(run)
        else:
            due_ms = _earliest(state.due_ms, run.deadline_ms)
            if self.draining or due_ms is None or due_ms - now_ms >= INLINE_MS:
                self._commit(run, "park", due_ms)
            else:
                self._rest(run)

    def _rest(self, run: Run) -> None:
        """Nothing to do before a result or a due time; what must not be lost is committed first."""
        if run.dirty or (run.state is not run.codec.stored and self._overdue(run)):
            self._commit(run, "keep", None)
            return
        due_ms = _earliest(run.state.due_ms, run.deadline_ms)
        if due_ms is not None:
            delay_s = max(0.001, (due_ms - self._clock.now_ms()) / 1000)
            run.timer = self._loop.call_later(delay_s, self.step, run)

    def _overdue(self, run: Run) -> bool:
        return self._loop.time() - run.committed_at >= UNCOMMITTED_S

    def _commit(self, run: Run, move: Move, due_ms: int | None) -> None:
        try:
            commit = run.commit(move, due_ms, self._vault.redaction)
        except Exception as error:  # noqa: BLE001 - text that is no Unicode, say: one run's fault
            if run.refused:
                self.lose(run, "not even its end can be stored")
                return
            run.refused = True
            self._broken(run, "its state cannot be stored", error)
            return
        if move != "keep":
            self.leaving += 1
        self.commits.add(run, commit)

    def _settled(self, run: Run, verdict: Verdict) -> None:
        """The store has answered a commit."""
        if run.gone:
            return
        if not verdict.applied:
            self.lose(run, "a commit came too late")
            return
        if run.committing != "keep":
            # The engine has gone on from what nobody waits for: no other worker will ask for it again.
            unawaited = [perform for perform in run.performs if not perform.await_result]
            self._let_go(run)
            for perform in unawaited:
                self._start(run, perform)
            return
        run.committing = None
        run.dirty = False
        run.committed_at = self._loop.time()
        if verdict.cancelled and not run.cancelled:
            run.cancelled = True
            run.inbox.append(Cancelled())
        if run.performs:
            performs, run.performs = run.performs, []
            if not run.cancelled:
                for perform in performs:
                    # A later slice may have left the task again: a branch that lost, a time that is over.
                    if perform.frame in run.state.frames or not perform.await_result:
                        self._start(run, perform)
        if run.inbox or run.unfinished:
            self._loop.call_soon(self.step, run)
        else:
            self._rest(run)

    def _let_go(self, run: Run) -> None:
        if run.committing is not None and run.committing != "keep":
            self.leaving -= 1
            run.committing = None
        run.forget()
        if self.runs.get(run.uid) is run:
            del self.runs[run.uid]
        self._released()

    # What happens outside.

    def _start(self, run: Run, perform: Perform) -> None:
        task = asyncio.create_task(self._perform(run, perform))
        if perform.await_result:
            run.effects[perform.frame] = task
        else:
            self._detached.add(task)
            task.add_done_callback(self._detached_ended)

    def _detached_ended(self, task: asyncio.Task[None]) -> None:
        self._detached.discard(task)
        self._released()

    async def _perform(self, run: Run, perform: Perform) -> None:
        claim = run.claim
        context = EffectContext(uid=claim.uid, attempt=claim.attempt, program=claim.program)
        try:
            performed = await self._effects.perform(perform, run=context)
        except Exception as error:
            log.exception(
                "run %s: performing %s failed",
                run.uid,
                perform.reference,
                extra={"action": "effect.broken", "uid": run.uid},
            )
            detail = f"internal error while performing the task: {type(error).__name__}"
            performed = Performed(frame=perform.frame, error=WorkflowError("runtime", detail=detail))
        if run.gone or run.effects.get(perform.frame) is not asyncio.current_task():
            return
        del run.effects[perform.frame]
        run.inbox.append(self._vault.redaction.outcome(perform, performed))
        run.dirty = True
        self.step(run)

    # What must not happen.

    def _begin_loaded(self, claim: Claim, held_until: float) -> None:
        if self.loading.pop(claim.uid, None) is not None:
            self.begin(claim, held_until)

    def _refused(self, run: Run, reason: str) -> None:
        """The store takes others' commits and not this one: the run cannot go on, and should say so."""
        log.error(
            "run %s: the store refused its commit: %s",
            run.uid,
            reason,
            extra={"action": "commit.refused", "uid": run.uid},
        )
        if run.refused:
            self.lose(run, "the store refuses even its end")
            return
        run.refused = True
        run.seq -= 1  # nothing was applied under it
        if run.committing != "keep":
            self.leaving -= 1
        run.performs.clear()
        self._fault(run, "runtime", f"the store refused the run's state: {reason}")

    def _broken(self, run: Run, what: str, error: Exception) -> None:
        log.error(
            "run %s: %s",
            run.uid,
            what,
            exc_info=error,
            extra={"action": "run.broken", "uid": run.uid},
        )
        self._fault(run, "runtime", f"internal error: {what}: {type(error).__name__}: {error}")

    def _fault(self, run: Run, kind: str, detail: str) -> None:
        if run.refused:
            run.hush()
        error: Mapping[str, Any] = WorkflowError(kind, detail=detail, instance="/").to_json()
        run.state = State(status="faulted", error=error)
        run.notes.append(Note(kind="workflow.faulted", at_ms=self._clock.now_ms(), detail={"error": error}))
        self._commit(run, "end", None)


def _cancel_given_up(run: Run) -> None:
    """Cancel effects whose task the engine has left: its time is over, or the run has ended."""
    frames = run.state.frames
    for key in list(run.effects):
        frame = frames.get(key)
        if frame is None or frame.phase != "effect":
            run.effects.pop(key).cancel()


def _can_wait(run: Run) -> bool:
    """Whether nothing goes on outside, and what would begin may as well begin in another worker."""
    return not run.effects and not any(perform.at_most_once for perform in run.performs)


def _earliest(first: int | None, second: int | None) -> int | None:
    if first is None:
        return second
    return first if second is None else min(first, second)
