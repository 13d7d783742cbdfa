"""Seals of stored objects: facts, state and result of a run, and events.

Made before data are written, verified before a process acts on them. Pure. Invariants: a seal binds its data
to one run, so that data of one run are not valid in another; scripts make no seals, they only store them.

    facts   uid, API, facts, input                  made by the gateway, or the worker that starts the run
    state   uid, head, digest of each frame         made by the worker that commits; values by their digest
    end     parent and frame, status, output, error made by the worker that ends a child
    event   the CloudEvent                          made by its publisher
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from iogate.errors import WorkflowError
from iogate.security.keyring import SEAL_CHARACTERS, Keyring, digest
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
"""Errors with which scripts end runs, by title, in the form that the parents get."""
_EMPTY = b'""]'
"""End of the JSON of unsealed facts; the seal is the last element."""


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """Sealed immutable part of a run's record, stored as one JSON field."""

    revision: int
    workflow: str
    program: str
    caller: str
    timeout_s: float | None
    nonce: str
    parent: str = ""
    """`UID/FRAME` of the parent that waits for this run, or empty."""
    trace: str = ""
    """Trace context of the caller; an empty one is not stored, as by earlier releases."""
    seal: str = ""
    """Seal of all other fields with uid, API and input; `seal_facts` sets it."""


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Facts)


def decode_facts(packed: bytes | str) -> Facts:
    """Decode the sealed facts of a run, without a check of the seal. Raises msgspec.MsgspecError."""
    facts = _decoder.decode(packed)
    if facts.trace and not facts.seal:
        # Without a trace, the element at its place is the seal.
        return msgspec.structs.replace(facts, trace="", seal=facts.trace)
    return facts


def seal_facts(ring: Keyring, uid: str, api: str, facts: Facts, data: bytes) -> bytes:
    """Return the JSON of a run's facts with their seal; `data` is the input in its stored form.

    Raises Misused for a keyring without keys.
    """
    body = _encode(facts if not facts.seal else msgspec.structs.replace(facts, seal=""))
    if not facts.trace:
        body = body[:-4] + b"]"
    seal = ring.sign("run", uid.encode(), api.encode(), body, data)
    return body[:-2] + seal + b'"]'


def verify_facts(ring: Keyring, uid: bytes, api: bytes, packed: bytes, data: bytes) -> bool:
    """Return whether these facts were sealed for this run, its API and its input."""
    cut = len(packed) - SEAL_CHARACTERS - 2
    body = packed[:cut] + b'"]'
    return (
        cut > 0
        and body.endswith(_EMPTY)
        and ring.verify("run", packed[cut : cut + SEAL_CHARACTERS], uid, api, body, data)
    )


def manifest(digests: Mapping[str, bytes]) -> bytes:
    """Encode the names and digests of frames for a seal."""
    return b"".join([name.encode() + b"=" + digests[name] for name in sorted(digests)])


def seal_state(ring: Keyring, uid: str, head: bytes, listed: bytes) -> bytes:
    """Return the seal of a state, which covers its head and the `manifest` of its frames.

    Raises Misused for a keyring without keys.
    """
    return ring.sign("state", uid.encode(), head, listed)


def verify_state(
    ring: Keyring,
    uid: bytes,
    head: bytes,
    frames: Mapping[str, bytes],
    seal: bytes,
) -> bool:
    """Return whether this state was sealed for this run; `verified_values` checks its large values."""
    listed = manifest({name: digest(frame) for name, frame in frames.items()})
    return ring.verify("state", seal, uid, head, listed)


class _ValueReferences(msgspec.Struct):
    """References of a frame to large values."""

    values: dict[str, str] = msgspec.field(name="$values", default_factory=dict)


_value_references = msgspec.json.Decoder(_ValueReferences)


def verified_values(frames: Mapping[str, bytes], stored: Mapping[str, bytes]) -> dict[str, bytes] | None:
    """Return the large values that sealed frames reference, as JSON; None if a digest does not match.

    Unreferenced values are not inflated, because anyone with write access may have added them.
    """
    found: dict[str, bytes] = {}
    for frame in frames.values():
        for name in _value_references.decode(frame).values.values() if b'"$values"' in frame else ():
            if name in found or name not in stored:
                continue  # it may be the input, which is stored elsewhere
            try:
                value = inflate(stored[name])
            except ValueError:
                return None
            if hashlib.sha256(value).hexdigest()[:32] != name:
                return None
            found[name] = value
    return found


def seal_event(ring: Keyring, event: bytes) -> bytes:
    """Return the stored form of an event: seal, space, CloudEvent in JSON."""
    return ring.sign("event", event) + b" " + event


def open_event(ring: Keyring, sealed: bytes) -> bytes | None:
    """Return the CloudEvent of a stored event, None if its seal is not valid."""
    seal, event = sealed[:SEAL_CHARACTERS], sealed[SEAL_CHARACTERS + 1 :]
    known = sealed[SEAL_CHARACTERS : SEAL_CHARACTERS + 1] == b" " and ring.verify("event", seal, event)
    return event if known else None


def seal_end(ring: Keyring, parent: str, status: str, output: bytes, error: bytes) -> bytes:
    """Return the seal of a child's result; `parent` is that of the child's facts."""
    return ring.sign("end", parent.encode(), status.encode(), output or b"null", error or b"null")


class ChildResult(msgspec.Struct):
    """Message to a parent about the end of its child."""

    status: str
    output: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    seal: str = ""


decode_child_result = msgspec.json.Decoder(ChildResult).decode


def open_end(ring: Keyring, parent: str, message: bytes) -> bytes | None:
    """Return the verified message about a child's end, None if its seal is not valid.

    A message of a script has no seal: the run was cancelled, deleted, or poisoned. Anyone with write access
    can cause each of these, so such a message is accepted, with a fixed error in place of its content.
    """
    try:
        ended = decode_child_result(message)
        seal = ended.seal.encode("utf-8", "surrogatepass")
        output, error = bytes(ended.output), bytes(ended.error)
        if seal:
            known = ring.verify("end", seal, parent.encode(), ended.status.encode(), output, error)
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
    """Title of an error."""

    title: str


_error_title = msgspec.json.Decoder(_ErrorTitle).decode
