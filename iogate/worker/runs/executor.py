"""Drives the runs of a worker: what happened goes to the engine, what it decides is committed, then done.

Used by `loop`, which takes runs and renews leases. Plain calls, no task for each run; a task only for
what goes on outside. Invariants: an effect starts only after the commit that records it was applied
under a valid lease, and a result reaches the store before anything that follows from it leaves.

    take ──▶ step ──▶ its turn: advance
                 ├── more: step, or a commit after a second ──▶ step
                 ├── performs: commit keep ──▶ start effects ──▶ a result ──▶ step …
                 ├── waits, due within a second: timer ──▶ step
                 ├── waits longer: commit park ──▶ let go
                 └── ended: commit end ──▶ let go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from iogate import logs
from iogate.effects.perform import Effects
from iogate.engine.advance import advance
from iogate.engine.commands import Cancelled, Expired, Note
from iogate.errors import WorkflowError, in_family
from iogate.store import keys
from iogate.store.runs.claims import Claim
from iogate.store.runs.commits import Move
from iogate.store.runs.leases import Leases, Verdict
from iogate.timing.clock import StoreClock
from iogate.worker.runs.children import Children, Resolved
from iogate.worker.runs.committer import Commits
from iogate.worker.runs.effects import Performing, can_wait, cancel_given_up
from iogate.worker.runs.inbox import Inboxes
from iogate.worker.runs.loader import Loading, Unfit, broken
from iogate.worker.runs.run import Run
from iogate.worker.runs.scheduler import Turns
from iogate.worker.secrets.secret_store import Vault

log = logging.getLogger(__name__)

UNCOMMITTED_S = 1.0
"""Pure work that a crash may cost."""
INLINE_MS = 1_000
"""A shorter wait keeps its run here: parking and waking costs more than it saves."""
CROWDED = f"more than {keys.FAMILY_RUNS} runs that one run brought about would live at once"


class Drive:
    def __init__(
        self,
        *,
        leases: Leases,
        loading: Loading,
        children: Children,
        effects: Effects,
        vault: Vault,
        clock: StoreClock,
        released: Callable[[], None],
        presumed_lost_s: float,
    ) -> None:
        self._children = children
        self._vault = vault
        self._clock = clock
        self._released = released
        self._presumed_lost_s = presumed_lost_s
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(self._advance)
        self._performing = Performing(
            effects, vault, performed=self.step, released=released, now_ms=clock.now_ms
        )
        self._inboxes = Inboxes(leases, self.step)
        self.loading = loading
        self.commits = Commits(
            leases,
            settled=self._settled,
            lost=self.lose,
            refused=self._refused,
            presumed_lost=self.presumed_lost,
        )
        self.runs: dict[str, Run] = {}
        self.leaving = 0
        """Runs whose last commit is on its way: they take no room."""
        self.draining = False
        self._fault_lines = logs.Throttle()

    # What the loop tells.

    def begin(self, claim: Claim, held_until: float) -> None:
        """Go on with a run that was just taken."""
        known = self.runs.get(claim.uid)
        if known is not None:
            # Its old lease is void: the store has given the run anew, and to this worker.
            self._let_go(known)
        run = self.loading.run(claim, held_until, self.begin)
        if run is None:
            return
        self.runs[claim.uid] = run
        try:
            self.loading.restore(run)
        except Unfit as unfit:
            self._fault(run, unfit)
        else:
            self.step(run)

    def cancel(self, uid: str) -> None:
        """Someone asked for the run's end and the store knows it."""
        run = self.runs.get(uid)
        if run is not None and not run.cancelled and not run.gone:
            run.cancelled = True
            run.inbox.append(Cancelled())
            self.step(run)

    def look(self, uid: str) -> None:
        """Something has come for the run, or may have."""
        run = self.runs.get(uid)
        if run is not None and not run.gone:
            self._inboxes.look(run)

    def suspend(self, uid: str) -> None:
        """Someone set the run aside: it goes no further than what is under way."""
        run = self.runs.get(uid)
        if run is not None and not run.suspended and not run.gone:
            run.suspended = True
            self._hurry(run)

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
            self._hurry(run)

    def abandon(self) -> dict[str, Any]:
        """Stop everything; uid to token of what was held."""
        held = {uid: claim.token for uid, claim in self.loading.waiting.items()}
        held |= {uid: run.claim.token for uid, run in self.runs.items()}
        self.loading.waiting.clear()
        for run in list(self.runs.values()):
            self._let_go(run)
        self._performing.cancel_detached()
        return held

    async def end(self) -> None:
        """Cancel every effect and wait until its process is gone."""
        await self._performing.end()

    @property
    def unawaited(self) -> int:
        """How many effects go on that no run waits for."""
        return self._performing.unawaited

    @property
    def idle(self) -> bool:
        return not self.runs and not self.loading.waiting and not self.unawaited

    # One run.

    def step(self, run: Run) -> None:
        """Tell the engine what happened, once it is the run's turn."""
        self._turns.add(run)

    def _advance(self, run: Run) -> None:
        """Tell the engine what happened, for one slice."""
        if run.gone or run.committing is not None or run.resolving:
            return  # the commit's verdict, or the children that were looked up, come back here
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None
        now_ms = self._clock.now_ms()
        if run.deadline_ms is not None and now_ms >= run.deadline_ms and not run.expired:
            run.expired = True
            run.inbox.append(Expired(limit_s=(run.deadline_ms - run.claim.started_at_ms) / 1000))
        happened, run.inbox = run.inbox, []
        assert run.program is not None
        try:
            result = advance(
                run.program,
                run.state,
                happened,
                now_ms,
                run.facts,
                run.environment,
                run.budget(happened, now_ms),
            )
        except Exception as error:  # noqa: BLE001 - a defect of ours faults one run, not the worker
            self._fault(run, broken(run, "the engine failed", error))
            return
        # What was taken in leaves the inbox with a commit, and what follows from it is to be seen.
        run.dirty = run.dirty or result.state.inbox_done != run.state.inbox_done
        state = run.state = result.state
        leaves = self.draining or run.suspended
        if result.notes:
            run.note(result.notes)
        if result.performs:
            run.performs.extend(result.performs)
        run.unfinished = result.more
        if run.effects:
            cancel_given_up(run)
        if result.emits:
            run.emits.extend(result.emits)
            run.dirty = True
        if result.children:
            run.resolving = run.dirty = True
            self._children.resolve(run.claim, result.children, lambda resolved: self._resolved(run, resolved))
        elif state.ended:
            self._commit(run, "end", None)
        elif result.more:
            if leaves and not run.effects:
                self._commit(run, "queue", None)
            elif run.emits or run.full or self._overdue(run) or (run.careful and run.dirty):
                # What was emitted is published before the next slice may listen: it came before. And where
                # the next step may kill the worker, it takes no answer with it.
                self._commit(run, "keep", None)
            else:
                self.step(run)
        elif run.performs:
            self._commit(run, "queue" if leaves and can_wait(run) else "keep", None)
        elif state.in_flight:
            self._rest(run)
        else:
            due_ms = _earliest(state.due_ms, run.deadline_ms)
            if leaves or due_ms is None or due_ms - now_ms >= INLINE_MS:
                self._commit(run, "park", due_ms)
            else:
                self._rest(run)

    def _hurry(self, run: Run) -> None:
        """Let go of a run that only waits here for its time."""
        if run.timer is not None and not run.effects and run.committing is None:
            self.step(run)

    def _resolved(self, run: Run, resolved: Resolved) -> None:
        run.resolving = False
        run.children.extend(resolved.children)
        run.inbox.extend(resolved.failed)
        self.step(run)

    def _rest(self, run: Run) -> None:
        """Nothing to do before a result or a due time; what must not be lost is committed first."""
        if run.witness is not None:
            run.witness.resting(run.state)
        unstored = run.state is not run.codec.stored
        if run.dirty or (unstored and (self._overdue(run) or run.codec.listens_anew(run.state))):
            self._commit(run, "keep", None)
            return
        delays_s = [run.committed_at + UNCOMMITTED_S - self._loop.time()] if unstored else []
        due_ms = _earliest(run.state.due_ms, run.deadline_ms)
        if due_ms is not None:
            delays_s.append((due_ms - self._clock.now_ms()) / 1000)
        if delays_s:
            run.timer = self._loop.call_later(max(0.001, min(delays_s)), self.step, run)

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
            self._fault(run, broken(run, "its state cannot be stored", error))
            return
        if move != "keep":
            self.leaving += 1
        if commit.size > keys.COMMIT_BYTES:
            mib, most = commit.size / 1024**2, keys.COMMIT_BYTES // 1024**2
            self._refused(run, f"it would write {mib:.0f} MiB in one commit, and {most} MiB is the most")
            return
        self.commits.add(run, commit)

    def _settled(self, run: Run, verdict: Verdict) -> None:
        """The store has answered a commit."""
        if run.gone:
            return
        if verdict.crowded:
            self._refused(run, CROWDED)
            return
        if not verdict.applied:
            self.lose(run, "a commit came too late")
            return
        if verdict.left_out:
            log.warning(
                "%s: events start nothing: too many of its runs are waiting",
                run.claim.api,
                extra={"action": "schedule.failed", "api": run.claim.api},
            )
        if run.committing == "end" and run.state.status == "faulted":
            self._log_fault(run)
        if run.committing != "keep":
            # The engine has gone on from what nobody waits for: no other worker will ask for it again.
            unawaited = [perform for perform in run.performs if not perform.await_result]
            self._let_go(run)
            for perform in unawaited:
                self._performing.start(run, perform)
            return
        run.committing = None
        run.dirty = False
        run.committed_at = self._loop.time()
        if verdict.cancelled and not run.cancelled:
            run.cancelled = True
            run.inbox.append(Cancelled())
        if verdict.woken or run.overheard:
            self._inboxes.look(run)
        run.suspended = run.suspended or verdict.suspended
        if run.performs:
            performs, run.performs = run.performs, []
            if not run.cancelled:
                for perform in performs:
                    # A later slice may have left the task again: a branch that lost, a time that is over.
                    if perform.frame in run.state.frames or not perform.await_result:
                        self._performing.start(run, perform)
        if run.inbox or run.unfinished:
            self.step(run)
        else:
            self._rest(run)

    def _log_fault(self, run: Run) -> None:
        """Write one line about a run that faulted, unless too many did at once."""
        if not self._fault_lines.passes():
            return
        error, claim = run.state.error or {}, run.claim
        facts = {
            "action": "run.faulted",
            "uid": run.uid,
            "api": claim.api,
            "workflow": claim.workflow,
            "error": str(error.get("type"))[:200],
            "status": error.get("status"),
            "task": str(error.get("instance") or "/")[:200],
        }
        if left_out := self._fault_lines.left_out():
            facts["left_out"] = left_out
        title = str(error.get("title") or error.get("type"))[:200]
        log.warning("run %s faulted: %s", run.uid, title, extra=facts)

    def _let_go(self, run: Run) -> None:
        if run.committing is not None and run.committing != "keep":
            self.leaving -= 1
            run.committing = None
        run.forget()
        if self.runs.get(run.uid) is run:
            del self.runs[run.uid]
        self._released()

    # What must not happen.

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
        self._fault(run, Unfit("runtime", f"the store refused the run's state: {reason}"))

    def _fault(self, run: Run, unfit: Unfit) -> None:
        if run.refused:
            run.hush()
        described = WorkflowError(unfit.kind, title=unfit.title, detail=unfit.detail, instance="/").to_json()
        error = in_family(described, self._vault.error_types)
        # Its frames stay, for `retry`.
        run.state = replace(run.state, status="faulted", error=error)
        run.notes.append(Note(kind="workflow.faulted", at_ms=self._clock.now_ms(), detail={"error": error}))
        self._commit(run, "end", None)


def _earliest(first: int | None, second: int | None) -> int | None:
    if first is None:
        return second
    return first if second is None else min(first, second)
