"""Gates of APIs: state of the switch, overrides and load.

Written by `enable` and `disable`, watched by gateways. Invariants: the accept script reads the gate itself,
so a switch is effective when the command returns; an unreadable gate counts as disabled, with an empty
digest. The scripts know four switches:

    0 disabled    1 enabled    2 on hold: accepts, starts no new run    3 disabled while its runs are on hold
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

import msgspec

from iogate.compiler.schedules import PREFIX
from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection, StoreUnavailable, time_ms
from iogate.store.connection.pubsub import Doorbell, PubSub
from iogate.store.revisions.gate_states import ACCEPTING, Gate, Override, Switched, read_gate
from iogate.store.revisions.origin import DEFAULT_PROJECT
from iogate.store.revisions.revision_errors import Foreign

POLL_S = 1.0
_STATES = {"0": "disabled", "1": "enabled", "2": "held", "3": "disabled, held"}

_CLOCK = (("TIME",), ("MGET", keys.CLOCK_AHEAD))
"""Commands for the time of the scripts, which set the end of an override; MGET accepts a key of any type."""

_switched = msgspec.msgpack.Decoder(list[tuple[str, str, str, int, int]])


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Version of revision and gates, to detect changes."""

    revision: int
    changes: int
    """Counter of changes of revision or gates."""
    expired: int = 0
    """Number of expired overrides."""


