"""Gates: whether an API may be called, who switched it, and how loaded it is.

Written by `enable` and `disable`, watched by gateways. Invariants: accept reads the gate itself, so a
switch is effective when the command returns, whether or not a gateway has heard of it; a gate that cannot
be read is closed, and its digest is empty.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

import msgspec

from iogate.compiler.schedules import PREFIX
from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection, StoreUnavailable, pairs, time_ms
from iogate.store.connection.pubsub import Doorbell, PubSub

POLL_S = 1.0


class Override(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool
    author: str
    reason: str
    set_at_ms: int
    expires_at_ms: int | None


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    api: str
    enabled: bool
    digest: str
    git: bool | None
    """What git says; None: left to `iogate enable`."""
    override: Override | None
    queued: int
    running: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    changes: int
    """Counts up with each change of revision or gates."""
    expired: int = 0
    """Overrides whose time is over."""


class Gates:
    def __init__(self, connection: Connection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub

    async def set_enabled(
        self,
        apis: Sequence[str],
        enabled: bool,  # noqa: FBT001 -- the operation's object, not a flag
        *,
        author: str,
        reason: str = "",
        ttl_s: float | None = None,
    ) -> None:
        """Switch all of them, or none where one is unknown (NotFound)."""
        if not apis:
            return
        ttl = "" if ttl_s is None else max(1, int(ttl_s * 1000))
        unknown = await self._connection.run("enable", int(enabled), author, reason, ttl, *apis)
        if unknown:
            names = ", ".join(name.decode() for name in unknown)
            raise NotFound(
                f"no such API in the live revision: {names}",
                code="IOG616",
                hint="`iogate api list` shows them",
            )

    async def clear_overrides(self, apis: Sequence[str]) -> None:
        """Back to what git says."""
        if apis:
            await self._connection.run("restore", *apis)

    async def overrides(self) -> dict[str, Override]:
        """APIs that differ from git at present."""
        return {
            api: gate.override for api, gate in (await self.states()).items() if gate.override is not None
        }

    async def states(self) -> dict[str, Gate]:
        """Every gate of the live revision, by API; schedules have gates that nobody passes."""
        apis, clock = await self._connection.calls([("SMEMBERS", keys.GATES), ("TIME",)])
        decoded = (api.decode("utf-8", "replace") for api in apis)
        names = sorted(name for name in decoded if not name.startswith(PREFIX))
        now_ms = time_ms(clock)
        rows = zip(names, await self._rows(names), strict=True)
        # A gate without fields went between the two questions.
        return {name: _gate(name, row, now_ms) for name, row in rows if row != []}

    async def _rows(self, names: Sequence[str]) -> list[list[bytes] | None]:
        """Return fields and values of each gate; None for a value of another type."""
        with contextlib.suppress(CommandFailed):
            return await self._connection.calls([("HGETALL", keys.GATE + name) for name in names])
        rows: list[list[bytes] | None] = []
        for name in names:
            try:
                rows.append(await self._connection.call("HGETALL", keys.GATE + name))
            except CommandFailed:
                rows.append(None)
        return rows

    async def is_enabled(self, api: str) -> bool:
        """Return whether one API is enabled; an API without a gate is not."""
        row, clock = await self._connection.calls(
            [("HMGET", keys.GATE + api, "on", "until", "base"), ("TIME",)]
        )
        on, until, base = (value or b"" for value in row)
        if until and not _is_time(until):
            return False
        return (base if until and time_ms(clock) >= int(until) else on) == b"1"

    async def watch(self) -> AsyncGenerator[Change, None]:
        """The state now, then each change within a second, also over lost connections."""
        bell = Doorbell()
        seen: Change | None = None
        async with self._pubsub.listening(keys.CHANGE_CHANNEL, bell.ring):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    change = await self._change()
                    if change != seen:
                        seen = change
                        yield change
                await bell.wait(POLL_S)

    async def _change(self) -> Change:
        (number, changes), clock, ends = await self._connection.calls(
            [
                ("HMGET", keys.LIVE, "number", "changes"),
                ("TIME",),
                ("ZRANGE", keys.EXPIRIES, 0, -1, "WITHSCORES"),
            ]
        )
        now_ms = time_ms(clock)
        expired = sum(float(end) <= now_ms for end in ends[1::2])
        return Change(revision=_count(number), changes=_count(changes), expired=expired)


def _count(text: bytes | None) -> int:
    """Return a number of the live record; -1 for a value that is none."""
    if text is None:
        return 0
    return int(text) if _is_time(text) else -1


def _is_time(text: bytes) -> bool:
    return text.isdigit() and len(text) < 16


def _gate(api: str, row: list[bytes] | None, now_ms: int) -> Gate:
    try:
        return _decode_gate(api, row or [], now_ms)
    except (KeyError, ValueError):
        return Gate(api=api, enabled=False, digest="", git=None, override=None, queued=0, running=0)


def _decode_gate(api: str, row: list[bytes], now_ms: int) -> Gate:
    """Raises KeyError or ValueError for a gate that no process of iogate wrote."""
    fields = {name: value.decode() for name, value in pairs(row).items()}
    expires = int(fields["until"]) if fields.get("until") else None
    expired = expires is not None and now_ms >= expires
    override = None
    if fields.get("override") and not expired:
        override = Override(
            enabled=fields["override"] == "1",
            author=fields.get("author", ""),
            reason=fields.get("reason", ""),
            set_at_ms=int(fields.get("at", 0)),
            expires_at_ms=expires,
        )
    return Gate(
        api=api,
        enabled=fields["base" if expired else "on"] == "1",
        digest=fields["digest"],
        git=None if fields["git"] == "" else fields["git"] == "1",
        override=override,
        queued=int(fields.get("inq", 0)) + int(fields.get("bl", 0)),
        running=int(fields.get("run", 0)),
    )
