"""Responses to requests of operators by their idempotency keys, so that a repeated request changes nothing.

Used by `gateway.operators.idempotency`. Invariant: of several requests with one key, one is executed at a
time; its response is kept for REPLY_S.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection

PENDING_S: Final = 60
"""Time after which a request whose process has died may be repeated."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Response to a request; without a status, the request is still being executed."""

    fingerprint: str
    status: int = 0
    body: str = ""


_decoder = msgspec.json.Decoder(Reply)


class Replies:
    """Stored responses of the HTTP API of operators."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, operator: str, key: str, fingerprint: str) -> Reply | None:
        """Claim an operator's key; return the stored reply to it, or None: the caller executes the request.

        The key is an idempotency key.

        Raises StoreUnavailable or StoreFull if the key cannot be claimed.
        """
        name = _key(operator, key)
        pending = msgspec.json.encode(Reply(fingerprint=fingerprint))
        while True:
            if await self._connection.call("SET", name, pending, "NX", "EX", PENDING_S):
                return None
            found: bytes | None = await self._connection.call("GET", name)
            if found is not None:
                return _decoder.decode(found)

    async def plan(self, change: str, name: str, uid: str) -> str:
        """Store the uid of the run that a change is to start: return `uid`, or that of an earlier attempt.

        A change whose process has died before its response was kept is made again, with the same run.
        """
        key = _key(f"{change}\0uid", name)
        if await self._connection.call("SET", key, uid, "NX", "EX", keys.REPLY_S):
            return uid
        planned: bytes | None = await self._connection.call("GET", key)
        return uid if planned is None else planned.decode()

    async def keep(self, operator: str, key: str, reply: Reply) -> None:
        """Store the reply to an operator's request, for repetitions with the same idempotency key."""
        encoded = msgspec.json.encode(reply)
        await self._connection.call("SET", _key(operator, key), encoded, "EX", keys.REPLY_S)

    async def release(self, operator: str, key: str) -> None:
        """Give up an operator's claimed idempotency key, so that the request can be repeated."""
        await self._connection.call("DEL", _key(operator, key))


def _key(operator: str, key: str) -> str:
    return keys.REPLY + hashlib.sha256(f"{operator}\0{key}".encode()).hexdigest()[:40]
