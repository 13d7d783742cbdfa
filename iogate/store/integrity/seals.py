"""Seals of what processes keep in the store: a run's facts, its state, its end, and events.

Made where data enters the store, checked where a process acts on them. Pure. Invariants: a seal binds
its data to the run that they belong to, so that data of one run mean nothing in another; a script never
makes a seal, it stores what it is given.

    facts   uid, API, facts, input          by the gateway, or by the worker that starts the run
    state   uid, head, digest of each frame by the worker that commits; values are named by their digest
    end     parent and frame, status, output, error: what a child tells the run that waits for it
    event   the CloudEvent                  by whoever publishes it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from iogate.errors import WorkflowError
from iogate.security.keyring import SEAL_CHARACTERS, Keyring
from iogate.store.runs.compression import inflate

STATE: str = "seal"
"""Field of a run's frames that holds the seal of its state."""
_SCRIPT_ERRORS: dict[str, bytes] = {
    title: msgspec.json.encode(WorkflowError("runtime", status=500, title=title, detail=detail).to_json())
    for title, detail in (
        ("poisoned", "the workflow that it ran ended its workers; the record of that run says more"),
        ("the child run is gone", "the record of the run that it waited for was deleted"),
    )
}
"""Titles of errors with which scripts end runs, and the errors that the parents are given."""
_EMPTY = b'""]'
"""End of the JSON of facts that are not sealed yet: their seal is the last member."""


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What never changes in a run's record, as one JSON field."""

    revision: int
    workflow: str
    program: str
    caller: str
    timeout_s: float | None
    nonce: str
    parent: str = ""
    """`UID/FRAME` of the run that waits for this one; empty where none does."""
    seal: str = ""
    """Of all the rest with uid, API and input; `seal_facts` fills it in."""


_encode = msgspec.json.Encoder().encode


def seal_facts(ring: Keyring, uid: str, api: str, facts: Facts, data: bytes) -> bytes:
    """Return the JSON of a run's facts with their seal; `data` is the run's input as it is stored.

    Raises Misused for a keyring without keys.
    """
    body = _encode(facts if not facts.seal else msgspec.structs.replace(facts, seal=""))
    seal = ring.sign("run", uid.encode(), api.encode(), body, data)
    return body[:-2] + seal + b'"]'


def verify_facts(ring: Keyring, uid: bytes, api: bytes, packed: bytes, data: bytes) -> bool:
    """Tell whether these facts were sealed for this run, its API and its input."""
    cut = len(packed) - SEAL_CHARACTERS - 2
    body = packed[:cut] + b'"]'
    return (
        cut > 0
        and body.endswith(_EMPTY)
        and ring.holds("run", packed[cut : cut + SEAL_CHARACTERS], uid, api, body, data)
    )


def digest(data: bytes) -> bytes:
    """Return the digest of a frame, as `manifest` takes it."""
    return hashlib.sha256(data).digest()


def manifest(digests: Mapping[str, bytes]) -> bytes:
    """Return frames and their digests as one part of a seal."""
    return b"".join([name.encode() + b"=" + digests[name] for name in sorted(digests)])


def seal_state(ring: Keyring, uid: str, head: bytes, listed: bytes) -> bytes:
    """Return the seal of a state: its head and the `manifest` of its frames."""
    return ring.sign("state", uid.encode(), head, listed)


def verify_state(
    ring: Keyring,
    uid: bytes,
    head: bytes,
    frames: Mapping[str, bytes],
    seal: bytes,
) -> bool:
    """Tell whether this state was sealed for this run; `verified_values` checks what its frames refer to."""
    listed = manifest({name: digest(frame) for name, frame in frames.items()})
    return ring.holds("state", seal, uid, head, listed)


class _ValueReferences(msgspec.Struct):
    values: dict[str, str] = msgspec.field(name="$values", default_factory=dict)


_value_references = msgspec.json.Decoder(_ValueReferences)


def verified_values(frames: Mapping[str, bytes], stored: Mapping[str, bytes]) -> dict[str, bytes] | None:
    """Return the large values that sealed frames name, as JSON; None if one is not the one named.

    Values that no frame names are not inflated: a writer to the store may have added any number of them.
    """
    found: dict[str, bytes] = {}
    for frame in frames.values():
        for name in _value_references.decode(frame).values.values() if b'"$values"' in frame else ():
            if name in found or name not in stored:
                continue  # the frame may name the input, which is stored once
            try:
                value = inflate(stored[name])
            except ValueError:
                return None
            if hashlib.sha256(value).hexdigest()[:32] != name:
                return None
            found[name] = value
    return found


def seal_event(ring: Keyring, event: bytes) -> bytes:
    """Return an event as the bus carries it: seal, space, CloudEvent in JSON."""
    return ring.sign("event", event) + b" " + event


def open_event(ring: Keyring, sealed: bytes) -> bytes | None:
    """Return the CloudEvent that the bus carried, None for one that nobody with a key published."""
    seal, event = sealed[:SEAL_CHARACTERS], sealed[SEAL_CHARACTERS + 1 :]
    known = sealed[SEAL_CHARACTERS : SEAL_CHARACTERS + 1] == b" " and ring.holds("event", seal, event)
    return event if known else None


def seal_end(ring: Keyring, parent: str, status: str, output: bytes, error: bytes) -> bytes:
    """Return the seal of what a child tells its parent; `parent` is as the child's facts have it."""
    return ring.sign("end", parent.encode(), status.encode(), output or b"null", error or b"null")


class ChildResult(msgspec.Struct):
    """What a run is told of its child's end."""

    status: str
    output: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    seal: str = ""


decode_child_result = msgspec.json.Decoder(ChildResult).decode


def open_end(ring: Keyring, parent: str, message: bytes) -> bytes | None:
    """Return the end of a child as its parent may be told it, None for one that no worker committed.

    A script has no seal to give where it ends a run itself: one that was cancelled, killed its workers, or
    was deleted. Whoever writes to the store can bring each about, so that such an end is accepted, with
    fixed words in place of everything that it carries.
    """
    try:
        ended = decode_child_result(message)
        seal = ended.seal.encode("utf-8", "surrogatepass")
        output, error = bytes(ended.output), bytes(ended.error)
        if seal:
            known = ring.holds("end", seal, parent.encode(), ended.status.encode(), output, error)
            return message if known else None
        if output != b"null":
            return None
        if ended.status == "cancelled":
            return b'{"status":"cancelled"}'
        given = _SCRIPT_ERRORS.get(_error_title(error).title) if ended.status == "faulted" else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return None if given is None else b'{"status":"faulted","error":%b}' % given


class _ErrorTitle(msgspec.Struct):
    title: str


_error_title = msgspec.json.Decoder(_ErrorTitle).decode
