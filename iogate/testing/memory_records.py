"""Records of runs in memory, with the rules of the store's scripts for their states, messages and events.

Used by `memory_store`. There are no gates and limits, suspects, seals, attempts or retention, and no journal
entries of the store's own changes. Invariant: a run is in exactly one state, and its subscriptions, messages
and awaited children end with it.

    accept ──▶ queue ──▶ lease ──▶ end
                 ▲         ├──▶ timer ──▶ queue, at its time or with a message
                 └─────────┴──▶ suspended ──▶ the state before
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from iogate.store import keys
from iogate.store.events.bus import fingerprint, types_of
from iogate.store.runs.claims import Claim, Message
from iogate.store.runs.commits import Child, Commit, TaskRow
from iogate.store.runs.uids import UidSource
from iogate.store.runs.views import RunView, TaskView

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Wanted:
    """Subscription of a frame; `since` is the number of the last event that it has got."""

    since: int
    types: list[str]
    filters: bytes


@dataclass(eq=False, slots=True, kw_only=True)
class Record:
    """One run."""

    uid: str
    api: str
    workflow: str
    program: str
    revision: int
    caller: str
    input: bytes
    created_ms: int
    retention_s: float = 604_800.0
    timeout_s: float | None = None
    depth: int = 0
    parent: tuple[str, int] | None = None
    """Run and frame that wait for it."""
    status: str = "pending"
    state: Literal["queue", "lease", "timer", "suspended", "end"] = "queue"
    token: int = 0
    seq: int = 0
    worker: str = ""
    leased_until_ms: int = 0
    left: tuple[int, str] = (0, "")
    """Sequence number of the state, and the worker that released it without a commit."""
    started_ms: int = 0
    ended_ms: int | None = None
    due_ms: int = 0
    deadline_ms: int | None = None
    waiting_for: bytes | None = None
    cancel_reason: str | None = None
    suspended: str | None = None
    """The status to restore, of a run that is suspended or will be."""
    head: bytes | None = None
    frames: dict[str, bytes] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    output: bytes | None = None
    error: bytes | None = None
    tasks: dict[str, TaskView] = field(default_factory=dict)
    journal: list[bytes] = field(default_factory=list)
    recorded: list[bytes] = field(default_factory=list)
    emitted: list[bytes] = field(default_factory=list)
    posted: int = 0
    inbox: list[Message] = field(default_factory=list)
    wants: dict[int, Wanted] = field(default_factory=dict)
    children: dict[int, str] = field(default_factory=dict)
    """Children that it waits for, by frame."""

    def claim(self) -> Claim:
        """Return the claim on a record of a run in memory, as its worker gets it."""
        seq, left = self.left
        return Claim(
            uid=self.uid,
            token=self.token,
            seq=self.seq,
            api=self.api,
            workflow=self.workflow,
            program=self.program,
            revision=self.revision,
            caller=self.caller,
            input=self.input,
            created_at_ms=self.created_ms,
            started_at_ms=self.started_ms,
            deadline_ms=self.deadline_ms,
            timeout_s=self.timeout_s,
            retention_s=self.retention_s,
            attempt=1,
            deaths=0,
            cancelled=self.cancel_reason is not None,
            reason=self.cancel_reason or "",
            head=self.head,
            frames=dict(self.frames),
            values=dict(self.values),
            inbox=tuple(self.inbox[: keys.INBOX_READ]),
            depth=self.depth,
            parent="" if self.parent is None else "{}/{}".format(*self.parent),
            left=left if self.seq and seq == self.seq else "",
        )

    def view(self) -> RunView:
        """Return the view of a record of a run in memory, as readers see it."""
        return RunView(
            uid=self.uid,
            status=self.status,
            state=self.state,
            api=self.api,
            workflow=self.workflow,
            program=self.program,
            revision=self.revision,
            caller=self.caller,
            attempt=1,
            created_at_ms=self.created_ms,
            started_at_ms=self.started_ms or None,
            ended_at_ms=self.ended_ms,
            deadline_ms=self.deadline_ms,
            retention_s=self.retention_s,
            input=self.input,
            output=self.output,
            error=self.error,
            waiting_for=self.waiting_for,
            cancel_reason=self.cancel_reason,
            worker=self.worker,
            deaths=0,
            tasks=tuple(self.tasks.values()),
            parent=None if self.parent is None else self.parent[0],
        )


class MemoryRuns:
    """All runs, the queue of workers, and the events that are not matched yet."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.records: dict[str, Record] = {}
        self.queue: deque[str] = deque()
        self.events: deque[tuple[int, bytes]] = deque()
        """Number and CloudEvent."""
        self.published = 0
        self.on_cancel: list[Callable[[str], object]] = []
        self.on_message: list[Callable[[str], object]] = []
        self._seen: set[str] = set()
        self._uids = UidSource()

    def add(self, record: Record) -> None:
        """Queue the record of a new run in memory."""
        self.records[record.uid] = record
        self.queue.append(record.uid)

    def wake(self, record: Record) -> None:
        """Queue the record in memory of a run that was leased or waiting."""
        record.state, record.worker = "queue", ""
        self.queue.append(record.uid)

    def release(self, record: Record) -> None:
        """Release the lease on a record of a run in memory without a commit."""
        record.left = (record.seq, record.worker)
        if record.seq == 0:
            record.status, record.started_ms = "pending", 0
        if record.suspended is not None and record.cancel_reason is None:
            self.set_suspended(record, record.status)
        else:
            self.wake(record)

    def set_suspended(self, record: Record, status: str) -> None:
        """Suspend the record of a run in memory; `status` is restored when it is resumed."""
        record.state, record.worker = "suspended", ""
        record.suspended, record.status = status, "suspended"

    def withdraw(self, record: Record) -> None:
        """Take the record of a run in memory out of the queue."""
        if record.state == "queue":
            self.queue.remove(record.uid)

    def commit(self, record: Record, commit: Commit, lease_ms: int) -> bool:
        """Apply a commit to the record of a run in memory if it is the next; tell whether it was queued."""
        record.seq, record.status = commit.seq, commit.status
        self._reach(record, commit)
        self._write(record, commit)
        if commit.move == "end":
            record.output, record.error = commit.output, commit.error
            self.finish(record, commit.status)
            return False
        record.waiting_for, record.due_ms = commit.waiting_for, commit.due_ms or 0
        record.deadline_ms = commit.deadline_ms or record.deadline_ms
        if commit.move == "keep":
            record.leased_until_ms = self.now_ms() + lease_ms
            return False
        if record.suspended is not None and record.cancel_reason is None:
            self.set_suspended(record, "running" if commit.move == "queue" else commit.status)
            return False
        if commit.move == "queue" or record.cancel_reason is not None or self.is_due(record):
            self.wake(record)
            return True
        record.state, record.worker = "timer", ""
        return False

    def is_due(self, record: Record) -> bool:
        """Tell whether the record of a waiting run in memory has messages, or its time has passed."""
        return bool(record.inbox) or 0 < record.due_ms <= self.now_ms()

    def _write(self, record: Record, commit: Commit) -> None:
        if commit.head:
            record.head = commit.head
        _update(record.frames, commit.frames, commit.frames_gone)
        _update(record.values, commit.values, commit.values_gone)
        for row in commit.tasks:
            known = record.tasks.get(row.reference)
            if known is not None or len(record.tasks) < keys.TASK_ROWS:
                record.tasks[row.reference] = _merge(known, row)
        record.recorded += _within_limit(record.recorded, commit.recorded)
        record.journal = [*record.journal, *commit.journal][-keys.JOURNAL_ENTRIES :]

    def _reach(self, record: Record, commit: Commit) -> None:
        """Apply a commit's changes beyond the record of its run in memory: subscriptions first.

        An event of the commit may match one of its own subscriptions.
        """
        record.inbox = [message for message in record.inbox if message.number > commit.inbox_done]
        for frame, filters in commit.wants.items():
            known = record.wants.get(frame)
            # A changed subscription keeps its position.
            since = self.published if known is None else known.since
            record.wants[frame] = Wanted(since, types_of(filters), filters)
        for frame in commit.wants_gone:
            record.wants.pop(frame, None)
        for frame in commit.children_gone:
            child = record.children.pop(frame, None)
            if child is not None:
                self.cancel(child, f"its parent {record.uid} does not wait for it any more")
        for started in commit.children:
            self._start(record, started)
        for index, event in enumerate(commit.emits):
            self.publish(event, once=index in commit.once)
        record.emitted += commit.emits

    def _start(self, parent: Record, child: Child) -> None:
        uid = child.uid if child.uid not in self.records else self._uids.next()
        if child.awaits:
            parent.children[child.frame] = uid
        self.add(
            Record(
                uid=uid,
                api=child.api,
                workflow=child.facts.workflow,
                program=child.facts.program,
                revision=child.facts.revision,
                caller=child.facts.caller,
                input=child.input,
                created_ms=self.now_ms(),
                retention_s=parent.retention_s,
                timeout_s=child.facts.timeout_s,
                depth=parent.depth + 1,
                parent=(parent.uid, child.frame) if child.awaits else None,
            )
        )

    def finish(self, record: Record, status: str) -> None:
        """End the record of a run in memory with what hangs on it; send the result to its waiting parent."""
        record.state, record.status, record.ended_ms = "end", status, self.now_ms()
        record.worker = ""
        children = list(record.children.values())
        record.wants.clear()
        record.inbox.clear()
        record.children.clear()
        for child in children:
            self.cancel(child, f"its parent {record.uid} has ended")
        if record.parent is None:
            return
        uid, frame = record.parent
        parent = self.records[uid]
        if parent.children.get(frame) == record.uid:
            del parent.children[frame]
            output = msgspec.Raw(record.output or b"null")
            error = msgspec.Raw(record.error or b"null")
            self.post(parent, frame, "child", _encode({"status": status, "output": output, "error": error}))

    def cancel(self, uid: str, reason: str) -> str:
        """Request the end of a run by its record in memory; one that never started ends here."""
        record = self.records.get(uid)
        if record is None or record.state == "end":
            return "unknown" if record is None else "ended"
        if record.cancel_reason is None:
            record.cancel_reason = reason
        if record.state == "lease":
            _call(self.on_cancel, uid)
        elif record.seq == 0:
            self.withdraw(record)
            self.finish(record, "cancelled")
            return "cancelled"
        elif record.state in ("timer", "suspended"):
            record.suspended = None
            self.wake(record)
        return "asked"

    def post(self, record: Record, frame: int, kind: Literal["event", "child"], data: bytes) -> None:
        """Put a message into the inbox of a run's record in memory."""
        record.posted += 1
        record.inbox.append(Message(number=record.posted, frame=frame, kind=kind, data=data))
        if record.state == "timer":
            self.wake(record)
        elif record.state == "lease":
            _call(self.on_message, record.uid)

    def publish(self, event: bytes, *, sender: str = "", once: bool = False) -> bool:
        """Publish an event to the records of runs in memory; False for a duplicate; `once` rules that out."""
        name, kind = fingerprint(event, sender)
        if not once:
            if name in self._seen:
                return False
            self._seen.add(name)
        wanted = {kind, ""}
        if any(not wanted.isdisjoint(each.types) for r in self.records.values() for each in r.wants.values()):
            self.published += 1
            self.events.append((self.published, event))
        return True

    def deliver(self, number: int, uid: str, frame: int) -> None:
        """Put an event into the inbox of a run's record in memory that has not got it yet."""
        record = self.records.get(uid)
        wanted = None if record is None else record.wants.get(frame)
        if record is None or wanted is None or number <= wanted.since:
            return
        for known, event in self.events:
            if known == number:
                wanted.since = number
                self.post(record, frame, "event", event)


