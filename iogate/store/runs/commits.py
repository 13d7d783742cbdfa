"""Commits: the atomic step by which a worker changes a run, and its packed form for the script.

Made by workers, sent by `leases`. Pure. Invariant: the packed form contains only fields that change, so that
a run of one step costs no more than it needs.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from iogate.security.keyring import Keyring, digest
from iogate.store.connection.packing import flat, text
from iogate.store.events.bus import fingerprint, types_of
from iogate.store.integrity import seals
from iogate.store.integrity.seals import Facts
from iogate.store.runs.compression import deflate, deflate_all
from iogate.store.statistics.error_groups import group_of

Move = Literal["keep", "park", "queue", "end"]


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """Update of one task; the store sums up `count` and keeps the first start."""

    reference: str
    name: str
    status: str
    started_at_ms: int
    ended_at_ms: int | None = None
    attempt: int = 1
    count: int = 1


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """Child run to start together with a commit."""

    uid: str
    """Drawn by the worker; if it is taken, nothing is applied and `Leases.commit` draws another one."""
    api: str
    """API of its parent, to which it belongs."""
    frame: int
    facts: Facts
    input: bytes
    awaits: bool


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """Atomic change of one run, fenced by token and sequence number."""

    uid: str
    token: int
    seq: int
    """Sequence number: that of the claim plus one, and one more with each commit."""
    move: Move
    status: str
    due_ms: int | None = None
    waiting_for: bytes | None = None
    deadline_ms: int | None = None
    head: bytes | None = None
    """State, together with frames and values; at an end, only a faulted run keeps it, for `retry`."""
    frames: Mapping[str, bytes] = {}
    frames_gone: Sequence[str] = ()
    digests: Mapping[str, bytes] | None = None
    """Digests of all frames of the state, by frame; None if `frames` is complete."""
    values: Mapping[str, bytes] = {}
    values_gone: Sequence[str] = ()
    tasks: Sequence[TaskRow] = ()
    journal: Sequence[bytes] = ()
    recorded: Sequence[bytes] = ()
    """Results of tasks in JSON, for replays."""
    output: bytes | None = None
    error: bytes | None = None
    has_parent: bool = False
    """The script passes the output to the parent, so the output must not be compressed."""
    inbox_done: int = 0
    """The highest message number that the state has consumed."""
    wants: Mapping[int, bytes] = {}
    """New or changed subscriptions: frame to the JSON list of its filters."""
    wants_gone: Sequence[int] = ()
    children: Sequence[Child] = ()
    scheduled: bool = False
    """A schedule starts the children: each starts only if the queue has room."""
    handles_fault: bool = False
    """The last of the children is started by the fault with which the run ends."""
    children_gone: Sequence[int] = ()
    """Frames that no longer wait for their child, which is cancelled."""
    emits: Sequence[bytes] = ()
    """CloudEvents in JSON for the bus; they can match `wants` of the same commit."""
    once: Collection[int] = ()
    """Positions in `emits` of events that need no deduplication, because only this commit publishes them."""
    parent: str = ""
    """`UID/FRAME` of the parent that gets the result, as in the facts of the run."""
    outbox: Mapping[str, Sequence[bytes]] = {}
    """Sink name to its CloudEvents in JSON, in order."""

    @property
    def size(self) -> int:
        """Size of the user data that the commit writes, in bytes; texts of errors are in the journal, too."""
        size = len(self.output or b"") + len(self.error or b"")
        # Most commits have few of these, and each run asks twice.
        for stored in (self.frames, self.values):
            if stored:
                size += sum(map(len, stored.values()))
        for written in (self.journal, self.emits, self.recorded, *self.outbox.values()):
            if written:
                size += sum(map(len, written))
        for child in self.children:
            size += len(child.input)
        return size


def pack_commit(c: Commit, ring: Keyring) -> dict[str, Any]:
    """Return the fields of a commit that the script reads, sealed; absent values are left out.

    Raises Misused if a seal is needed and the keyring has no keys.
    """
    fields: dict[str, Any] = {
        "uid": c.uid,
        "token": c.token,
        "seq": c.seq,
        "move": c.move,
        "status": c.status,
    }
    if c.due_ms:
        fields["due"] = c.due_ms
    if c.waiting_for:
        fields["waiting"] = text(c.waiting_for)
    if c.deadline_ms:
        fields["deadline"] = c.deadline_ms
    if c.head:
        fields["head"] = text(c.head)
        digests = c.digests
        if digests is None:
            digests = {name: digest(frame) for name, frame in c.frames.items()}
        seal = seals.seal_state(ring, c.uid, c.head, seals.manifest(digests))
        fields["frames"] = flat({**c.frames, seals.STATE: seal})
    elif c.frames:
        fields["frames"] = flat(c.frames)
    if c.frames_gone:
        fields["frames_gone"] = c.frames_gone
    if c.values:
        fields["values"] = flat(deflate_all(c.values))
    if c.values_gone:
        fields["values_gone"] = c.values_gone
    if c.tasks:
        fields["tasks"] = [
            (t.reference, t.name, t.status, t.started_at_ms, t.ended_at_ms or 0, t.attempt, t.count)
            for t in c.tasks
        ]
    if c.journal:
        fields["journal"] = [text(line) for line in c.journal]
    if c.recorded:
        fields["recorded"] = [text(entry) for entry in c.recorded]
    if c.output:
        fields["output"] = text(c.output if c.has_parent else deflate(c.output))
    if c.error:
        fields["error"] = text(c.error)
        if c.status == "faulted":
            fields["exc"] = rq_text(c.error)
            fields["group"] = group_of(c.error)
    if c.parent and c.move == "end":
        seal = seals.seal_end(ring, c.parent, c.status, c.output or b"", c.error or b"")
        fields["seal"] = text(seal)
    if c.handles_fault:
        fields["handler"] = c.children[-1].uid
    if reach := _reach(c, ring):
        fields["reach"] = reach
    return fields


def _reach(c: Commit, ring: Keyring) -> dict[str, Any]:
    """Return the fields of a commit that affect other objects than the run itself."""
    fields: dict[str, Any] = {}
    if c.inbox_done:
        fields["inbox_done"] = c.inbox_done
    if c.wants:
        fields["wants"] = [(frame, types_of(wanted), text(wanted)) for frame, wanted in c.wants.items()]
    if c.wants_gone:
        fields["wants_gone"] = c.wants_gone
    if c.children:
        fields["children"] = [_started(child, ring) for child in c.children]
        if c.scheduled:
            fields["scheduled"] = True
    if c.children_gone:
        fields["children_gone"] = c.children_gone
    if c.emits:
        fields["emits"] = [_emitted(event, ring, once=index in c.once) for index, event in enumerate(c.emits)]
    if c.outbox:
        fields["outbox"] = [(sink, [text(event) for event in events]) for sink, events in c.outbox.items()]
    return fields


def _started(child: Child, ring: Keyring) -> tuple[Any, ...]:
    stored = deflate(child.input)
    facts = seals.seal_facts(ring, child.uid, child.api, child.facts, stored)
    return child.uid, child.frame, text(facts), text(stored), int(child.awaits)


def _emitted(event: bytes, ring: Keyring, *, once: bool) -> tuple[str, str, Any]:
    known_by, kind = fingerprint(event)
    return "" if once else known_by, kind, text(seals.seal_event(ring, event))


def rq_text(error: bytes) -> str:
    """Encode the error of a committed run (JSON) as RQ stores an exception.

    Dashboards insert it into a page without escaping, and a caller may have chosen its text. So characters of
    HTML markup are escaped, which occur in JSON only within strings.
    """
    for character in b"<>&":
        error = error.replace(bytes((character,)), b"\\u%04x" % character)
    return base64.b64encode(zlib.compress(error)).decode()
