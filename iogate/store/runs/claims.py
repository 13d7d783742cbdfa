"""Decoder of claims: runs that the take script has leased to a worker.

Used by `leases`. Pure. Invariant: an unreadable record yields no claim and does not affect the other claims
of its batch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from iogate.security.keyring import Keyring
from iogate.store.connection.connection import pairs
from iogate.store.integrity import seals
from iogate.store.runs.compression import inflate

log = logging.getLogger(__name__)

LONGEST_NAME = 255


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Inbox message for one frame of a run: an event that may match, or the end of its child."""

    number: int
    """Sequence number over the whole life of the run, from 1."""
    frame: int
    kind: Literal["event", "child"]
    data: bytes
    """JSON: the CloudEvent, or `{"status", "output", "error"}` of a child."""
    forged: bool = False
    """The seal of the message is not valid; its data are left out."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Run under lease of this worker, with all data that the engine needs to advance it."""

    uid: str
    token: int
    seq: int
    api: str
    workflow: str
    program: str
    revision: int
    caller: str
    input: bytes
    created_at_ms: int
    started_at_ms: int
    deadline_ms: int | None
    timeout_s: float | None
    retention_s: float
    attempt: int
    deaths: int
    cancelled: bool
    reason: str
    head: bytes | None
    frames: Mapping[str, bytes]
    values: Mapping[str, bytes]
    inbox: tuple[Message, ...] = ()
    """The first messages that no commit has consumed yet, at most INBOX_READ, up to about TAKE_BYTES."""
    depth: int = 0
    """Number of ancestor runs: 0 if a caller or a schedule started it."""
    parent: str = ""
    """`UID/FRAME` of the parent that waits for it, or empty."""
    trace: str = ""
    """Trace context of the caller that started it or its oldest ancestor, or empty."""
    left: str = ""
    """Name of the worker that last released it without a commit, and had begun the current tasks."""
    forged: str = ""
    """Part of the run whose seal is not valid, which forbids its execution; else empty."""


class _StoredState(NamedTuple):
    """Verified state of a claim, by the fields of `Claim`."""

    head: bytes | None
    frames: Mapping[str, bytes]
    values: Mapping[str, bytes]


_NO_STATE = _StoredState(None, {}, {})


def _state(
    uid: bytes, frames: dict[str, bytes], values: Sequence[bytes], ring: Keyring
) -> _StoredState | None:
    """Return the state of a claim; None if its seal is not valid."""
    seal, head = frames.pop(seals.STATE, b""), frames.pop("head", None)
    if head is not None and not seals.verify_state(ring, uid, head, frames, seal):
        return None
    # Only after the seal is verified: forged values may inflate to any size.
    found = seals.verified_values(frames, pairs(values))
    return None if found is None else _StoredState(head, frames, found)


def decode_claim(fields: list[Any], ring: Keyring) -> Claim | None:
    """Decode one claim; None for an unreadable record; its leases expire until the run faults."""
    try:
        return _claim(fields, ring)
    except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        log.warning(
            "run %.40r cannot be read (%s): another program writes to the store",
            fields[0],
            type(error).__name__,
            extra={"action": "claim.unreadable"},
        )
        return None


def decode_messages(first: int, entries: Sequence[bytes], uid: str, ring: Keyring) -> tuple[Message, ...]:
    """Decode messages of the inbox that comes with a claim; the first one has the number `first`."""
    return tuple(_message(number, entry, uid, ring) for number, entry in enumerate(entries, first))


def _message(number: int, entry: bytes, uid: str, ring: Keyring) -> Message:
    frame, kind, data = entry.split(b" ", 2)
    if kind == b"child":
        end = seals.open_end(ring, f"{uid}/{frame.decode()}", data)
        return Message(number=number, frame=int(frame), kind="child", data=end or b"", forged=end is None)
    event = seals.open_event(ring, data)
    return Message(number=number, frame=int(frame), kind="event", data=event or b"", forged=event is None)


def _claim(fields: list[Any], ring: Keyring) -> Claim:
    uid, token, seq, api, packed, data, created, started, deadline = fields[:9]
    attempt, deaths, retention, reason, frames, values = fields[9:15]
    depth, first, inbox, *left = fields[15:] or (0, 1, ())
    facts = seals.decode_facts(packed)
    forged, state = "", _NO_STATE
    if not seals.verify_facts(ring, uid, api, packed, data):
        forged = "its record"
    elif frames:
        found = _state(uid, pairs(frames), values, ring)
        forged, state = ("its state", _NO_STATE) if found is None else ("", found)
    return Claim(
        uid=uid.decode(),
        token=token,
        seq=seq,
        api=api.decode(),
        workflow=facts.workflow,
        program=facts.program,
        revision=facts.revision,
        caller=facts.caller,
        input=b"" if forged else inflate(data),
        created_at_ms=created,
        started_at_ms=started,
        deadline_ms=deadline or None,
        timeout_s=facts.timeout_s,
        retention_s=retention / 1000,
        attempt=attempt,
        deaths=deaths,
        cancelled=reason is not None,
        reason="" if reason is None else reason.decode(),
        head=state.head,
        frames=state.frames,
        values=state.values,
        inbox=decode_messages(first, inbox, uid.decode(), ring) if inbox and not forged else (),
        depth=depth,
        parent=facts.parent,
        trace=facts.trace,
        left=left[0].decode("utf-8", "replace")[:LONGEST_NAME] if left else "",
        forged=forged,
    )
