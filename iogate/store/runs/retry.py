"""Another attempt of a run that faulted, from where it was or from where someone puts it.

Called by `operations`. Invariant: it stays the same run: its uid, its history, the moment at which it was
first started; only a faulted run whose state is still there can be retried, and each attempt once.
"""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from iogate.errors import Refused
from iogate.security.keyring import Keyring
from iogate.store.connection.connection import Connection, pairs
from iogate.store.connection.packing import encode, flat, text
from iogate.store.integrity import seals
from iogate.store.integrity.refusals import Refusals
from iogate.store.integrity.seals import Facts
from iogate.store.runs.compression import deflate_all, inflate
from iogate.store.runs.views import ended_record

Retried = Literal["retried", "unknown", "running", "completed", "cancelled", "changed", "lost"]

_facts = msgspec.json.Decoder(Facts)


class RetryState(msgspec.Struct, frozen=True, kw_only=True):
    """What a faulted run goes on from. Changed by `msgspec.structs.replace`, it puts it elsewhere."""

    uid: str
    api: str
    attempt: int
    """The one that faulted."""
    started_at_ms: int
    facts: Facts
    """With the digest of its program, the revision and its time-out."""
    input: bytes
    stored_input: bytes
    """The input as it is stored, perhaps compressed: what the seal of the facts covers."""
    head: bytes | None
    """None where it faulted before its first commit: it begins anew."""
    frames: dict[str, bytes]
    values: dict[str, bytes]


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asked for an attempt, and for what beside it: it stands in the run's journal."""

    by: str = ""
    origin: str | None = msgspec.field(default=None, name="from")
    """The earlier task that it goes on from."""
    revision: int | None = None
    """The one that it goes on with, where that was asked for."""


NO_REQUEST = RetryRequest()


async def load_state(
    connection: Connection, uid: str, ring: Keyring, refusals: Refusals
) -> RetryState | None:
    """The state of a faulted run; None for any other, and where there is none.

    Raises Refused for one that was not written by a process with the key.
    """
    blob, big, frames, values = await connection.run("reload", uid)
    if not blob or (record := ended_record.decode(blob)).status != "faulted":
        return None
    stored = pairs(frames)
    given = big if big is not None else record.input.encode()
    head, seal = stored.pop("head", None), stored.pop(seals.STATE, b"")
    named, facts = uid.encode(), record.facts.encode()
    kept: dict[str, bytes] | None = None
    if not ring.can_sign or (
        seals.verify_facts(ring, named, record.api.encode(), facts, given)
        and (head is None or seals.verify_state(ring, named, head, stored, seal))
    ):
        kept = seals.verified_values(stored, pairs(values))
    if kept is None:
        refusals.note("run", uid, "what is stored of it does not verify")
        raise Refused(
            f"run {uid} cannot be retried: what is stored of it was not written by a process that has "
            "the link_key",
            code="IOG676",
            hint="call its API again; `iogate explain IOG676` says what this means",
        )
    return RetryState(
        uid=uid,
        api=record.api,
        attempt=record.attempt,
        started_at_ms=record.started,
        facts=_facts.decode(record.facts),
        input=inflate(given),
        stored_input=given,
        head=head,
        frames=stored,
        values=kept,
    )


async def retry(
    connection: Connection,
    start: RetryState,
    request: RetryRequest,
    ring: Keyring,
    *,
    replaces: bool,
    operation: str = "",
) -> Retried:
    """Make it live again; `replaces`: with the state that `start` holds, not the one that is stored.

    `changed`: another attempt has faulted since. `lost`: its state is gone. `operation`: its key.
    """
    packed = b""
    if replaces and start.head is not None:
        listed = seals.manifest({name: seals.digest(frame) for name, frame in start.frames.items()})
        seal = seals.seal_state(ring, start.uid, start.head, listed)
        frames = flat({**start.frames, seals.STATE: seal})
        packed = encode((text(start.head), frames, flat(deflate_all(start.values))))
    facts = seals.seal_facts(ring, start.uid, start.api, start.facts, start.stored_input)
    detail = msgspec.json.encode({"attempt": start.attempt + 1, **msgspec.to_builtins(request)})
    answer = await connection.run("retry", start.uid, start.attempt, facts, packed, detail, operation)
    return cast("Retried", answer.decode())
