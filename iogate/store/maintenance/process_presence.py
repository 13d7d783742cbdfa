"""Presence of gateways and workers, each with the revisions that it has loaded or could not load.

Written by each process every few seconds and after each change, read by `apply`, `status` and `doctor`.
Invariants: a process that stops announcing itself disappears after PROCESS_S; each process subscribes to a
channel of its own, so that the store knows at once that a crashed process is gone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

import msgspec

from iogate.errors import IogateError, Unreachable, WrongStore
from iogate.messages import shorten
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.failures import CommandFailed
from iogate.store.connection.pubsub import PubSub

Kind = Literal["gateway", "worker"]
GATEWAY: Final = "gateway"
WORKER: Final = "worker"
UNSET: Final = "unset:"
"""Prefix of a detail: reason why a gateway lacks a secret of an API, or a worker one of its settings."""
CALLBACK: Final = "callback:"
"""Prefix of a detail of a worker: reason why it cannot sign the callbacks of an API."""
SECRETS: Final = "secrets"
"""Detail of a worker: names of its secrets, one per line."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Revision that a process could not load, with the reason."""

    revision: int
    reason: str


REASON_CHARACTERS: Final = 300


def concerns_revision(error: BaseException) -> bool:
    """Tell whether a process announces an error: one about a revision, not about the connection."""
    if isinstance(error, WrongStore):
        return not isinstance(error, CommandFailed)
    return not isinstance(error, Unreachable | CommandFailed | TimeoutError)


def failure(revision: int, error: BaseException) -> Failure:
    """Return the failure of a process to announce, for a revision that cannot be loaded.

    Its text is the first line of the error.
    """
    text = str(error) if isinstance(error, IogateError) else f"{type(error).__name__}: {error}"
    return Failure(revision=revision, reason=shorten((text.splitlines() or [""])[0], REASON_CHARACTERS))


class Fingerprint(msgspec.Struct, frozen=True, array_like=True):
    """Keyed fingerprint of a secret, and when the process resolved this value."""

    value: str
    since_ms: int


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """Announcement of a gateway or worker."""

    kind: Kind
    id: str
    pid: int
    host: str
    started_at_ms: int
    revision: int = 0
    """The newest loaded revision; 0 if none yet."""
    loaded: dict[str, int] | None = None
    """Loaded revision of each project; None for a process of an earlier release."""
    failed: dict[str, Failure] = {}
    """Newer revision of a project that could not be loaded."""
    detail: dict[str, str] = {}
    fingerprints: dict[str, Fingerprint] = {}
    """Of each secret in use, by its source: `env NAME` or `file PATH`."""
    fingerprint_key: str = ""
    """Public name of the key of the fingerprints."""
    indexes_apis: bool = False
    """Whether it adds runs to the indexes by API; processes of earlier releases do not."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Announced process, as the store sees it now."""

    process: Process
    age_s: float
    """Time since its last announcement."""
    connected: bool | None
    """Whether it has a connection to the store; None if that is unknown."""


_decoder = msgspec.json.Decoder(Process)


class Presence:
    """Registry of running processes."""

    def __init__(self, connection: Connection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self._may_count = True
        """Whether the user of the store may count subscribers."""

    @contextlib.asynccontextmanager
    async def connected(self, kind: Kind, process_id: str) -> AsyncIterator[None]:
        """Let other processes see that this one is connected, until the context ends."""
        async with self._pubsub.listening(_key(kind, process_id), _ignore):
            yield

    async def announce(self, process: Process) -> None:
        """Announce a process for the next PROCESS_S."""
        index = keys.PROCESSES + process.kind
        process = msgspec.structs.replace(process, indexes_apis=True)
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

    async def observe(self) -> Sequence[Observed]:
        """Return all announced processes, gateways first, each with the state of its connection."""
        processes = [*await self.list(GATEWAY), *await self.list(WORKER)]
        if not processes:
            return []
        names = [_key(each.kind, each.id) for each in processes]
        left = await self._connection.calls([("PTTL", name) for name in names])
        counts = await self._subscribers(names)
        return [
            Observed(process=process, age_s=keys.PROCESS_S - ms / 1000, connected=counts.get(name))
            for process, name, ms in zip(processes, names, left, strict=True)
            if ms > 0
        ]

    async def _subscribers(self, channels: Sequence[str]) -> dict[str, bool]:
        """Return which channels of processes have a subscriber; nothing if the user may not ask."""
        if not self._may_count:
            return {}
        try:
            found = await self._connection.call("PUBSUB", "NUMSUB", *channels)
        except CommandFailed:
            self._may_count = False
            return {}
        return {name.decode(): count > 0 for name, count in zip(found[::2], found[1::2], strict=True)}


def _ignore(_message: str) -> None:
    """Listen to the channel of a process only to be counted as present."""


def _decoded(data: bytes | None) -> Process | None:
    """Decode the announcement of a process; None if it has expired or is invalid."""
    try:
        return None if data is None else _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _key(kind: Kind, process_id: str) -> str:
    return f"{keys.PROCESS}{kind}:{process_id}"
