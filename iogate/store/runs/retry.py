"""Retry of a faulted run, from its stored state or from a given earlier one.

Called by `operations`. Invariants: the run keeps its uid, history and time of first start; only a faulted run
whose state still exists can be retried, and each attempt only once.
"""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from iogate.errors import Refused
from iogate.security.keyring import Keyring, digest
from iogate.store.connection.connection import Connection, pairs
from iogate.store.connection.packing import encode, flat, text
from iogate.store.integrity import seals
from iogate.store.integrity.refusals import Refusals
from iogate.store.integrity.seals import Facts
from iogate.store.runs.compression import deflate_all, inflate
from iogate.store.runs.views import ended_record

Retried = Literal["retried", "unknown", "running", "completed", "cancelled", "changed", "lost"]


class RetryState(msgspec.Struct, frozen=True, kw_only=True):
    """State from which a faulted run continues; replace fields to continue elsewhere."""

    uid: str
    api: str
    attempt: int
    """Number of the attempt that faulted."""
    started_at_ms: int
    facts: Facts
    """With the digest of its program, the revision and the timeout."""
    input: bytes
    stored_input: bytes
    """Input in its stored form, which may be compressed; the seal of the facts covers this form."""
    head: bytes | None
    """None if it faulted before its first commit; it then starts from the beginning."""
    frames: dict[str, bytes]
    values: dict[str, bytes]
    links: tuple[tuple[str, int, int], ...] = ()
    """Renewed links: name, end of the URL that was used and of the new one, in ms."""


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Author and options of a retry, as written to the journal of the run."""

    by: str = ""
    origin: str | None = msgspec.field(default=None, name="from")
    """Earlier task from which the run continues, if requested."""
    revision: int | None = None
    """Revision with which the run continues, if requested."""
    reason: str = ""
    """As given by the author, without secrets; callers do not see it."""


NO_REQUEST = RetryRequest()


async def load_state(
    connection: Connection, uid: str, ring: Keyring, refusals: Refusals
) -> RetryState | None:
    """Return the stored state of a faulted run for a retry; None without one, or if the run has not faulted.

    Raises Refused if no process with the key wrote the state.
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
        refusals.note("run", uid, "its stored state does not verify")
        raise Refused(
            f"run {uid} cannot be retried: its stored state was not written by a process that has "
            "the link_key",
            code="IOG676",
            hint="call its API again; `iogate explain IOG676` says what this means",
        )
    return RetryState(
        uid=uid,
        api=record.api,
        attempt=record.attempt,
        started_at_ms=record.started,
        facts=seals.decode_facts(record.facts),
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
    """Retry a faulted run: make it live again and return the outcome; `replaces` stores the state of `start`.

    `changed`: another attempt has faulted since. `lost`: the state is gone. `operation`: its key.
    """
    packed = b""
    if replaces and start.head is not None:
        listed = seals.manifest({name: digest(frame) for name, frame in start.frames.items()})
        seal = seals.seal_state(ring, start.uid, start.head, listed)
        frames = flat({**start.frames, seals.STATE: seal})
        packed = encode((text(start.head), frames, flat(deflate_all(start.values))))
    facts = seals.seal_facts(ring, start.uid, start.api, start.facts, start.stored_input)
    detail = msgspec.json.encode({"attempt": start.attempt + 1, **msgspec.to_builtins(request)})
    links = encode(start.links) if start.links else b""
    answer = await connection.run("retry", start.uid, start.attempt, facts, packed, detail, operation, links)
    return cast("Retried", answer.decode())
