"""Store in memory, for the runs of one test: the interfaces of the store that a worker uses for its runs.

Used by `harness`. The suite of the store runs over it as over a server, so that a run in a test is one of
production. The records and their rules are in `memory_records`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from iogate.compiler.revision import Bundle, Revision
from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.events.bus import BATCH, Batch, Delivery, Subscription
from iogate.store.runs.claims import Claim, Message
from iogate.store.runs.commits import Commit
from iogate.store.runs.intake import Accepted, AcceptRequest
from iogate.store.runs.leases import CommitResult, RenewResult, TakeResult
from iogate.store.runs.uids import UidSource
from iogate.store.runs.views import RunView
from iogate.testing.memory_records import MemoryRuns, Record
from iogate.timing.clock import epoch_ms

Listener = Callable[[str], object]

VOID = CommitResult(applied=False)
ENDED = CommitResult(applied=True)


class MemoryStore:
    """Facade with the names of `Store`."""

    def __init__(self, now_ms: Callable[[], int] = epoch_ms) -> None:
        state = MemoryRuns(now_ms)
        self.records: Mapping[str, Record] = state.records
        """All runs, by uid, in the order in which they were accepted."""
        self.leases = MemoryLeases(state)
        self.runs = MemoryOperations(state)
        self.events = MemoryEvents(state)
        self.revisions = MemoryRevisions()
        self._intake = MemoryIntake(state)
        self._state = state

    def end_child(self, uid: str, frame: int, result: bytes) -> None:
        """Send the result of a child without a record in the memory store to the run that waits for it."""
        record = self._state.records.get(uid)
        if record is not None and record.ended_ms is None:
            self._state.post(record, frame, "child", result)

    def intake(self) -> MemoryIntake:
        """Return the intake of calls into the memory store."""
        return self._intake


class MemoryIntake:
    """Intake of calls."""

    def __init__(self, state: MemoryRuns) -> None:
        self._state = state
        self._uids = UidSource()

    def uid(self) -> str:
        """Draw an id for a request to the memory store."""
        return self._uids.next()

    async def accept(self, request: AcceptRequest) -> Accepted:
        """Store a call as a new run of the memory store."""
        self._state.add(
            Record(
                uid=request.uid,
                api=request.api,
                workflow=request.workflow,
                program=request.program,
                revision=request.revision,
                caller=request.caller,
                input=request.input,
                created_ms=self._state.now_ms(),
                retention_s=request.retention_s,
                timeout_s=request.timeout_s,
            )
        )
        return Accepted(uid=request.uid)


class MemoryLeases:
    """Leases of runs; a run whose lease ends is queued again."""

    def __init__(self, state: MemoryRuns) -> None:
        self._state = state

    async def take(
        self, worker: str, limit: int, *, lease_ms: int = keys.LEASE_MS, solitary: bool = False
    ) -> TakeResult:
        """Lease up to `limit` runs of the memory store; wake due timers and end expired leases first."""
        state, now_ms = self._state, self._state.now_ms()
        records = list(state.records.values())
        waking = [each for each in records if each.state == "timer" and 0 < each.due_ms <= now_ms]
        for record in sorted(waking, key=lambda each: each.due_ms):
            state.wake(record)
        for record in records:
            if record.state == "lease" and record.leased_until_ms <= now_ms:
                state.release(record)
        claims: list[Claim] = []
        while state.queue and len(claims) < limit and not solitary:
            record = state.records[state.queue.popleft()]
            record.state, record.status, record.worker = "lease", "running", worker
            record.token += 1
            record.started_ms = record.started_ms or now_ms
            record.leased_until_ms = now_ms + lease_ms
            claims.append(record.claim())
        return TakeResult(now_ms=now_ms, claims=tuple(claims), suspended=False, suspects=0)

    async def commit(self, commits: Sequence[Commit], *, lease_ms: int = keys.LEASE_MS) -> list[CommitResult]:
        """Apply commits to the memory store and return their results in order; idempotent."""
        return [self._commit(commit, lease_ms) for commit in commits]

    def _commit(self, commit: Commit, lease_ms: int) -> CommitResult:
        record = self._state.records.get(commit.uid)
        if record is None or record.token != commit.token:
            return VOID
        woken = False
        if record.seq != commit.seq:
            if record.seq + 1 != commit.seq or record.state != "lease":
                return VOID
            woken = self._state.commit(record, commit, lease_ms)
        if record.state == "end":
            return ENDED
        return CommitResult(
            applied=True,
            cancelled=record.cancel_reason is not None,
            woken=woken,
            suspended=record.suspended is not None,
        )

    async def renew(
        self, _worker: str, held: Mapping[str, int], *, lease_ms: int = keys.LEASE_MS
    ) -> RenewResult:
        """Extend leases in the memory store; return which are lost, and the runs that need attention."""
        found = [record for uid, token in held.items() if (record := self._leased(uid, token)) is not None]
        for record in found:
            record.leased_until_ms = self._state.now_ms() + lease_ms
        return RenewResult(
            lost=frozenset(held) - {record.uid for record in found},
            cancelled=frozenset(record.uid for record in found if record.cancel_reason is not None),
            woken=frozenset(record.uid for record in found if record.inbox),
            suspended=frozenset(record.uid for record in found if record.suspended is not None),
        )

    def _leased(self, uid: str, token: int) -> Record | None:
        record = self._state.records.get(uid)
        return record if record and record.state == "lease" and record.token == token else None

    async def inbox(self, uid: str, token: int) -> tuple[Message, ...]:
        """Return the first messages of a run in the memory store; empty if the lease is lost."""
        record = self._leased(uid, token)
        return () if record is None else tuple(record.inbox[: keys.INBOX_READ])

    async def release(self, _worker: str, held: Mapping[str, int]) -> None:
        """Release leases in the memory store without a commit; the runs are queued again."""
        for uid, token in held.items():
            record = self._leased(uid, token)
            if record is not None:
                self._state.release(record)

    def cancellations(self, listener: Listener) -> contextlib.AbstractAsyncContextManager[None]:
        """Return a context that calls `listener(uid)` when a leased run of the memory store is cancelled."""
        return _listening(self._state.on_cancel, listener)

    def inbox_changes(self, listener: Listener) -> contextlib.AbstractAsyncContextManager[None]:
        """Return a context that calls `listener(uid)` for messages to leased runs of the memory store."""
        return _listening(self._state.on_message, listener)


class MemoryOperations:
    """Operations on runs without a lease."""

    def __init__(self, state: MemoryRuns) -> None:
        self._state = state

    async def show(self, uid: str) -> RunView | None:
        """Return a run of the memory store; None if there is none."""
        record = self._state.records.get(uid)
        return None if record is None else record.view()

    async def journal(self, uid: str) -> list[bytes]:
        """Return the kept journal entries of a run in the memory store."""
        return list(self._state.records[uid].journal)

    async def recorded(self, uid: str) -> list[bytes]:
        """Return the recorded results of the tasks of a run in the memory store."""
        return list(self._state.records[uid].recorded)

    async def children(self, uid: str) -> list[str]:
        """Return the uids of the child runs that a run in the memory store waits for."""
        return sorted(self._state.records[uid].children.values(), key=int)

    async def counts(self) -> dict[str, int]:
        """Return the number of runs in the memory store by status."""
        statuses = [record.status for record in self._state.records.values()]
        return {status: statuses.count(status) for status in keys.STATUSES}

    async def cancel(self, uid: str, reason: str = "") -> str:
        """Cancel a run in the memory store; return `unknown`, `ended`, `asked`, or `cancelled` (at once)."""
        return self._state.cancel(uid, reason)

    async def suspend(self, uid: str) -> str:
        """Suspend a run in the memory store; return the outcome.

        The outcomes are `unknown`, `ended`, `cancelled` (about to end), `asked` and `suspended`.
        """
        record = self._state.records.get(uid)
        if record is None or record.state == "end":
            return "unknown" if record is None else "ended"
        if record.cancel_reason is not None:
            return "cancelled"
        if record.state == "lease":
            record.suspended = record.status
            return "asked"
        if record.state != "suspended":
            self._state.withdraw(record)
            self._state.set_suspended(record, record.status)
        return "suspended"

    async def resume(self, uid: str) -> str:
        """Resume a run in the memory store; return `unknown`, `ended`, `not suspended`, or `resumed`."""
        record = self._state.records.get(uid)
        if record is None or record.state == "end":
            return "unknown" if record is None else "ended"
        status, record.suspended = record.suspended, None
        if status is None:
            return "not suspended"
        if record.state == "suspended":
            record.status = status
            if status != "waiting" or self._state.is_due(record):
                self._state.wake(record)
            else:
                record.state = "timer"
        return "resumed"


class MemoryEvents:
    """Event bus with one matcher."""

    def __init__(self, state: MemoryRuns) -> None:
        self._state = state

    async def publish(self, events: Sequence[bytes], *, sender: str = "") -> int:
        """Publish CloudEvents in the memory store, each a JSON object, and return how many were new."""
        return sum(self._state.publish(event, sender=sender) for event in events)

    async def take(self, _owner: str, limit: int = BATCH) -> Batch:
        """Return the next events of the memory store, and the subscriptions that may match them by type."""
        waiting = self._state.events
        events = tuple(waiting)[: min(limit, BATCH)]
        if not events:
            return Batch()
        return Batch(
            events=events,
            subscriptions=tuple(
                Subscription(uid=record.uid, frame=frame, filters=wanted.filters)
                for record in self._state.records.values()
                for frame, wanted in record.wants.items()
            ),
            more=len(waiting) > len(events),
        )

    async def deliver(self, _owner: str, upto: int, deliveries: Sequence[Delivery]) -> bool:
        """Deliver events of the memory store to subscriptions, then remove those up to `upto`. Idempotent."""
        state = self._state
        for each in sorted(deliveries, key=lambda each: each.number):
            state.deliver(each.number, each.uid, each.frame)
        while state.events and state.events[0][0] <= upto:
            state.events.popleft()
        return True

    async def waiting(self) -> int:
        """Return the number of events in the memory store that are not matched yet."""
        return len(self._state.events)


class MemoryRevisions:
    """Published revisions, numbered from 1; the last one is live."""

    def __init__(self, *bundles: Bundle) -> None:
        self._bundles = list(bundles)

    async def publish(self, bundle: Bundle) -> int:
        """Make a bundle live in the memory store and return its revision number."""
        self._bundles.append(bundle)
        return len(self._bundles)

    async def live(self) -> tuple[int, str] | None:
        """Return number and digest of the live revision in the memory store, None if there is none."""
        return (len(self._bundles), self._bundles[-1].revision.digest) if self._bundles else None

    async def live_for(self, api: str) -> tuple[int, str] | None:
        """Return the live revision in the memory store; there is one project."""
        del api
        return await self.live()

    async def load(self, number: int) -> Revision:
        """Return a revision in the memory store.

        Raises NotFound for an unknown number.
        """
        if not 0 < number <= len(self._bundles):
            raise NotFound(f"there is no revision {number}")
        return self._bundles[number - 1].revision

    async def program(self, digest: str) -> bytes:
        """Return the definition of a program in the memory store.

        Raises NotFound if no revision has it.
        """
        return self._blob("program", digest, (bundle.programs for bundle in self._bundles))

    async def content(self, digest: str) -> bytes:
        """Return a file in the memory store that workflows name.

        Raises NotFound if no revision has it.
        """
        return self._blob("content", digest, (bundle.contents for bundle in self._bundles))

    @staticmethod
    def _blob(noun: str, digest: str, known: Any) -> bytes:
        for blobs in known:
            if digest in blobs:
                found: bytes = blobs[digest]
                return found
        raise NotFound(f"there is no {noun} {digest[:12]}")


@contextlib.asynccontextmanager
async def _listening(listeners: list[Listener], listener: Listener) -> AsyncIterator[None]:
    listeners.append(listener)
    try:
        yield
    finally:
        listeners.remove(listener)
