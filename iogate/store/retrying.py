"""Another attempt of a run that faulted, from where it was or from where someone puts it.

Called by `runs`. Invariant: it stays the same run: its uid, its history, the moment at which it was first
started; only a faulted run whose state is still there can be retried, and each attempt once.
"""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from iogate.store.compression import deflate_all, inflate, inflate_all
from iogate.store.intake import Facts
from iogate.store.line import Line, pairs
from iogate.store.packing import encode, flat, text
from iogate.store.views import ended

Retried = Literal["retried", "unknown", "running", "completed", "cancelled", "changed", "lost"]

_facts = msgspec.json.Decoder(Facts)


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a faulted run goes on from. Changed by `msgspec.structs.replace`, it puts it elsewhere."""

    uid: str
    attempt: int
    """The one that faulted."""
    started_at_ms: int
    facts: Facts
    """With the digest of its program, the revision and its time-out."""
    input: bytes
    head: bytes | None
    """None where it faulted before its first commit: it begins anew."""
    frames: dict[str, bytes]
    values: dict[str, bytes]


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asked for an attempt, and for what beside it: it stands in the run's journal."""

    by: str = ""
    origin: str | None = msgspec.field(default=None, name="from")
    """The earlier task that it goes on from."""
    revision: int | None = None
    """The one that it goes on with, where that was asked for."""


NOBODY = Asked()


async def state(line: Line, uid: str) -> Stored | None:
    """The state of a faulted run; None for any other, and where there is none."""
    blob, big, frames, values = await line.run("reload", uid)
    if not blob or (record := ended.decode(blob)).status != "faulted":
        return None
    stored = pairs(frames)
    return Stored(
        uid=uid,
        attempt=record.attempt,
        started_at_ms=record.started,
        facts=_facts.decode(record.facts),
        input=inflate(big if big is not None else record.input.encode()),
        head=stored.pop("head", None),
        frames=stored,
        values=inflate_all(pairs(values)),
    )


async def retry(line: Line, start: Stored, asked: Asked, *, replaces: bool, operation: str = "") -> Retried:
    """Make it live again; `replaces`: with the state that `start` holds, not the one that is stored.

    `changed`: another attempt has faulted since. `lost`: its state is gone. `operation`: its key.
    """
    packed = b""
    if replaces and start.head is not None:
        packed = encode((text(start.head), flat(start.frames), flat(deflate_all(start.values))))
    facts = msgspec.json.encode(start.facts)
    detail = msgspec.json.encode({"attempt": start.attempt + 1, **msgspec.to_builtins(asked)})
    answer = await line.run("retry", start.uid, start.attempt, facts, packed, detail, operation)
    return cast("Retried", answer.decode())
