"""Presence of gateways and workers, each with its loaded revision.

Written by each process every few seconds, read by `apply`, `status` and `doctor`. Invariant: a process that
stops announcing itself disappears after PROCESS_S.
"""

from __future__ import annotations

import time
from typing import Final, Literal

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection

Kind = Literal["gateway", "worker"]
GATEWAY: Final = "gateway"
WORKER: Final = "worker"
UNSET: Final = "unset:"
"""Prefix of a detail: reason why a gateway lacks a secret of an API, or a worker one of its settings."""
SECRETS: Final = "secrets"
"""Detail of a worker: names of its secrets, one per line."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """Announcement of a gateway or worker."""

    kind: Kind
    id: str
    pid: int
    host: str
    started_at_ms: int
    revision: int = 0
    """The loaded revision; 0 if none yet."""
    detail: dict[str, str] = {}


_decoder = msgspec.json.Decoder(Process)


class Presence:
    """Registry of running processes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def announce(self, process: Process) -> None:
        """Announce a process for the next PROCESS_S."""
        index = keys.PROCESSES + process.kind
        await self._connection.calls(
            [
                ("SET", _key(process.kind, process.id), msgspec.json.encode(process), "EX", keys.PROCESS_S),
                ("ZADD", index, int(time.time()), process.id),
                ("EXPIRE", index, keys.PROCESS_S * 4),
            ]
        )

    async def leave(self, kind: Kind, process_id: str) -> None:
        await self._connection.calls(
            [("DEL", _key(kind, process_id)), ("ZREM", keys.PROCESSES + kind, process_id)]
        )

    async def list(self, kind: Kind, *, after_s: int | None = None) -> list[Process]:
        """Return the running processes, by id; `after_s`: only those announced after that second."""
        since = "-inf" if after_s is None else f"({after_s}"
        names = await self._connection.call("ZRANGEBYSCORE", keys.PROCESSES + kind, since, "+inf")
        if not names:
            return []
        found = await self._connection.call("MGET", *(_key(kind, "").encode() + name for name in names))
        processes = {name: _decoded(data) for name, data in zip(names, found, strict=True)}
        gone = [name for name, process in processes.items() if process is None]
        if gone:
            await self._connection.call("ZREM", keys.PROCESSES + kind, *gone)
        return sorted((process for process in processes.values() if process is not None), key=lambda p: p.id)


def _decoded(data: bytes | None) -> Process | None:
    """Decode an announcement; None if it has expired or is invalid."""
    try:
        return None if data is None else _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _key(kind: Kind, process_id: str) -> str:
    return f"{keys.PROCESS}{kind}:{process_id}"