class Gates:
    """Client of the gates of all APIs."""

    def __init__(self, connection: Connection, pubsub: PubSub, project: str | None = None) -> None:
        """With a project, `states` returns only its APIs, and no API of another one is changed."""
        self._connection = connection
        self._pubsub = pubsub
        self._project = project

    async def set_enabled(  # noqa: PLR0913 -- the options of one operation
        self,
        apis: Sequence[str],
        enabled: bool,  # noqa: FBT001 -- the operation's object, not a flag
        *,
        author: str,
        reason: str = "",
        ttl_s: float | None = None,
        hold: bool = False,
        rate: float | None = None,
        expected: int | None = None,
        by_override: bool = False,
    ) -> list[Switched] | None:
        """Enable or disable the gates of these APIs in the store in one step, and return the changes.

        `hold`: start no new run; with `enabled`, accept calls, otherwise accept them as before. `rate`:
        number of runs on hold to release per second; None: all at once. `expected`: value of `changes()`;
        with another one, change nothing and return None. `by_override`: disable by an override also an API
        without a value in git, so that `clear_overrides` restores its switch. Raises NotFound if an API is
        unknown, Foreign if another project owns one; none is switched then.
        """
        if not apis:
            return []
        reply, *rest = await self._connection.run(
            "enable",
            (2 if enabled else 3) if hold else int(enabled),
            author,
            reason,
            "" if ttl_s is None else max(1, int(ttl_s * 1000)),
            "" if rate is None else repr(1000 / rate),
            "" if expected is None else expected,
            int(by_override),
            self._project or "",
            *apis,
        )
        match reply:
            case b"moved":
                return None
            case b"foreign":
                raise self._foreign(rest)
            case b"unknown":
                names = ", ".join(name.decode() for name in rest)
                raise NotFound(
                    f"no such API in the live revision: {names}",
                    code="IOG616",
                    hint="`iogate api list` shows them",
                )
        return [
            Switched(
                api=api,
                before=_STATES.get(before, "deleted"),
                after=_STATES.get(after, "deleted"),
                held_before=held_before,
                held=held,
            )
            for api, before, after, held_before, held in _switched.decode(rest[0])
        ]

    async def clear_overrides(
        self, apis: Sequence[str], *, rate: float | None = None, expected: int | None = None
    ) -> bool:
        """Clear the overrides of gates: the switches of git and of `enable` apply again.

        `rate`, `expected`: as in `set_enabled`. Returns False if nothing was changed because of `expected`.
        Raises Foreign if another project owns one of the APIs; none is changed then.
        """
        if not apis:
            return True
        reply, *rest = await self._connection.run(
            "restore",
            "" if rate is None else repr(1000 / rate),
            self._project or "",
            "" if expected is None else expected,
            *apis,
        )
        if reply == b"foreign":
            raise self._foreign(rest)
        return bool(reply == b"ok")

    def _foreign(self, found: Sequence[bytes]) -> Foreign:
        """Return the error for gates that other projects own, from the reply of a script."""
        names = [each.decode("utf-8", "replace") for each in found]
        return Foreign(self._project or DEFAULT_PROJECT, list(zip(names[::2], names[1::2], strict=True)))

    async def changes(self) -> int:
        """Return the counter of changes of revision or gates, for `set_enabled`."""
        return _count(await self._connection.call("HGET", keys.LIVE, "changes"))

    async def holding(self) -> frozenset[str]:
        """Return the APIs whose gates hold new runs, or release them gradually, deleted APIs too."""
        return frozenset(await self._holding(keys.GATES)) | frozenset(await self._holding(keys.DELETED))

    async def held_of_deleted(self) -> dict[str, int]:
        """Return the number of runs that the gate of each deleted API holds; `set_enabled` releases them."""
        apis = await self._holding(keys.DELETED)
        if self._project is not None and apis:
            owners = await self._connection.calls([("HGET", keys.GATE + api, "project") for api in apis])
            apis = [api for api, owner in zip(apis, owners, strict=True) if _project(owner) == self._project]
        sizes = await self._connection.calls([("LLEN", keys.BACKLOG + api) for api in apis])
        return {api: size for api, size in zip(apis, sizes, strict=True) if size}

    async def _holding(self, key: str) -> list[str]:
        members = await self._connection.call("SMEMBERS", key)
        apis = sorted(name.decode("utf-8", "replace") for name in members)
        holds = await self._connection.calls([("HGET", keys.GATE + api, "hold") for api in apis])
        return [api for api, hold in zip(apis, holds, strict=True) if hold is not None]

    async def overrides(self) -> dict[str, Override]:
        """Return the current overrides of gates, by API."""
        return {
            api: gate.override for api, gate in (await self.states()).items() if gate.override is not None
        }

    async def deleted(self) -> frozenset[str]:
        """Return the ids of deleted APIs, whose gates are disabled if they return."""
        members = await self._connection.call("SMEMBERS", keys.DELETED)
        return frozenset(member.decode("utf-8", "replace") for member in members)

    async def owner(self, api: str) -> str | None:
        """Return the project that owns the gate of an API; None if no live revision has it."""
        exists, project = await self._connection.calls(
            [("HEXISTS", keys.GATE + api, "digest"), ("HGET", keys.GATE + api, "project")]
        )
        return _project(project) if exists else None

    async def check_owner(self, apis: Sequence[str]) -> None:
        """Check that no other project owns the gate of one of these APIs, before a command looks for them.

        Raises Foreign if one does.
        """
        if self._project is None or not apis:
            return
        found = await self._connection.calls([("HGET", keys.GATE + api, "project") for api in apis])
        owned = [(api, _project(owner)) for api, owner in zip(apis, found, strict=True)]
        foreign = [(api, owner) for api, owner in owned if owner != self._project]
        if not foreign:
            return
        # A deleted API may have runs on hold.
        found = await self._connection.calls(
            [("HMGET", keys.GATE + api, "digest", "hold") for api, _ in foreign]
        )
        foreign = [each for each, known in zip(foreign, found, strict=True) if any(known)]
        if foreign:
            raise Foreign(self._project, foreign)

    async def states(self, *, everywhere: bool = False) -> dict[str, Gate]:
        """Return the gates of the project's APIs; internal gates of schedules are left out.

        `everywhere`, or without a project: those of all projects.
        """
        apis, *clock = await self._connection.calls([("SMEMBERS", keys.GATES), *_CLOCK])
        decoded = (api.decode("utf-8", "replace") for api in apis)
        names = sorted(name for name in decoded if not name.startswith(PREFIX))
        now_ms = _now_ms(*clock)
        rows = zip(names, await self._rows(names), strict=True)
        # A gate without fields was removed between the two commands.
        found = {name: read_gate(name, row, now_ms) for name, row in rows if row != []}
        if everywhere or self._project is None:
            return found
        return {name: gate for name, gate in found.items() if gate.project == self._project}

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
        """Return whether the gate of one API is enabled; an API without a gate is not."""
        row, *clock = await self._connection.calls(
            [("HMGET", keys.GATE + api, "on", "until", "base"), *_CLOCK]
        )
        on, until, base = (value or b"" for value in row)
        if until and not _is_time(until):
            return False
        return (base if until and _now_ms(*clock) >= int(until) else on) in ACCEPTING

    async def watch(self) -> AsyncGenerator[Change, None]:
        """Yield the current version of revision and gates, then each change, also across lost connections.

        Raises CommandFailed or WrongStore if the store refuses to read them.
        """
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
        (number, changes), ends, *clock = await self._connection.calls(
            [
                ("HMGET", keys.LIVE, "number", "changes"),
                ("ZRANGE", keys.EXPIRIES, 0, -1, "WITHSCORES"),
                *_CLOCK,
            ]
        )
        now_ms = _now_ms(*clock)
        expired = sum(float(end) <= now_ms for end in ends[1::2])
        return Change(revision=_count(number), changes=_count(changes), expired=expired)


def _now_ms(clock: Sequence[bytes], ahead: Sequence[bytes | None]) -> int:
    """Return the time of the store for gates, from the replies to _CLOCK, as `time.lua` does."""
    (text,) = ahead
    return time_ms(clock) + (int(text) if text and len(text) < 12 and text.isdigit() else 0)


def _count(text: bytes | None) -> int:
    """Return a number in the live record that gates watch; -1 for an invalid value."""
    if text is None:
        return 0
    return int(text) if _is_time(text) else -1


def _is_time(text: bytes) -> bool:
    return text.isdigit() and len(text) < 16


def _project(stored: bytes | None) -> str:
    return DEFAULT_PROJECT if stored is None else stored.decode("utf-8", "replace")
