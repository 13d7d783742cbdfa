"""What a worker did to a run, as one step of the store; and how the script gets it.

Made by workers, sent by `leases`. Pure. Invariant: what a commit does not change takes no room in its
packed form, so that a run of one step pays for nothing else.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import msgspec

from iogate.security.keyring import Keyring
from iogate.store.connection.packing import flat, text
from iogate.store.events.bus import fingerprint, types_of
from iogate.store.integrity import seals
from iogate.store.integrity.seals import Facts
from iogate.store.runs.compression import deflate, deflate_all

Move = Literal["keep", "park", "queue", "end"]


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """News of one task; the store adds `count` up and keeps the first start."""

    reference: str
    name: str
    status: str
    started_at_ms: int
    ended_at_ms: int | None = None
    attempt: int = 1
    count: int = 1


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A run to start together with a commit."""

    uid: str
    """Drawn by the worker; where it is taken, nothing is applied and `Leases.commit` draws another."""
    api: str
    """Of its parent, whose API it belongs to."""
    frame: int
    facts: Facts
    input: bytes
    awaits: bool


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    uid: str
    token: int
    seq: int
    """One more than the claim's, then one more with each commit."""
    move: Move
    status: str
    due_ms: int | None = None
    waiting_for: bytes | None = None
    deadline_ms: int | None = None
    head: bytes | None = None
    """With frames and values: the state. Of an end, only a faulted one keeps it, for `retry`."""
    frames: Mapping[str, bytes] = {}
    frames_gone: Sequence[str] = ()
    digests: Mapping[str, bytes] | None = None
    """Of all frames of the state, by frame; None: `frames` are all that there are."""
    values: Mapping[str, bytes] = {}
    values_gone: Sequence[str] = ()
    tasks: Sequence[TaskRow] = ()
    journal: Sequence[bytes] = ()
    output: bytes | None = None
    error: bytes | None = None
    has_parent: bool = False
    """The script tells the output to the run that waits for it, and so must be able to read it."""
    inbox_done: int = 0
    """The highest message number that the state has taken in."""
    wants: Mapping[int, bytes] = {}
    """Subscriptions that began or changed: frame to the JSON list of its filters."""
    wants_gone: Sequence[int] = ()
    children: Sequence[Child] = ()
    scheduled: bool = False
    """The children are what a schedule starts: each starts where there is room in the queue, or not."""
    children_gone: Sequence[int] = ()
    """Frames that do not wait for their child any more: it is cancelled."""
    emits: Sequence[bytes] = ()
    """CloudEvents in JSON, for the bus. One that this commit's own `wants` wants reaches them."""
    once: Collection[int] = ()
    """Places in `emits` of events that nobody else publishes: the store need not remember them."""
    parent: str = ""
    """`UID/FRAME` of the run that an end is told to, as the run's facts have it."""
    outbox: Mapping[str, Sequence[bytes]] = {}
    """Name of a sink to CloudEvents in JSON for it, in their order."""

    @property
    def size(self) -> int:
        """Bytes of the user's data that it writes."""
        parts = chain(
            self.frames.values(),
            self.values.values(),
            (child.input for child in self.children),
            self.emits,
            *self.outbox.values(),
        )
        return len(self.output or b"") + sum(map(len, parts))


def pack_commit(c: Commit, ring: Keyring) -> dict[str, Any]:
    """What the script reads, by the names that it uses, sealed; nothing that is absent.

    Raises Misused for a keyring without keys, where something is to be sealed.
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
            digests = {name: seals.digest(frame) for name, frame in c.frames.items()}
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
    if c.output:
        fields["output"] = text(c.output if c.has_parent else deflate(c.output))
    if c.error:
        fields["error"] = text(c.error)
        if c.status == "faulted":
            fields["exc"] = rq_text(c.error)
    if c.parent and c.move == "end":
        seal = seals.seal_end(ring, c.parent, c.status, c.output or b"", c.error or b"")
        fields["seal"] = text(seal)
    if reach := _reach(c, ring):
        fields["reach"] = reach
    return fields


def _reach(c: Commit, ring: Keyring) -> dict[str, Any]:
    """What goes beyond the run itself."""
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
        fields["emits"] = [_emitted(event, ring, once=place in c.once) for place, event in enumerate(c.emits)]
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
    """Encode an error (JSON) as RQ stores an exception.

    Dashboards insert it into a page as it is, and a caller may have chosen its text. So HTML markup is
    escaped, which JSON allows in strings and has nowhere else.
    """
    for character in b"<>&":
        error = error.replace(bytes((character,)), b"\\u%04x" % character)
    return base64.b64encode(zlib.compress(error)).decode()
