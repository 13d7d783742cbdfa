"""Simulation of a worker for one test: the executor of production, a store in memory, virtual time.

Used by `harness` and `behaviour`. It takes the place of the worker's loop and of its event matcher.
Invariant: the clock advances only if no run can proceed and no effect is under way that a run waits for; such
an effect takes its real time, and what is due meanwhile happens meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from iogate.engine.commands import Note
from iogate.engine.state.run_state import WaitingFor
from iogate.store.runs.intake import AcceptRequest
from iogate.store.state_codec import decode, encode
from iogate.testing.clock import VirtualClock
from iogate.testing.defaults import envelope_of
from iogate.testing.memory_records import Record
from iogate.testing.memory_store import MemoryStore
from iogate.testing.mocks import Family
from iogate.testing.outcome import Arrival, Outcome
from iogate.worker.events.matcher import match_next
from iogate.worker.ports import Children, Effects, Secrets
from iogate.worker.runs.executor import Executor
from iogate.worker.runs.loader import Loader

WORKER = "test"
TAKEN = 50
"""Runs of one take."""


class Simulation:
    """One run, its children, and the outside that sends it events."""

    def __init__(
        self,
        *,
        effects: Effects,
        children: Children,
        family: Family,
        clock: VirtualClock,
        secrets: Secrets,
        loader: Loader,
        real_time: bool = True,
    ) -> None:
        """Create a simulation; without `real_time`, effects take the clock's time, and none is awaited."""
        self._clock = clock
        self._began_ms = clock.now_ms()
        self._real_time = real_time
        self._coming: deque[tuple[float | None, bytes]] = deque()
        self._family = family
        self._store = MemoryStore(self._clock.now_ms)
        self._executor = Executor(
            leases=self._store.leases,
            effects=effects,
            clock=self._clock,
            secrets=secrets,
            loader=loader,
            children=children,
            released=lambda: None,
        )

    async def play(self, request: AcceptRequest, events: Sequence[Mapping[str, Any] | Arrival]) -> Outcome:
        """Simulate a run until it has ended, or nothing more can happen.

        Raises Unmocked, ExpectationFailed for an event that is no CloudEvent, and the error of a mock.
        """
        self._coming.extend(self._arrivals(events))
        await self._store.intake().accept(request)
        leases, executor = self._store.leases, self._executor
        self._settling = asyncio.create_task(executor.settle_commits())
        try:
            async with leases.cancellations(executor.cancel), leases.inbox_changes(executor.read_inbox):
                root = self._store.records[request.uid]
                while await self._settle() and root.ended_ms is None and await self._time_passes():
                    pass
            if not self._real_time:
                await asyncio.sleep(0)  # effects that no task awaits begin after the last commit
            return self._outcome(root)
        finally:
            self._settling.cancel()
            executor.abandon()
            await executor.end()
            if not self._family.failure.cancel():
                # Retrieved, if another error has ended the test before.
                self._family.failure.exception()

    def _arrivals(
        self, events: Sequence[Mapping[str, Any] | Arrival]
    ) -> Iterator[tuple[float | None, bytes]]:
        for index, each in enumerate(events):
            arrival = each if isinstance(each, Arrival) else Arrival(event=each)
            yield arrival.after_s, encode(envelope_of(arrival.event, index, self._began_ms))

    def end_child(self, uid: str, frame: int, result: bytes) -> None:
        """Send the result of a child that the simulation does not execute to its parent, as JSON."""
        self._store.end_child(uid, frame, result)

    def pointer(self, uid: str, frame: int) -> str | None:
        """Return the static pointer of a frame of a simulated run, None if the run has left it."""
        run = self._executor.runs.get(uid)
        found = None if run is None else run.state.frames.get(frame)
        return None if found is None else found.pointer

    # Without time passing.

    async def _settle(self) -> bool:
        """Let all simulated runs go on until they only wait for time or events; always true."""
        while True:
            await self._proceed()
            under_way = [task for run in self._executor.runs.values() for task in run.effects.values()]
            if not under_way:
                return True
            if not self._real_time:
                # Effects that were started last begin here.
                await asyncio.sleep(0)
                if self._executor.busy or self._family.failure.done():
                    continue
                return True
            next_ms = min((ms for ms in (self._due_ms(), self._arrival_ms) if ms is not None), default=None)
            # A real effect may end after a time that is due before.
            left_s = None if next_ms is None else max(next_ms - self._clock.now_ms(), 0) / 1000
            done, _ = await asyncio.wait(
                [*under_way, self._family.failure], timeout=left_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                await self._advance()

    async def _proceed(self) -> None:
        """Let all simulated runs compute, commit, start children and get events, until none of them can."""
        while True:
            # Effects that were started last begin here, and their first steps may end the test.
            await asyncio.sleep(0)
            for failed in (self._family.failure, self._settling):
                if failed.done():
                    failed.result()
            if self._executor.busy:
                continue
            if not await self._take() and not await self._match() and not self._executor.busy:
                return

    async def _take(self) -> bool:
        """Take the queued runs of the simulation; tell whether there were any."""
        leases, executor = self._store.leases, self._executor
        # The clock may have jumped beyond the end of a lease that is still held.
        await leases.renew(WORKER, {uid: run.claim.token for uid, run in executor.runs.items()})
        taken = await leases.take(WORKER, TAKEN)
        for claim in taken.claims:
            executor.begin(claim, math.inf)
        return bool(taken.claims)

    async def _match(self) -> bool:
        """Deliver the events that simulated runs have published; tell whether there were any."""
        return await match_next(self._store.events, WORKER)

    # Time and events.

    async def _time_passes(self) -> bool:
        """Let time of the simulation pass to the next event or due time; return False if there is neither."""
        if self._coming and self._coming[0][0] is None and self._listening:
            await self._publish_next()
            return True
        return await self._advance()

    async def _advance(self) -> bool:
        """Advance the simulation to the next due time or event; return False if there is neither."""
        due_ms, arrival_ms = self._due_ms(), self._arrival_ms
        if arrival_ms is not None and (due_ms is None or arrival_ms <= due_ms):
            # Delivered before the timers of the same time.
            await self._publish_next()
            await self._match()
            self._clock.skip_to(arrival_ms)
            return True
        if due_ms is None:
            return False
        self._clock.move_to(due_ms)
        return True

    async def _publish_next(self) -> None:
        _, event = self._coming.popleft()
        await self._store.events.publish([event])

    @property
    def _arrival_ms(self) -> int | None:
        """Time of the next event of the simulation; None if there is none or it waits for a listener."""
        after_s = self._coming[0][0] if self._coming else None
        return None if after_s is None else self._began_ms + round(after_s * 1000)

    @property
    def _listening(self) -> bool:
        return any(record.wants for record in self._store.records.values())

    def _due_ms(self) -> int | None:
        """Return the earliest due time of all simulated runs, here and in the store."""
        timer_ms = self._clock.due_ms
        due = [] if timer_ms is None else [timer_ms]
        due += [record.due_ms for record in self._store.records.values() if record.state == "timer"]
        return min(filter(None, due), default=None)

    # The outcome.

    def _outcome(self, record: Record) -> Outcome:
        ended_ms = self._clock.now_ms() if record.ended_ms is None else record.ended_ms
        waiting = None if record.waiting_for is None else decode(record.waiting_for)
        children = [self._store.records.get(uid) for uid in self._family.children.get(record.uid, ())]
        return Outcome(
            uid=record.uid,
            status=record.status,
            output=None if record.output is None else decode(record.output),
            error=None if record.error is None else decode(record.error),
            notes=tuple(_notes(record)),
            calls=tuple(self._family.calls.get(record.uid, ())),
            waiting_for=None if waiting is None or record.ended_ms is not None else WaitingFor(**waiting),
            elapsed_s=(ended_ms - record.started_ms) / 1000,
            workflow=record.workflow,
            input=decode(record.input),
            emitted=tuple(decode(event) for event in record.emitted),
            children=tuple(self._outcome(child) for child in children if child is not None),
        )


def _notes(record: Record) -> Iterator[Note]:
    """Yield the journal of a simulated run as the engine wrote it."""
    for line in record.journal:
        entry = decode(line)
        if entry["kind"] != "task.created":
            yield Note(
                kind=entry["kind"],
                at_ms=entry["at"],
                reference=entry.get("reference", ""),
                name=entry.get("name", ""),
                detail=entry.get("detail") or {},
            )