def _within_limit(kept: Sequence[bytes], entries: Sequence[bytes]) -> list[bytes]:
    """Return the journal entries that a record of a run in memory keeps, with a mark for the others."""
    mark = keys.RECORDED_FULL.encode()
    if kept and kept[-1] == mark:
        return []
    size, within = sum(map(len, kept)), []
    for entry in entries:
        size += len(entry)
        within.append(entry if size <= keys.RECORDED_BYTES else mark)
        if size > keys.RECORDED_BYTES:
            break
    return within


def _update(stored: dict[str, bytes], changed: Mapping[str, bytes], gone: Sequence[str]) -> None:
    stored.update(changed)
    for key in gone:
        stored.pop(key, None)


def _merge(known: TaskView | None, row: TaskRow) -> TaskView:
    """Return the row of a task in a run's record: first start, last end, and the sum of its starts."""
    return TaskView(
        reference=row.reference,
        name=row.name if known is None else known.name,
        status=row.status,
        started_at_ms=row.started_at_ms if known is None else known.started_at_ms,
        ended_at_ms=row.ended_at_ms,
        attempt=row.attempt,
        count=row.count + (0 if known is None else known.count),
    )


def _call(listeners: list[Callable[[str], object]], uid: str) -> None:
    for listener in listeners:
        listener(uid)
