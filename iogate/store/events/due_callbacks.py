"""Callbacks of ended runs: taken by workers for delivery, with a record of their tries.

Called by workers and by the command line. Invariants: a callback is due from the end of its run on, in the
same atomic step; one worker at a time tries it; its id is the same in every try of one end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection, pairs
from iogate.store.connection.packing import encode
from iogate.store.connection.pubsub import Doorbell, PubSub

Outcome = Literal["delivered", "failed", "stopped", "postponed"]
UNSIGNED: Final = "no signature: "
"""Begin of the error of a try whose secret was missing."""
OUTCOMES: tuple[Outcome, ...] = ("delivered", "failed", "stopped")
"""Outcomes that are counted."""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A callback to try now."""

    uid: str
    id: str
    """The `webhook-id`."""
    number: int
    """Number of this try, from 1."""
    after: str
    """What follows the end of the run, in its stored form."""
    since_ms: int
    """Time of the end, or of the request for another delivery."""
    number_since: int
    """Number of this try since that time, from 1."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of one try."""

    due: Due
    outcome: Outcome
    status: int = 0
    """Status of the response; 0 without one."""
    error: str = ""
    next_ms: int = 0
    """Time of the next try, for `failed` and `postponed`."""


class EndRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Record of what followed the end of a run."""

    id: str = ""
    """The `webhook-id`; empty without a callback."""
    after: str = ""
    tries: int = 0
    status: int | None = None
    error: str | None = None
    due_ms: int | None = None
    delivered_ms: int | None = None
    stopped_ms: int | None = None
    handler: str | None = None
    """Uid of the run that the fault has started."""


class Callbacks:
    """Client of the script of callbacks."""

    def __init__(self, connection: Connection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub

    async def take(self, limit: int) -> tuple[list[Due], int, float | None]:
        """Take callbacks that are due; return them, the time, and the seconds until the next one, if any."""
        now_ms, next_ms, *found = await self._connection.run("callbacks", "take", limit)
        due = [
            Due(
                uid=uid.decode(),
                id=id_.decode(),
                number=number,
                after=after.decode(),
                since_ms=since,
                number_since=number_since,
            )
            for uid, id_, number, after, since, number_since in found
        ]
        return due, now_ms, None if next_ms < 0 else next_ms / 1000

    async def settle(self, settled: Sequence[Settled]) -> int:
        """Record outcomes of tries of due callbacks; return how many were of the newest try, and so count."""
        packed = [
            (s.due.uid, s.due.id, s.due.number, s.outcome, s.status, s.error, s.next_ms) for s in settled
        ]
        count: int = await self._connection.run("callbacks", "settle", encode(packed))
        return count

    async def redeliver(self, uid: str) -> Literal["ok", "none", "live", "unknown"]:
        """Make the callback of an ended run due again, under the same id."""
        answer: Any = (await self._connection.run("callbacks", "redeliver", uid)).decode()
        found: Literal["ok", "none", "live", "unknown"] = answer
        return found

    async def hasten(self) -> int:
        """Make callbacks due now that wait because their secret was missing; return their number."""
        skipped, hastened = 0, 0
        while True:
            answer: list[int] = await self._connection.run("callbacks", "hasten", skipped, UNSIGNED)
            looked, moved = answer
            hastened += moved
            if not looked:
                return hastened
            skipped += looked - moved

    async def record(self, uid: str) -> EndRecord | None:
        """Return the record of the callback, due or done, and fault handler of an ended run, or None."""
        found = pairs(await self._connection.call("HGETALL", keys.AFTER + uid))
        if not found:
            return None
        return EndRecord(
            id=_text(found, "id"),
            after=_text(found, "aft"),
            tries=_number(found, "tries") or 0,
            status=_number(found, "status") or None,
            error=_text(found, "error") or None,
            due_ms=_number(found, "due"),
            delivered_ms=_number(found, "delivered"),
            stopped_ms=_number(found, "stopped"),
            handler=_text(found, "run") or None,
        )

    async def counts(self) -> tuple[dict[str, int], int]:
        """Return the number of tries of callbacks by outcome, and of callbacks that wait."""
        flat, waiting = await self._connection.calls(
            [("HGETALL", keys.CALLBACK_COUNTS), ("ZCARD", keys.CALLBACKS)]
        )
        found = pairs(flat)
        return {name: _number(found, name) or 0 for name in OUTCOMES}, waiting

    def doorbell(self) -> tuple[Doorbell, Any]:
        """Return a bell that rings when a callback is due, and the context that subscribes it."""
        bell = Doorbell()
        return bell, self._pubsub.listening(keys.CALLBACKS_CHANNEL, bell.ring)

    # Faults whose handler the commit could not start.

    async def faults(self, limit: int = 20) -> list[str]:
        """Return the uids of faulted runs with a due handler, which the store keeps beside due callbacks."""
        return [uid.decode() for uid in await self._connection.call("LRANGE", keys.FAULTS, 0, limit - 1)]

    async def handle_fault(self, uid: str, child: str, facts: bytes, data: bytes) -> bool:
        """Start the handler of a due fault as a run; return False if the uid of its run is taken.

        An empty uid starts none.
        """
        answer: int = await self._connection.run("handle_fault", uid, child, facts, data)
        return answer >= 0


def _text(found: Mapping[str, bytes], name: str) -> str:
    return found.get(name, b"").decode("utf-8", "replace")


def _number(found: Mapping[str, bytes], name: str) -> int | None:
    text = found.get(name, b"")
    return int(text) if text.isdigit() else None
