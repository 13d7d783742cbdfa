"""Record of changes by operators: the beginning of each before it happens, and its outcome afterwards.

Used by `iogate.operators.activity`. Invariants: an entry is written before the change that it describes; an
entry without an outcome is one whose process ended before, or that is still in progress; entries are numbered
in the order of the store's time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final, Literal

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection

Outcome = Literal["done", "refused", "failed"]
CHUNK: Final = 200
"""Entries that are read at once."""


class Beginning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored beginning of a change."""

    actor: str
    role: str
    via: str
    origin: str
    action: str
    target: str = ""
    """Type of the objects, such as `run`."""
    ids: tuple[str, ...] = ()
    """First objects that are changed."""
    count: int = 0
    """Number of all objects; 0 if it is not known before."""
    revision: int | None = None
    reason: str = ""


class End(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored outcome of a change."""

    outcome: Outcome
    message: str = ""
    revision: int | None = None
    count: int | None = None
    ids: tuple[str, ...] = ()
    """First objects that were changed, if they were not known before."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change, as it was recorded."""

    number: int
    at_ms: int
    begun: Beginning
    ended_at_ms: int | None = None
    end: End | None = None
    """None if the outcome was not recorded."""


_begun = msgspec.json.Decoder(Beginning)
_ended = msgspec.json.Decoder(End)


class Activity:
    """Client of the script that records changes by operators."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def begin(self, entry: Beginning) -> int:
        """Record in the store that an operator's change begins; return the number of the activity's entry.

        Raises StoreUnavailable or StoreFull if it cannot be recorded.
        """
        number: int = await self._connection.run("activity", "begin", msgspec.json.encode(entry))
        return number

    async def end(self, number: int, outcome: End) -> None:
        """Record in the store the outcome of an operator's change.

        Raises StoreUnavailable or StoreFull if it cannot be recorded.
        """
        await self._connection.run("activity", "end", number, msgspec.json.encode(outcome))

    async def newest_first(self, before: int | None = None) -> AsyncGenerator[Entry, None]:
        """Yield the stored entries of the activity from the newest, or from that before number `before`."""
        last, first = await self._connection.call("HMGET", keys.ACTIVITY, "last", "first")
        number = int(last or 0) if before is None else min(before - 1, int(last or 0))
        lowest = int(first or 1)
        while number >= lowest:
            numbers = range(number, max(lowest - 1, number - CHUNK), -1)
            fields = [name for each in numbers for name in (str(each), f"{each}:end")]
            found = await self._connection.call("HMGET", keys.ACTIVITY, *fields)
            for each, begun, ended in zip(numbers, found[::2], found[1::2], strict=True):
                if (entry := _entry(each, begun, ended)) is not None:
                    yield entry
            number -= len(numbers)


def _entry(number: int, begun: bytes | None, ended: bytes | None) -> Entry | None:
    """Decode a stored entry of the activity; None if it is gone, or if another program has written it."""
    if begun is None:
        return None
    try:
        at, _, text = begun.partition(b" ")
        entry = Entry(number=number, at_ms=int(at), begun=_begun.decode(text))
        if ended is None:
            return entry
        at, _, text = ended.partition(b" ")
        return msgspec.structs.replace(entry, ended_at_ms=int(at), end=_ended.decode(text))
    except (ValueError, msgspec.MsgspecError):
        return None
