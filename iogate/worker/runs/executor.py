"""Drives the runs of a worker: events go to the engine, its decision is committed, then effects start.

Used by `main_loop`, which takes runs and renews leases, and by the test harness. Callbacks instead of a task
per run; only effects have tasks. Invariants: an effect starts only after the commit that records it was
applied under a valid lease, and a result is stored before any consequence of it becomes visible.

    begin ──▶ queue ──▶ slice: advance the engine, then decide
                  ├── children: look up their workflows ──▶ queue
                  ├── more to compute: queue, or commit keep after a second ──▶ queue
                  ├── effects to start: commit keep ──▶ start them ──▶ a result ──▶ queue …
                  ├── waits, due within a second: timer ──▶ queue
                  ├── waits longer: commit park ──▶ let go, start effects that no task awaits
                  └── ended: commit end ──▶ let go, start effects that no task awaits
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, assert_never

from iogate.engine.advance import advance
from iogate.engine.commands import Perform, StartChild
from iogate.errors import in_family
from iogate.store import keys
from iogate.store.runs.claims import Claim
from iogate.store.runs.commits import Move
from iogate.store.runs.leases import CommitResult
from iogate.worker.ports import Children, Clock, Effects, Leases, Secrets
from iogate.worker.recording.recorder import record_slice
from iogate.worker.runs.committer import Committer, Lost, Outcome, Refused
from iogate.worker.runs.decision import Continue, Decision, Resolve, Rest, Store, decide, rest
from iogate.worker.runs.effects import EffectRunner
from iogate.worker.runs.faults import RunFault, fault_from
from iogate.worker.runs.inbox import InboxReader
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.phase import Resting
from iogate.worker.runs.run import Run
from iogate.worker.runs.run_log import RunLog
from iogate.worker.runs.scheduler import Scheduler

if TYPE_CHECKING:
    from iogate.worker.run_spans import RunSpans

CROWDED = f"one run may have at most {keys.FAMILY_RUNS} descendants at once"


class Executor:
    """Executor of the runs of one worker."""

    def __init__(
        self,
        *,
        leases: Leases,
        effects: Effects,
        clock: Clock,
        secrets: Secrets,
        loader: Loader,
        children: Children,
        released: Callable[[], None],
        spans: RunSpans | None = None,
    ) -> None:
        """`released` is called when a run leaves; without `spans`, no run has spans."""
        self.loader = loader
        self._children = children
        self._secrets = secrets
        self._clock = clock
        self._released = released
        self._scheduler = Scheduler(self._slice, clock=clock.monotonic)
        self._spans = spans
        self._effects = EffectRunner(
            effects, secrets, clock, performed=self._scheduler.add, released=released, spans=spans
        )
        self._inboxes = InboxReader(leases, self._scheduler.add)
        self._committer = Committer(leases, clock)
        self._log = RunLog()
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.leaving = 0
        """Number of runs whose last commit is under way: they take no room."""
        self.draining = False

    # Called by the loop.

    def begin(self, claim: Claim, held_until: float) -> None:
        """Add a run that was just taken to the executor, as soon as it is loaded."""
        known = self._runs.get(claim.uid)
        if known is not None:
            # The store leased the run to this worker again, so the old lease is void.
            self._let_go(known)
        loaded = self.loader.load(claim, held_until)
        if loaded is None:
            self.loader.fetch(claim, lambda: self.begin(claim, held_until))
            return
        run, fault = loaded
        self._runs[claim.uid] = run
        if fault is None:
            self._scheduler.add(run)
        else:
            self._fault(run, fault)

    def cancel(self, uid: str) -> None:
        """Cancel a run that the executor holds; the store has recorded the cancellation."""
        run = self._runs.get(uid)
        if run is not None and run.cancel():
            self._scheduler.add(run)

    def read_inbox(self, uid: str) -> None:
        """Read the inbox of a run in the executor, which may have got messages."""
        run = self._runs.get(uid)
        if run is not None:
            self._inboxes.look(run)

    def suspend(self, uid: str) -> None:
        """Let the executor go on with a suspended run no further than its effects under way."""
        run = self._runs.get(uid)
        if run is not None and run.suspend():
            self._wake_early(run)

    def resume(self, uid: str) -> None:
        """Let the executor go on with a run that was resumed before its effects under way had ended."""
        run = self._runs.get(uid)
        if run is not None and run.suspend(wanted=False):
            self._scheduler.add(run)

    def lose(self, run: Run, reason: str) -> None:
        """Drop from the executor a run whose lease another worker may have; it continues there."""
        if not run.gone:
            self._log.lost(run, reason)
            self._let_go(run)

    def drain(self) -> None:
        """Drain the executor: waiting runs are parked, computing ones end or stop at their next effect."""
        self.draining = True
        for run in list(self._runs.values()):
            self._wake_early(run)

    def abandon(self) -> dict[str, Any]:
        """Stop the executor; return the fencing tokens of the runs that it held, by uid."""
        held = {uid: claim.token for uid, claim in self.loader.waiting.items()}
        held |= {uid: run.claim.token for uid, run in self._runs.items()}
        self.loader.waiting.clear()
        for run in list(self._runs.values()):
            self._let_go(run)
        self._effects.cancel_detached()
        return held

    async def end(self) -> None:
        """End the executor: cancel every effect and wait until its process is gone."""
        await self._effects.end()

    @property
    def runs(self) -> Mapping[str, Run]:
        """Runs that the executor holds, by uid."""
        return self._runs

    @property
    def detached_effects(self) -> int:
        """Number of effects of the executor under way that no run waits for."""
        return self._effects.detached

    @property
    def busy(self) -> bool:
        """Whether a run of the executor has something to compute, store or read, and does not only wait."""
        reading = bool(self.loader.waiting or self._tasks) or self._inboxes.reading
        return reading or any(run.busy for run in self._runs.values())

    @property
    def idle(self) -> bool:
        return not self._runs and not self.loader.waiting and not self.detached_effects

    # Slices.

    def _slice(self, run: Run) -> None:
        now_ms = self._clock.now_ms()
        happened = run.begin_slice(now_ms)
        if happened is None:
            return
        assert run.program is not None
        leaves = self._leaves(run)
        try:
            advanced = advance(
                run.program,
                run.state,
                happened,
                now_ms,
                run.facts,
                self._secrets.environment(run.program.secrets),
                run.budget(happened, now_ms, leaves=leaves),
                traced=run.record == "all",
            )
        except Exception as error:  # noqa: BLE001 - a defect of iogate faults one run, not the worker
            self._fault(run, fault_from(run, "the engine failed", error))
            return
        if run.record == "all" or (run.record != "none" and (happened or advanced.faulted)):
            record_slice(run, happened, advanced, self._secrets.redaction, now_ms)
        run.apply(advanced)
        if self._spans is not None and advanced.emits:
            self._spans.emitting(run.uid, advanced.emits)
        self._go_on(run, decide(run, advanced, leaves=leaves, now=self._clock.monotonic(), now_ms=now_ms))

    def _leaves(self, run: Run) -> bool:
        """Tell whether a run of the executor stops as soon as it can."""
        return self.draining or run.suspended

    def _go_on(self, run: Run, decision: Decision) -> None:
        match decision:
            case Continue():
                self._scheduler.add(run)
            case Resolve(children):
                run.resolve()
                self._spawn(self._resolve(run, children))
            case Store(move, due_ms):
                self._commit(run, move, due_ms)
            case Rest(delay_s):
                run.rest(
                    None if delay_s is None else self._clock.call_later(delay_s, self._scheduler.add, run)
                )
            case never:
                assert_never(never)

    def _wake_early(self, run: Run) -> None:
        """Let the executor go on with a run that only waits for its timer, so that the run leaves."""
        if isinstance(run.phase, Resting) and run.phase.timer is not None and not run.effects:
            self._scheduler.add(run)

    # Reads of the store.

    async def _resolve(self, run: Run, starts: Sequence[StartChild]) -> None:
        resolved = await self._children.resolve(run.claim, starts)
        run.resolved(resolved.children, resolved.ended)
        self._scheduler.add(run)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
        self._committer.add(run, commit)

    async def settle_commits(self) -> None:
        """Send commits, and execute each run of the executor after its outcome, until cancelled."""
        while True:
            for run, outcome in await self._committer.next_outcomes():
                if not run.gone:
                    self._settle(run, outcome)

    def _settle(self, run: Run, outcome: Outcome) -> None:
        match outcome:
            case Lost(reason):
                self.lose(run, reason)
            case Refused(reason):
                self._refused(run, reason)
            case CommitResult(crowded=True):
                self._refused(run, CROWDED)
            case CommitResult(applied=False):
                self.lose(run, "the store rejected a commit with an old fencing token")
            case CommitResult():
                if outcome.left_out:
                    self._log.left_out(run)
                if self._spans is not None:
                    self._spans.committed(run)
                if run.leaving:
                    self._left(run, outcome)
                else:
                    self._kept(run, outcome)
            case never:
                assert_never(never)

    def _left(self, run: Run, result: CommitResult) -> None:
        """Drop from the executor a run whose last commit here was applied."""
        if run.committing == "end" and run.state.status == "faulted":
            self._log.faulted(run)
        unawaited = self._let_go(run)
        if result.cancelled:
            return
        # No other worker would start the effects that no task awaits.
        for perform in unawaited:
            self._effects.start(run, perform)

    def _kept(self, run: Run, result: CommitResult) -> None:
        """Execute a run further whose commit was applied."""
        performs = run.committed(self._clock.monotonic())
        if result.cancelled and run.cancel():
            performs = []
        if result.suspended:
            run.suspend()
        if result.woken or run.inbox_has_more:
            self._inboxes.look(run)
        for perform in performs:
            self._effects.start(run, perform)
        if run.has_work(leaves=self._leaves(run)):
            self._scheduler.add(run)
        else:
            self._go_on(run, rest(run, now=self._clock.monotonic(), now_ms=self._clock.now_ms()))

    def _let_go(self, run: Run) -> list[Perform]:
        """Forget a run in the executor; return its effects that no task awaits."""
        self.leaving -= run.leaving
        if self._spans is not None:
            self._spans.release(run.uid)  # a lease that ended with a commit has no span any more
        unawaited = run.leave()
        if self._runs.get(run.uid) is run:
            del self._runs[run.uid]
        self._released()
        return unawaited

    # Failures.

    def _refused(self, run: Run, reason: str) -> None:
        """Fault a run of the executor whose commit the store refuses, although it accepts others."""
        self._log.refused(run, reason)
        if run.refused:
            self.lose(run, "the store refuses the final state")
            return
        self.leaving -= run.leaving
        run.commit_refused()
        self._fault(run, RunFault("runtime", f"the store refused the state of the run: {reason}"))

    def _fault(self, run: Run, fault: RunFault) -> None:
        run.fault(in_family(fault.to_json(), self._secrets.error_types), self._clock.now_ms())
        self._commit(run, "end", None)
