"""Drain of the store before a planned failover: nothing is written that a replica could miss.

Used by `iogate store drain` and `resume`, and by readiness. Invariants: while the key is there, every
script that accepts, takes or commits something is refused by itself, in the store; a drain that nobody
ends expires, on whichever server is the primary by then.
"""

from __future__ import annotations

import re
import time

import msgspec

from iogate.errors import Refused
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.failures import Drained, Unconfirmed
from iogate.store.maintenance.checkup import online_replicas

WAIT_MS = 4_000
"""For the replicas to get what they lack."""
SETTLE_S = 20.0
"""For the sentinels to end a failover."""


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    by: str
    at_ms: int
    until_ms: int


class Replication(msgspec.Struct, frozen=True, kw_only=True):
    """What a primary says of its replicas."""

    offset: int
    replicas: tuple[str, ...]
    """Addresses of those that are connected and in step."""


class Drains:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def left_s(self) -> float | None:
        """Return for how long the store is closed; None if it is open."""
        left_ms: int = await self._connection.call("PTTL", keys.DRAINED)
        return None if left_ms == -2 else left_ms / 1000

    async def check(self) -> None:
        """Return if the store is open.

        Raises Drained if not.
        """
        if (left_s := await self.left_s()) is not None:
            raise Drained(left_s)

    async def replication(self) -> Replication:
        """Return the replicas of the primary."""
        info: bytes = await self._connection.call("INFO", "replication")
        text = info.decode()
        offset = re.search(r"master_repl_offset:(\d+)", text)
        return Replication(offset=int(offset[1]) if offset else 0, replicas=tuple(online_replicas(text)))

    async def drain(self, by: str, for_s: float) -> tuple[Drain, Replication]:
        """Close the store for at most `for_s`, and wait until every replica has all that was written.

        Raises Refused if there is no replica, Unconfirmed if one does not get there; the store is then open.
        """
        before = await self.replication()
        if not before.replicas:
            raise Refused(
                f"the store at {self._connection.address} has no replica that could take over",
                hint="connect one (REPLICAOF), and see with INFO replication that its state is online",
            )
        now_ms = int(time.time() * 1000)
        drain = Drain(by=by, at_ms=now_ms, until_ms=now_ms + int(for_s * 1000))
        wanted = len(before.replicas)
        _, confirmed = await self._connection.calls(
            [
                ("SET", keys.DRAINED, msgspec.json.encode(drain), "PX", int(for_s * 1000)),
                ("WAIT", wanted, WAIT_MS),
            ]
        )
        if confirmed < wanted:
            await self._open()
            raise Unconfirmed(confirmed, wanted)
        return drain, await self.replication()

    async def resume(self) -> Drain | None:
        """Open the store; what had closed it, or None if it was open.

        Raises Refused while the sentinels do not agree on the primary: the wrong server would be opened.
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
            return Drain(by="", at_ms=0, until_ms=0)  # not written by a drain
