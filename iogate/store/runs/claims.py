"""A run that a worker may advance, as the take script hands it out.

Made by `leases` for workers. Pure decoding. Invariant: what cannot be read is no claim, and no reason to
lose the others of its batch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from iogate.security.keyring import Keyring
from iogate.store.connection.connection import pairs
from iogate.store.integrity import seals
from iogate.store.integrity.seals import Facts
from iogate.store.runs.compression import inflate

log = logging.getLogger(__name__)

_facts = msgspec.json.Decoder(Facts)
LONGEST_NAME = 255


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """News for one frame of a run: an event that it may want, or the end of its child."""

    number: int
    """Counts up over the whole life of the run, from 1."""
    frame: int
    kind: Literal["event", "child"]
    data: bytes
    """JSON: the CloudEvent; of a child `{"status", "output", "error"}`."""
    forged: bool = False
    """Nobody with a key published the event, or ended the child so: the data are left out."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A run that this worker may advance, with all that the engine needs to go on."""

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
    frames: dict[str, bytes]
    values: dict[str, bytes]
    inbox: tuple[Message, ...] = ()
    """What has come for the run and no commit has taken in yet: the first INBOX_READ of it."""
    depth: int = 0
    """How many runs are above it: 0 where a caller or a schedule started it."""
    parent: str = ""
    """`UID/FRAME` of the run that waits for it; empty where none does."""
    left: str = ""
    """Name of the worker that let go of it last without a commit: what is under way had begun there."""
    forged: str = ""
    """Why it must not be executed: what is stored of it was not written by a process with a key."""


def decode_claim(fields: list[Any], ring: Keyring) -> Claim | None:
    """A claim, None for what no gateway and no worker wrote: its lease runs out, and in the end it faults."""
    try:
        return _claim(fields, ring)
    except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        log.warning(
            "run %.40r cannot be read (%s): something else writes to the store",
            fields[0],
            type(error).__name__,
            extra={"action": "claim.unreadable"},
        )
        return None


def decode_messages(first: int, entries: Sequence[bytes], uid: str, ring: Keyring) -> tuple[Message, ...]:
    """The entries of a run's inbox, the first of which has the number `first`."""
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
    facts = _facts.decode(packed)
    stored = pairs(frames)
    kept: dict[str, bytes] = {}
    seal, head = stored.pop(seals.STATE, b""), stored.pop("head", None)
    forged = ""
    if not seals.verify_facts(ring, uid, api, packed, data):
        forged = "its record"
    elif head is not None and not seals.verify_state(ring, uid, head, stored, seal):
        forged = "its state"
    else:
        # Not before: what an outsider compressed may be of any size.
        found = seals.verified_values(stored, pairs(values))
        forged, kept = ("its state", {}) if found is None else ("", found)
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
        head=head,
        frames=stored,
        values=kept,
        inbox=decode_messages(first, inbox, uid.decode(), ring) if inbox and not forged else (),
        depth=depth,
        parent=facts.parent,
        left=left[0].decode("utf-8", "replace")[:LONGEST_NAME] if left else "",
        forged=forged,
    )
