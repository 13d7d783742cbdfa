"""Published revisions: immutable and numbered; one of them is live.

Written by `apply`, read by gateways and workers. Invariants: programs and contents are stored by digest
before one atomic step makes a revision live together with its gates; a process with a key rejects a revision
that is not signed for its number, and a program or content with another digest; with publishers, it also
rejects a program that none of them has signed, by itself or in a kept revision.

    iogate:program:DIGEST = definition in JSON | signature of a publisher, space, definition in JSON
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import Any

import msgspec

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Api, Bundle, Revision
from iogate.errors import NotFound, Refused
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection, time_ms
from iogate.store.integrity.refusals import Refusals
from iogate.store.maintenance.presence import GATEWAY, Presence
from iogate.store.revisions import schedules

_encoder = msgspec.msgpack.Encoder()


class Conflict(Refused):
    """Error of a publish after another revision went live in between."""

    def __init__(self, live: int, expected: int) -> None:
        super().__init__(
            f"the live revision is {live}, not {expected}: someone else applied in between",
            code="IOG613",
            hint="fetch what they committed, then apply again",
        )
        self.live = live


class NotAuthentic(Refused):
    """Error of an object in the store whose signature or digest is not valid."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"{what} in the store is refused: {why}",
            code="IOG673",
            hint="find out what else writes to the store, then apply again; "
            "`iogate explain IOG673` says what to look at",
        )


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """Entry of the history of revisions."""

    number: int
    digest: str
    published_at_ms: int


