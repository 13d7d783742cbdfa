"""Drain of the store before a planned failover, so that no replica misses a write.

Used by `iogate store drain` and `resume`, and by the readiness check. Invariants: while the key exists, every
script that accepts, takes or commits fails in the store itself; a drain expires by itself, also after the
failover.
"""

from __future__ import annotations

import asyncio
import re
import time

import msgspec

from iogate.errors import IogateError, Refused, Unreachable
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.failures import CommandFailed, Drained, Unanswered, Unconfirmed
from iogate.store.maintenance.durability_check import online_replicas

WAIT_MS = 4_000
"""Timeout for the replicas to receive all writes."""
SETTLE_S = 20.0
"""Timeout for the sentinels to finish a failover."""
MAY_BE_DRAINED = "IOG653"


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """Author and times of a drain."""

    by: str
    at_ms: int
    until_ms: int


class Replication(msgspec.Struct, frozen=True, kw_only=True):
    """Replication state of a primary."""

    offset: int
    replicas: tuple[str, ...]
    """Addresses of the online replicas."""


class Drains:
    """Control of the drain: start, end and check."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def left_s(self) -> float | None:
        """Return the remaining time of the drain in seconds; None if there is none."""
        left_ms: int = await self._connection.call("PTTL", keys.DRAINED)
        return None if left_ms == -2 else left_ms / 1000

    async def check(self) -> None:
        """Check that the store is not drained.

        Raises Drained if it is.
        """
        if (left_s := await self.left_s()) is not None:
            raise Drained(left_s)

    async def replication(self) -> Replication:
        """Return the replication state of the primary, for a drain."""
        info: bytes = await self._connection.call("INFO", "replication")
        text = info.decode()
        offset = re.search(r"master_repl_offset:(\d+)", text)
        return Replication(offset=int(offset[1]) if offset else 0, replicas=tuple(online_replicas(text)))

    async def drain(self, by: str, for_s: float) -> tuple[Drain, Replication]:
        """Drain the store for at most `for_s`, and wait until every replica has all writes.

        Raises Refused if there is no replica, Unconfirmed if one is too slow. After this or any other failure
        or a cancellation, the drain is undone. Raises Unreachable if that fails too.
        """
        before = await self.replication()
        if not before.replicas:
            raise Refused(
                f"the store at {self._connection.address} has no replica that could take over",
                hint="connect one (REPLICAOF), and see with INFO replication that its state is online",
            )
        now_ms = int(time.time() * 1000)
        drain = Drain(by=by, at_ms=now_ms, until_ms=now_ms + int(for_s * 1000))
        stored = msgspec.json.encode(drain)
        try:
            await self._set(stored, int(for_s * 1000), wanted=len(before.replicas))
            return drain, await self.replication()
        except BaseException as error:
            await self._undo(stored, error)
            raise

    async def _set(self, stored: bytes, for_ms: int, *, wanted: int) -> None:
        """Store a drain, and wait for the replicas. Raises Unconfirmed if one of them is too slow."""
        # In one request, because WAIT covers the writes of its own connection.
        _, confirmed = await self._connection.calls(
            [("SET", keys.DRAINED, stored, "PX", for_ms), ("WAIT", wanted, WAIT_MS)]
        )
        if confirmed < wanted:
            raise Unconfirmed(confirmed, wanted)

    async def _undo(self, stored: bytes, error: BaseException) -> None:
        """End a drain that failed with `error`, if the store has it and not another one.

        Raises Unreachable if that fails too.
        """
        try:
            # A second cancellation does not end it.
            was_drained = await asyncio.shield(self._remove(stored))
            # The server may still execute a command that it has not answered.
            is_open = was_drained or not isinstance(error, Unanswered)
        except (IogateError, CommandFailed, asyncio.CancelledError):
            is_open = False
        if not is_open:
            why = "interrupted" if isinstance(error, asyncio.CancelledError) else str(error)
            raise Unreachable(
                f"{why}; the store may be drained",
                code=MAY_BE_DRAINED,
                hint="open it with `iogate store resume`",
            ) from error

    async def _remove(self, stored: bytes) -> bool:
        """End the drain of the store if it was stored as these bytes; return False if there is none."""
        found = await self._connection.call("GET", keys.DRAINED)
        if found == stored:
            await self._connection.call("DEL", keys.DRAINED)
        return found is not None

    async def resume(self) -> Drain | None:
        """End the drain of the store and return it; None if there was none.

        Raises Refused while the sentinels do not agree on the primary.
        """
        if not await self._connection.settle(SETTLE_S):
            raise Refused(
                f"the sentinels do not agree yet on the primary of the store at {self._connection.address}",
                hint="run `iogate store resume` again once SENTINEL MASTER names one primary on each",
            )
        return await self._open()

    async def _open(self) -> Drain | None:
        known, _ = await self._connection.calls([("GET", keys.DRAINED), ("DEL", keys.DRAINED)])
        try:
            return None if known is None else msgspec.json.decode(known, type=Drain)
        except msgspec.MsgspecError:
            return Drain(by="", at_ms=0, until_ms=0)  # not written by `drain`
