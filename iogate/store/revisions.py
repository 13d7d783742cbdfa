"""Published revisions: immutable, numbered, one of them live.

Written by `apply`, read by gateways and workers. Invariant: programs and contents are stored by digest
before the one atomic step that makes a revision live together with its gates.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Api, Bundle, Revision
from iogate.errors import NotFound, Refused
from iogate.store import keys, schedules
from iogate.store.line import Line, time_ms
from iogate.store.presence import GATEWAY, Presence

_encoder = msgspec.msgpack.Encoder()


class Conflict(Refused):
    """Another revision went live in between."""

    def __init__(self, live: int, expected: int) -> None:
        super().__init__(
            f"the live revision is {live}, not {expected}: someone else applied in between",
            code="IOG613",
            hint="fetch what they committed, then apply again",
        )
        self.live = live


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the history."""

    number: int
    digest: str
    published_at_ms: int


class Revisions:
    def __init__(self, line: Line) -> None:
        self._line = line

    async def publish(self, bundle: Bundle, expected: int | None = None) -> int:
        """Make it live and return its number; the live one's where the digest is the same.

        Raises Conflict when the live revision is not `expected` (0: none yet; None: whatever is live).
        """
        revision = bundle.revision
        blobs = {keys.PROGRAM + digest: data for digest, data in bundle.programs.items()}
        blobs |= {keys.CONTENT + digest: data for digest, data in bundle.contents.items()}
        now = int(time.time())
        commands: list[tuple[bytes | str | int, ...]] = [("SET", key, data) for key, data in blobs.items()]
        *_, clock = await self._line.calls(
            [*commands, *(("ZADD", keys.BLOBS, now, key) for key in blobs), ("TIME",)]
        )
        code, number = await self._line.run(
            "publish",
            "" if expected is None else expected,
            revision.digest,
            compiled.encode(revision),
            _encoder.encode([_gate(api) for api in revision.apis.values()]),
            keys.REVISIONS_KEPT,
            _encoder.encode(schedules.swap(revision, time_ms(clock))),
        )
        if code == b"conflict":
            raise Conflict(number, expected or 0)
        return int(number)

    async def live(self) -> tuple[int, str] | None:
        """Number and digest of the live revision."""
        number, digest = await self._line.call("HMGET", keys.LIVE, "number", "digest")
        return None if number is None else (int(number), digest.decode())

    async def load(self, number: int) -> Revision:
        """Raises NotFound for one that never was or is no longer kept."""
        data = await self._line.call("HGET", f"{keys.REVISION}{number}", "data")
        if data is None:
            raise NotFound(
                f"there is no revision {number}", code="IOG614", hint="`iogate status` shows the live one"
            )
        return compiled.decode(data)

    async def history(self) -> list[Published]:
        """The revisions that are kept, newest first."""
        numbers = await self._line.call("LRANGE", keys.REVISIONS, 0, -1)
        rows = await self._line.calls(
            [("HMGET", keys.REVISION + number.decode(), "digest", "at") for number in numbers]
        )
        return [
            Published(number=int(number), digest=digest.decode(), published_at_ms=int(at))
            for number, (digest, at) in zip(numbers, rows, strict=True)
            if digest is not None
        ]

    async def program(self, digest: str) -> bytes:
        return await self._blob(keys.PROGRAM, digest, "program")

    async def content(self, digest: str) -> bytes:
        return await self._blob(keys.CONTENT, digest, "content")

    async def wait_taken(self, number: int, timeout_s: float) -> list[str]:
        """Wait until every gateway has taken the revision; the ids of those that have not."""
        until = time.monotonic() + timeout_s
        while True:
            late = [p.id for p in await Presence(self._line).list(GATEWAY) if p.revision < number]
            if not late or time.monotonic() >= until:
                return late
            await asyncio.sleep(0.02)

    async def _blob(self, prefix: str, digest: str, noun: str) -> bytes:
        data: bytes | None = await self._line.call("GET", prefix + digest)
        if data is None:
            raise NotFound(f"there is no {noun} {digest[:12]}… in the store", code="IOG615")
        return data


def _gate(api: Api) -> tuple[Any, ...]:
    limits = api.limits
    interval: float | str = ""
    slack: float | str = ""
    if limits.rate is not None:
        interval = 1000 / limits.rate
        slack = (max(1, limits.burst or int(limits.rate)) - 1) * interval
    git = "" if api.enabled is None else str(int(api.enabled))
    running = "" if limits.running is None else limits.running
    return (api.id, api.digest, git, limits.queued, _number(interval), _number(slack), running)


def _number(value: float | str) -> str:
    """Lua would cut a float's last digits when it turns it into text."""
    return value if isinstance(value, str) else repr(value)
