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
from typing import Any

import msgspec

from iogate.keyring import SEAL_CHARACTERS, Keyring

STATE: str = "seal"
"""Field of a run's frames that holds the seal of its state."""
_OF_SCRIPTS = frozenset({"poisoned", "the child run is gone"})
"""Titles of errors with which scripts end runs."""
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
    """Of all the rest with uid, API and input; `sealed_facts` fills it in."""


_encode = msgspec.json.Encoder().encode


def sealed_facts(ring: Keyring, uid: str, api: str, facts: Facts, data: bytes) -> bytes:
    """Return the JSON of a run's facts with their seal; `data` is the run's input as it is stored.

    Raises Misused for a keyring without keys.
    """
    body = _encode(facts if not facts.seal else msgspec.structs.replace(facts, seal=""))
    seal = ring.sign("run", uid.encode(), api.encode(), body, data)
    return body[:-2] + seal + b'"]'


def facts_hold(ring: Keyring, uid: bytes, api: bytes, packed: bytes, data: bytes) -> bool:
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


def sealed_state(ring: Keyring, uid: str, head: bytes, listed: bytes) -> bytes:
    """Return the seal of a state: its head and the `manifest` of its frames."""
    return ring.sign("state", uid.encode(), head, listed)


def state_holds(
    ring: Keyring,
    uid: bytes,
    head: bytes,
    frames: Mapping[str, bytes],
    seal: bytes,
) -> bool:
    """Tell whether this state was sealed for this run; `values_hold` looks at what its frames refer to."""
    listed = manifest({name: digest(frame) for name, frame in frames.items()})
    return ring.holds("state", seal, uid, head, listed)


def values_hold(values: Mapping[str, bytes]) -> bool:
    """Tell whether each value is the one that its name, its digest, says."""
    return all(hashlib.sha256(value).hexdigest()[:32] == name for name, value in values.items())


def sealed_event(ring: Keyring, event: bytes) -> bytes:
    """Return an event as the bus carries it: seal, space, CloudEvent in JSON."""
    return ring.sign("event", event) + b" " + event


def opened_event(ring: Keyring, sealed: bytes) -> bytes | None:
    """Return the CloudEvent that the bus carried, None for one that nobody with a key published."""
    seal, event = sealed[:SEAL_CHARACTERS], sealed[SEAL_CHARACTERS + 1 :]
    known = sealed[SEAL_CHARACTERS : SEAL_CHARACTERS + 1] == b" " and ring.holds("event", seal, event)
    return event if known else None


def sealed_end(ring: Keyring, parent: str, status: str, output: bytes, error: bytes) -> bytes:
    """Return the seal of what a child tells its parent; `parent` is as the child's facts have it."""
    return ring.sign("end", parent.encode(), status.encode(), output or b"null", error or b"null")


class Told(msgspec.Struct):
    """What a run is told of its child's end."""

    status: str
    output: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    seal: str = ""


told = msgspec.json.Decoder(Told).decode


def end_holds(ring: Keyring, parent: str, message: bytes) -> bool:
    """Tell whether the end of a child in this message is what its worker committed.

    A script has no seal to give where it ends a run itself: one that was cancelled, killed its workers, or
    was deleted. Whoever writes to the store can bring each about, so that such an end holds if it carries no
    output.
    """
    try:
        ended = told(message)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    seal = ended.seal.encode("utf-8", "surrogatepass")
    output, error = bytes(ended.output), bytes(ended.error)
    if seal:
        return ring.holds("end", seal, parent.encode(), ended.status.encode(), output, error)
    return output == b"null" and (ended.status == "cancelled" or _is_of_a_script(error))


def _is_of_a_script(error: bytes) -> bool:
    try:
        found: Any = msgspec.json.decode(error)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("title") in _OF_SCRIPTS
