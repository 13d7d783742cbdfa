"""Drives the runs of a worker: events go to the engine, its decision is committed, then effects start.

Used by `loop`, which takes runs and renews leases. Callbacks instead of a task per run; only effects have
tasks. Invariants: an effect starts only after the commit that records it was applied under a valid lease, and
a result is stored before any consequence of it becomes visible.

    take ──▶ step ──▶ slice: advance the engine, then decide
                 ├── children: look up their workflows ──▶ step
                 ├── more to compute: step, or commit keep after a second ──▶ step
                 ├── effects to start: commit keep ──▶ start them ──▶ a result ──▶ step …
                 ├── waits, due within a second: timer ──▶ step
                 ├── waits longer: commit park ──▶ let go
                 └── ended: commit end ──▶ let go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from iogate import logs
from iogate.effects.dispatcher import Effects
from iogate.engine.advance import advance
from iogate.engine.commands import Perform
from iogate.errors import WorkflowError, in_family
from iogate.store import keys
from iogate.store.runs.claims import Claim
from iogate.store.runs.commits import Move
from iogate.store.runs.leases import CommitResult, Leases
from iogate.timing.clock import StoreClock
from iogate.worker.runs.children import ChildResolver, ResolvedChildren
from iogate.worker.runs.committer import Committer
from iogate.worker.runs.decision import Continue, Resolve, Rest, Store, decide, earliest
from iogate.worker.runs.effects import EffectRunner
from iogate.worker.runs.inbox import InboxReader
from iogate.worker.runs.loader import Loader, RunFault, fault_from
from iogate.worker.runs.phase import Resting
from iogate.worker.runs.run import Run
from iogate.worker.runs.scheduler import Scheduler
from iogate.worker.secrets.secret_store import SecretStore

log = logging.getLogger(__name__)

UNCOMMITTED_S = 1.0
"""Longest computation that a crash may lose."""
CROWDED = f"one run may have at most {keys.FAMILY_RUNS} descendants at once"


class Executor:
    """Executor of the runs of one worker."""

    def __init__(
        self,
        *,
        leases: Leases,
        loader: Loader,
        children: ChildResolver,
        effects: Effects,
        secrets: SecretStore,
        clock: StoreClock,
        released: Callable[[], None],
        presumed_lost_s: float,
    ) -> None:
        """`released` is called when a run leaves; `presumed_lost_s` after its end, a lease counts as lost."""
        self._children = children
        self._secrets = secrets
        self._clock = clock
        self._released = released
        self._presumed_lost_s = presumed_lost_s
        self._loop = asyncio.get_running_loop()
        self._scheduler = Scheduler(self._slice)
        self._effects = EffectRunner(
            effects, secrets, performed=self.step, released=released, now_ms=clock.now_ms
        )
        self._inboxes = InboxReader(leases, self.step)
        self.loader = loader
        self.committer = Committer(
            leases,
            settled=self._settled,
            lost=self.lose,
            refused=self._refused,
            presumed_lost=self.presumed_lost,
        )
        self._runs: dict[str, Run] = {}
        self.leaving = 0
        """Number of runs whose last commit is under way: they take no room."""
        self.draining = False
        self._fault_lines = logs.Throttle()

    # Called by the loop.

    def begin(self, claim: Claim, held_until: float) -> None:
        """Go on with a run that was just taken."""
        known = self._runs.get(claim.uid)
        if known is not None:
            # The store leased the run to this worker again, so the old lease is void.
            self._let_go(known)
        run = self.loader.run(claim, held_until, self.begin)
        if run is None:
            return
        self._runs[claim.uid] = run
        try:
            self.loader.restore(run)
        except RunFault as fault:
            self._fault(run, fault)
        else:
            self.step(run)

    def cancel(self, uid: str) -> None:
        """Cancel a run; the store has recorded the cancellation."""
        run = self._runs.get(uid)
        if run is not None and run.cancel():
            self.step(run)

    def read_inbox(self, uid: str) -> None:
        """Read the inbox of a run, which may have got messages."""
        run = self._runs.get(uid)
        if run is not None:
            self._inboxes.look(run)

    def suspend(self, uid: str) -> None:
        """Let a suspended run go no further than its effects under way."""
        run = self._runs.get(uid)
        if run is not None and run.suspend():
            self._wake_early(run)

    def lose(self, run: Run, reason: str) -> None:
        """Let go of a run whose lease another worker may have; it goes on from the last commit."""
        if not run.gone:
            log.warning(
                "run %s: lease lost: %s", run.uid, reason, extra={"action": "lease.lost", "uid": run.uid}
            )
            self._let_go(run)

    def presumed_lost(self, run: Run) -> bool:
        """Tell whether the lease ended so long ago that another worker must have the run."""
        return self._loop.time() > run.held_until + self._presumed_lost_s

    def drain(self) -> None:
        """Start nothing new: waiting runs are parked, computing ones end or stop at their next effect."""
        self.draining = True
        for run in list(self._runs.values()):
            self._wake_early(run)

    def abandon(self) -> dict[str, Any]:
        """Stop everything; return the fencing tokens of the runs that were held, by uid."""
        held = {uid: claim.token for uid, claim in self.loader.waiting.items()}
        held |= {uid: run.claim.token for uid, run in self._runs.items()}
        self.loader.waiting.clear()
        for run in list(self._runs.values()):
            self._let_go(run)
        self._effects.cancel_detached()
        return held

    async def end(self) -> None:
        """Cancel every effect and wait until its process is gone."""
        await self._effects.end()

    @property
    def runs(self) -> Mapping[str, Run]:
        """Runs that this worker holds, by uid."""
        return self._runs

    @property
    def detached_effects(self) -> int:
        """Number of effects under way that no run waits for."""
        return self._effects.detached

    @property
    def idle(self) -> bool:
        return not self._runs and not self.loader.waiting and not self.detached_effects

    # Slices.

    def step(self, run: Run) -> None:
        """Queue the run for a slice."""
        self._scheduler.add(run)

    def _slice(self, run: Run) -> None:
        now_ms = self._clock.now_ms()
        happened = run.begin_slice(now_ms)
        if happened is None:
            return
        assert run.program is not None
        try:
            advanced = advance(
                run.program,
                run.state,
                happened,
                now_ms,
                run.facts,
                run.environment,
                run.budget(happened, now_ms),
            )
        except Exception as error:  # noqa: BLE001 - a defect of iogate faults one run, not the worker
            self._fault(run, fault_from(run, "the engine failed", error))
            return
        run.apply(advanced)
        leaves = self.draining or run.suspended
        match decide(run, advanced, leaves=leaves, overdue=self._overdue(run), now_ms=now_ms):
            case Continue():
                self.step(run)
            case Resolve(children):
                run.resolve()
                self._children.resolve(run.claim, children, lambda resolved: self._resolved(run, resolved))
            case Store(move, due_ms):
                self._commit(run, move, due_ms)
            case Rest():
                self._rest(run)

    def _wake_early(self, run: Run) -> None:
        """Give a slice to a run that only waits for its timer, so that it leaves."""
        if isinstance(run.phase, Resting) and run.phase.timer is not None and not run.effects:
            self.step(run)

    def _resolved(self, run: Run, resolved: ResolvedChildren) -> None:
        run.resolved(resolved.children, resolved.failed)
        self.step(run)

    def _rest(self, run: Run) -> None:
        """Rest until a result or a due time, after a commit if results must not be lost."""
        run.record_rest()
        unstored = run.state is not run.codec.stored
        if run.dirty or (unstored and (self._overdue(run) or run.codec.has_new_subscription(run.state))):
            self._commit(run, "keep", None)
            return
        delays_s = [run.committed_at + UNCOMMITTED_S - self._loop.time()] if unstored else []
        due_ms = earliest(run.state.due_ms, run.deadline_ms)
        if due_ms is not None:
            delays_s.append((due_ms - self._clock.now_ms()) / 1000)
        delay_s = max(0.001, min(delays_s)) if delays_s else None
        run.rest(None if delay_s is None else self._loop.call_later(delay_s, self.step, run))

    def _overdue(self, run: Run) -> bool:
        return self._loop.time() - run.committed_at >= UNCOMMITTED_S

    # Commits.

    def _commit(self, run: Run, move: Move, due_ms: int | None) -> None:
        try:
            commit = run.commit(move, due_ms, self._secrets.redaction)
        except Exception as error:  # noqa: BLE001 - invalid Unicode, for example, faults one run
            if run.refused:
                self.lose(run, "the final state cannot be encoded")
                return
            run.unencodable()
            self._fault(run, fault_from(run, "the state cannot be encoded", error))
            return
        self.leaving += run.leaving
        if commit.size > keys.COMMIT_BYTES:
            mib, most = commit.size / 1024**2, keys.COMMIT_BYTES // 1024**2
            self._refused(run, f"a commit of {mib:.0f} MiB exceeds the limit of {most} MiB")
            return
        self.committer.add(run, commit)

    def _settled(self, run: Run, verdict: CommitResult) -> None:
        """Go on after the response of the store to a commit."""
        if run.gone:
            return
        if verdict.crowded:
            self._refused(run, CROWDED)
        elif not verdict.applied:
            self.lose(run, "the store rejected a commit with an old fencing token")
        else:
            if verdict.left_out:
                log.warning(
                    "%s: no runs start for events: too many runs of the schedule are waiting",
                    run.claim.api,
                    extra={"action": "schedule.failed", "api": run.claim.api},
                )
            if run.leaving:
                self._left(run)
            else:
                self._kept(run, verdict)

    def _left(self, run: Run) -> None:
        """Let go of a run whose last commit here was applied."""
        if run.committing == "end" and run.state.status == "faulted":
            self._log_fault(run)
        # No other worker would start the effects that no task awaits.
        for perform in self._let_go(run):
            self._effects.start(run, perform)

    def _kept(self, run: Run, verdict: CommitResult) -> None:
        """Go on with a run whose commit was applied."""
        performs = run.committed(self._loop.time())
        if verdict.cancelled and run.cancel():
            performs = []
        if verdict.suspended:
            run.suspend()
        if verdict.woken or run.inbox_has_more:
            self._inboxes.look(run)
        for perform in performs:
            self._effects.start(run, perform)
        if run.has_work:
            self.step(run)
        else:
            self._rest(run)

    def _let_go(self, run: Run) -> list[Perform]:
        """Forget a run; return its effects that no task awaits."""
        self.leaving -= run.leaving
        unawaited = run.leave()
        if self._runs.get(run.uid) is run:
            del self._runs[run.uid]
        self._released()
        return unawaited

    # Failures.

    def _refused(self, run: Run, reason: str) -> None:
        """Fault a run whose commit the store refuses, although it accepts others."""
        log.error(
            "run %s: the store refused the commit: %s",
            run.uid,
            reason,
            extra={"action": "commit.refused", "uid": run.uid},
        )
        if run.refused:
            self.lose(run, "the store refuses the final state")
            return
        self.leaving -= run.leaving
        run.commit_refused()
        self._fault(run, RunFault("runtime", f"the store refused the state of the run: {reason}"))

    def _fault(self, run: Run, fault: RunFault) -> None:
        described = WorkflowError(fault.kind, title=fault.title, detail=fault.detail, instance="/").to_json()
        run.fault(in_family(described, self._secrets.error_types), self._clock.now_ms())
        self._commit(run, "end", None)

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
