"""Main loop of a worker: takes runs up to its concurrency, renews their leases, and shuts down gracefully.

Created by `worker_process`. Invariants: no error of the store ends the loop; a lease that the store does not
confirm in time is presumed lost; the worker hands back its remaining runs at shutdown, so that their leases
need not expire.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.runs.leases import TakeResult
from iogate.store.store import Store
from iogate.timing.backoff import Backoff
from iogate.timing.clock import StoreClock
from iogate.worker.runs.executor import Executor

log = logging.getLogger(__name__)

LEASE_S = 15.0
RENEW_S = 2.0
POLL_S = 0.25
UPKEEP_S = 1.0
"""Interval of takes without room, which lease nothing: each take wakes due timers and ends the leases of dead
workers. Without takes, the store takes the silence for an outage of its own, and extends these leases."""
BATCH = 50
"""Largest number of runs in one take, because a take blocks the store."""
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0
SOLITARY_IDLE_S = 1.0
HAND_BACK_S = 3.0


class Loop:
    """Loop that takes runs for an executor; `stop` begins its graceful shutdown."""

    def __init__(
        self,
        *,
        store: Store,
        name: str,
        concurrency: int,
        solitary: bool,
        clock: StoreClock,
        executor: Callable[[Callable[[], None]], Executor],
    ) -> None:
        self._store = store
        self._name = name
        self._concurrency = 1 if solitary else concurrency
        self._solitary = solitary
        self._clock = clock
        self._bell, self._wired = store.leases.doorbell(name)
        self._left = asyncio.Event()
        self._stopping = asyncio.Event()
        self._abort_drain = asyncio.Event()
        self._full = False
        self._doubtful = False
        """The store was unreachable, so leases are renewed before the next take."""
        self._stops: set[asyncio.Task[None]] = set()
        self.suspended = False
        self.executor = executor(self._released)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Shut the worker down gracefully; a second call ends the loop at once."""
        if self._stopping.is_set():
            self._abort_drain.set()
        else:
            log.info("worker is stopping and takes no more runs", extra={"action": "worker.stopping"})
        self._stopping.set()
        self._bell.ring()

    def handle_command(self, kind: str, uid: str) -> None:
        """Handle a command from RQ in the loop of the worker."""
        match kind:
            case "stop" if uid in self.executor.runs:
                task = asyncio.create_task(self._stop_run(uid))
                self._stops.add(task)
                task.add_done_callback(self._stops.discard)
            case "stop":
                log.warning(
                    "ignored stop-job: this worker does not hold run %s",
                    uid,
                    extra={"action": "command.ignored"},
                )
            case "shutdown":
                log.info("shutdown requested through RQ", extra={"action": "worker.shutdown"})
                self.stop()

    async def run(self, grace_s: float) -> None:
        """Take and execute runs in a loop until `stop`, then drain."""
        commits = asyncio.create_task(self.executor.settle_commits(), name="commits")
        renewing = asyncio.create_task(self._renew_periodically(), name="renew")
        try:
            leases = self._store.leases
            async with (
                self._wired,
                leases.cancellations(self.executor.cancel),
                leases.inbox_changes(self.executor.read_inbox),
            ):
                await self._take_until_stopped()
                await self._drain(grace_s)
        finally:
            for task in (commits, renewing, *self._stops):
                task.cancel()
            await asyncio.gather(commits, renewing, *self._stops, return_exceptions=True)
            # The launcher waits for each process whose effect is not cancelled.
            await self.executor.end()

    # Taking.

    def _room(self) -> int:
        executor = self.executor
        held = len(executor.runs) + len(executor.loader.waiting)
        return min(self._concurrency - held + executor.leaving, 2 * self._concurrency - held)

    def _released(self) -> None:
        if self._full:
            self._full = False
            self._bell.ring()
        self._left.set()

    async def _take_until_stopped(self) -> None:
        backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        empty_since: float | None = None
        next_take: asyncio.Task[tuple[TakeResult, float]] | None = None
        limit, upkeep_at = 0, 0.0
        while not self._stopping.is_set():
            if next_take is None:
                limit = max(0, min(self._room(), BATCH))
                if limit == 0:
                    self._full = True
                    if self._clock.monotonic() < upkeep_at:
                        await self._bell.wait(POLL_S)
                        continue
                next_take = asyncio.create_task(self._take(limit))
            try:
                taken, asked_at = await next_take
            except (Unreachable, CommandFailed) as error:
                self._out_of_reach(error)
                await self._bell.wait(backoff.next_s())
                continue
            finally:
                next_take = None
            backoff.reset()
            upkeep_at = asked_at + UPKEEP_S
            full = len(taken.claims) >= limit
            limit = min(self._room() - len(taken.claims), BATCH)
            if full and limit >= BATCH // 2 and not self._solitary and not self._stopping.is_set():
                # The store takes the next runs while this process begins these.
                next_take = asyncio.create_task(self._take(limit))
                await asyncio.sleep(0)
            self._begin(taken, asked_at)
            if self._solitary:
                idle = self.executor.idle and not taken.claims and not taken.suspects
                empty_since = (empty_since or self._clock.monotonic()) if idle else None
                if empty_since is not None and self._clock.monotonic() - empty_since >= SOLITARY_IDLE_S:
                    return
            if not full:
                await self._bell.wait(POLL_S)
            else:
                await asyncio.sleep(0)
        if next_take is not None:
            with contextlib.suppress(Unreachable, CommandFailed):
                self._begin(*await next_take)

    async def _take(self, limit: int) -> tuple[TakeResult, float]:
        if self._doubtful:
            await self._renew()
        asked_at = self._clock.monotonic()
        taken = await self._store.leases.take(
            self._name, limit, lease_ms=int(LEASE_S * 1000), solitary=self._solitary
        )
        if self._doubtful:
            # Only now: a drained store, for example, still renews leases but gives out no runs.
            self._doubtful = False
            log.info("store is reachable again", extra={"action": "store.reachable"})
        return taken, asked_at

    def _begin(self, taken: TakeResult, asked_at: float) -> None:
        self._clock.observe(taken.now_ms)
        if taken.suspended != self.suspended:
            self.suspended = taken.suspended
            log.info(
                "suspended through RQ: the worker takes no runs" if taken.suspended else "resumed through RQ",
                extra={"action": "worker.suspended" if taken.suspended else "worker.resumed"},
            )
        for claim in taken.claims:
            self.executor.begin(claim, asked_at + LEASE_S)

    def _out_of_reach(self, error: Exception) -> None:
        if not self._doubtful:
            self._doubtful = True
            log.warning("%s; the worker waits for it", error, extra={"action": "store.unreachable"})

    # Leases.

    async def _renew_periodically(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self._renew()
            except (Unreachable, CommandFailed) as error:
                self._out_of_reach(error)
                for run in list(self.executor.runs.values()):
                    if run.is_presumed_lost(self._clock.monotonic()):
                        self.executor.lose(run, "the store has been unreachable for too long")

    async def _renew(self) -> None:
        """Renew the leases in the worker's loop; handle runs that are lost, or that others have changed."""
        executor = self.executor
        asked_at = self._clock.monotonic()
        fresh = asked_at + LEASE_S - RENEW_S / 2
        runs = [run for run in executor.runs.values() if self._doubtful or run.held_until < fresh]
        held = {run.uid: run.claim.token for run in runs}
        held |= {uid: claim.token for uid, claim in executor.loader.waiting.items()}
        if not held:
            return
        # Not those whose suspension comes with the response to a commit meanwhile: this one may be older.
        suspended = {run.uid for run in runs if run.suspended}
        renewed = await self._store.leases.renew(self._name, held)
        for run in runs:
            if run.uid in renewed.lost:
                # The response to a commit that is under way decides: the commit may have ended the run.
                if run.committing is None:
                    executor.lose(run, "another worker may have the run")
                continue
            run.renew(asked_at + LEASE_S)
            if run.uid in renewed.cancelled:
                executor.cancel(run.uid)
            if run.uid in renewed.suspended:
                executor.suspend(run.uid)
            elif run.uid in suspended:
                executor.resume(run.uid)
            if run.uid in renewed.woken:
                executor.read_inbox(run.uid)
        for uid in renewed.lost & executor.loader.waiting.keys():
            del executor.loader.waiting[uid]

    async def _stop_run(self, uid: str) -> None:
        while uid in self.executor.runs:
            try:
                await self._store.runs.cancel(uid, "stopped through RQ")
            except (Unreachable, CommandFailed):
                await asyncio.sleep(LONGEST_BACKOFF_S)
            else:
                self.executor.cancel(uid)
                return

    # The end.

    async def _drain(self, grace_s: float) -> None:
        """Drain the loop: let runs finish or park, then release the rest without marking them suspects."""
        executor = self.executor
        executor.drain()
        hurry = asyncio.create_task(self._abort_drain.wait())
        try:
            async with asyncio.timeout(grace_s):
                while not executor.idle and not hurry.done():
                    self._left.clear()
                    left = asyncio.create_task(self._left.wait())
                    await asyncio.wait({left, hurry}, return_when=asyncio.FIRST_COMPLETED)
                    left.cancel()
        except TimeoutError:
            pass
        finally:
            hurry.cancel()
        held = executor.abandon()
        if not held:
            return
        log.info(
            "handing back %d run" if len(held) == 1 else "handing back %d runs",
            len(held),
            extra={"action": "runs.handed_back", "runs": len(held)},
        )
        try:
            async with asyncio.timeout(HAND_BACK_S):
                while True:
                    try:
                        await self._store.leases.release(self._name, held)
                    except Unreachable:
                        await asyncio.sleep(FIRST_BACKOFF_S)
                    else:
                        return
        except (TimeoutError, CommandFailed):
            log.warning(
                "store unreachable: the leases of the runs expire instead",
                extra={"action": "runs.left", "runs": len(held)},
            )