class Revisions:
    """Client of the published revisions, programs and contents."""

    def __init__(self, connection: Connection, ring: Keyring, refusals: Refusals) -> None:
        self._connection = connection
        self._ring = ring
        self._refusals = refusals

    async def publish(self, bundle: Bundle, expected: int | None = None) -> int:
        """Make a bundle live and return its revision number, which is unchanged if the digest is the same.

        Raises Conflict if the live revision is not `expected` (0: none yet; None: any), Misused if there is
        no key to sign it.
        """
        while expected is None:
            live = await self.live()
            with contextlib.suppress(Conflict):
                return await self._publish(bundle, 0 if live is None else live[0])
        return await self._publish(bundle, expected)

    async def _publish(self, bundle: Bundle, expected: int) -> int:
        revision = bundle.revision
        blobs = {
            keys.PROGRAM + digest: self._signed(digest, data) for digest, data in bundle.programs.items()
        }
        blobs |= {keys.CONTENT + digest: data for digest, data in bundle.contents.items()}
        data = compiled.encode(revision)
        signature = self._ring.sign_revision(str(expected + 1).encode(), data)
        now = int(time.time())
        commands: list[tuple[bytes | str | int, ...]] = [("SET", key, data) for key, data in blobs.items()]
        *_, clock = await self._connection.calls(
            [*commands, *(("ZADD", keys.BLOBS, now, key) for key in blobs), ("TIME",)]
        )
        code, number = await self._connection.run(
            "publish",
            expected,
            revision.digest,
            data,
            _encoder.encode([_gate(api) for api in revision.apis.values()]),
            keys.REVISIONS_KEPT,
            _encoder.encode(schedules.publish_arguments(revision, time_ms(clock))),
            signature,
        )
        if code == b"conflict":
            raise Conflict(number, expected)
        if number == expected:
            # Same files: sign the live revision again, since the key may have been rotated.
            again = self._ring.sign_revision(str(number).encode(), data)
            await self._connection.call("HSET", f"{keys.REVISION}{number}", "sig", again)
        return int(number)

    async def live(self) -> tuple[int, str] | None:
        """Return number and digest of the live revision, None if there is none.

        Raises NotAuthentic for an invalid record.
        """
        number, digest = await self._connection.call("HMGET", keys.LIVE, "number", "digest")
        if number is None:
            return None
        if not (number.isdigit() and len(number) < 16 and digest and digest.isalnum()):
            why = "its number or digest is invalid"
            self._refusals.note("revision", "live", why)
            raise NotAuthentic("the record of the live revision", why)
        return int(number), digest.decode("ascii")

    async def load(self, number: int) -> Revision:
        """Return a revision.

        Raises NotFound if it never existed or is no longer kept, NotAuthentic if it is forged.
        """
        data, signature = await self._connection.call("HMGET", f"{keys.REVISION}{number}", "data", "sig")
        if data is None:
            raise NotFound(
                f"there is no revision {number}", code="IOG614", hint="`iogate status` shows the live one"
            )
        if self._ring.verifies_revisions:
            signed = (signature or b"").decode("utf-8", "replace")
            fault = self._ring.revision_fault(signed, str(number).encode(), data)
            if fault is not None:
                self._refusals.note("revision", str(number), fault)
                raise NotAuthentic(f"revision {number}", fault)
        return compiled.decode(data)

    async def history(self) -> list[Published]:
        """Return the kept revisions, newest first."""
        numbers = await self._connection.call("LRANGE", keys.REVISIONS, 0, -1)
        rows = await self._connection.calls(
            [("HMGET", keys.REVISION + number.decode(), "digest", "at") for number in numbers]
        )
        return [
            Published(number=int(number), digest=digest.decode(), published_at_ms=int(at))
            for number, (digest, at) in zip(numbers, rows, strict=True)
            if digest is not None
        ]

    async def program(self, digest: str) -> bytes:
        """Return the JSON of a workflow's definition.

        Raises NotFound if there is none, NotAuthentic if it has another digest, or if none of the configured
        publishers has signed it.
        """
        signature, data = _split_program(await self._blob(keys.PROGRAM, digest, "program"))
        try:
            known = compiled.digest_of(msgspec.json.decode(data)) == digest
        except (msgspec.MsgspecError, ValueError, RecursionError):
            known = False
        if not known:
            self._refusals.note("program", digest, "its digest does not match")
            raise NotAuthentic(f"program {digest[:12]}…", "its digest does not match")
        fault = self._ring.program_fault(signature, digest)
        if fault is not None and not await self._is_in_a_signed_revision(digest):
            self._refusals.note("program", digest, fault)
            raise NotAuthentic(f"program {digest[:12]}…", fault)
        return data

    def _signed(self, digest: str, data: bytes) -> bytes:
        """Return the stored form of a program, with its signature."""
        signature = self._ring.sign_program(digest)
        return b"%b %b" % (signature.encode(), data) if signature else data

    async def _is_in_a_signed_revision(self, digest: str) -> bool:
        """Return whether a kept revision with a valid signature contains the program.

        Programs that an earlier release stored, or a process without the publish key, carry no signature.
        """
        for number in await self._connection.call("LRANGE", keys.REVISIONS, 0, -1):
            data, signature = await self._connection.call(
                "HMGET", keys.REVISION.encode() + number, "data", "sig"
            )
            signed = (signature or b"").decode("utf-8", "replace")
            if data is None or self._ring.revision_fault(signed, number, data) is not None:
                continue
            with contextlib.suppress(msgspec.MsgspecError):  # of a newer release
                if digest in compiled.decode(data).programs:
                    return True
        return False

    async def content(self, digest: str) -> bytes:
        """Return the content of a resource.

        Raises NotFound if there is none, NotAuthentic if it has another digest.
        """
        data = await self._blob(keys.CONTENT, digest, "content")
        if hashlib.sha256(data).hexdigest() != digest:
            self._refusals.note("content", digest, "its digest does not match")
            raise NotAuthentic(f"content {digest[:12]}…", "its digest does not match")
        return data

    async def wait_taken(self, number: int, timeout_s: float) -> list[str]:
        """Wait until every gateway has loaded the revision; return the ids of those that have not."""
        until = time.monotonic() + timeout_s
        while True:
            late = [p.id for p in await Presence(self._connection).list(GATEWAY) if p.revision < number]
            if not late or time.monotonic() >= until:
                return late
            await asyncio.sleep(0.02)

    async def _blob(self, prefix: str, digest: str, noun: str) -> bytes:
        data: bytes | None = await self._connection.call("GET", prefix + digest)
        if data is None:
            raise NotFound(f"there is no {noun} {digest[:12]}… in the store", code="IOG615")
        return data


def _split_program(stored: bytes) -> tuple[str, bytes]:
    """Return the signature of a stored program, empty if it has none, and its definition."""
    if stored.startswith(b"{"):
        return "", stored
    signature, _, data = stored.partition(b" ")
    return signature.decode("utf-8", "replace"), data


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
    """Format a number with all digits, because Lua would round a float when it converts it."""
    return value if isinstance(value, str) else repr(value)
