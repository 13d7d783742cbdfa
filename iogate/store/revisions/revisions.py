"""Published revisions: immutable and numbered; one of them is live.

Written by `apply`, read by gateways and workers. Invariants: programs and contents are stored by digest
before one atomic step makes a revision live together with its gates; a process with a key rejects a revision
that is not signed for its number, and a program or content with another digest; with publishers, it also
rejects a program that none of them has signed, by itself or in a kept revision.

    iogate:program:DIGEST = definition in JSON | signature of a publisher, space, definition in JSON
    signature of a revision: its number, its digest and its origin; without an origin, its number and its JSON
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from typing import Any

import msgspec

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Bundle, Revision
from iogate.errors import NotFound, Refused, WrongStore
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection, time_ms
from iogate.store.integrity.refusals import Refusals
from iogate.store.revisions import gate_fields, schedules
from iogate.store.revisions import origin as origins
from iogate.store.revisions.origin import Origin, Published, signed_parts

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


class Revisions:
    """Client of the published revisions, programs and contents."""

    def __init__(self, connection: Connection, ring: Keyring, refusals: Refusals) -> None:
        self._connection = connection
        self._ring = ring
        self._refusals = refusals

    async def publish(
        self,
        bundle: Bundle,
        expected: int | None = None,
        *,
        origin: Origin | None = None,
        clear_overrides: bool = False,
    ) -> int:
        """Make a bundle live and return its revision number, which is unchanged if the digest is the same.

        `clear_overrides`: end the overrides of its APIs in the same step, so that the values in git apply.
        Raises Conflict if the live revision is not `expected` (0: none yet; None: any), Misused if there is
        no key to sign it.
        """
        while expected is None:
            live = await self.live()
            with contextlib.suppress(Conflict):
                return await self._publish(bundle, 0 if live is None else live[0], origin, clear_overrides)
        return await self._publish(bundle, expected, origin, clear_overrides)

    async def _publish(
        self,
        bundle: Bundle,
        expected: int,
        origin: Origin | None,
        clear_overrides: bool,  # noqa: FBT001 -- as it is given
    ) -> int:
        revision = bundle.revision
        data = compiled.encode(revision)
        packed = None if origin is None else origins.encode(origin)
        signature = self._ring.sign_revision(*signed_parts(str(expected + 1).encode(), data, packed))
        now_ms = await self._store_blobs(bundle)
        code, number = await self._connection.run(
            "publish",
            expected,
            revision.digest,
            data,
            _encoder.encode(
                [(*gate_fields.gate(api), int(clear_overrides)) for api in revision.apis.values()]
            ),
            keys.REVISIONS_KEPT,
            _encoder.encode(schedules.publish_arguments(revision, now_ms)),
            signature,
            packed or b"",
            "1" if origin is not None and origin.action == "rollback" else "",
        )
        if code == b"conflict":
            raise Conflict(number, expected)
        if number == expected:
            await self._sign_again(number, data)
            if clear_overrides and revision.apis:
                await self._connection.run("restore", *revision.apis)
        return int(number)

    async def _store_blobs(self, bundle: Bundle) -> int:
        """Store programs and contents, and return the time of the store.

        A process without `publish_key` keeps the signatures that publishers gave to stored programs.
        """
        programs = bundle.programs
        names = [
            *(keys.PROGRAM + digest for digest in programs),
            *(keys.CONTENT + d for d in bundle.contents),
        ]
        now = int(time.time())
        kept: list[bytes | None] = [None] * len(programs)
        if names:
            await self._connection.calls([("ZADD", keys.BLOBS, now, name) for name in names])
        if programs and not self._ring.signs_programs:
            kept = await self._connection.calls([("GET", keys.PROGRAM + digest) for digest in programs])
        commands: list[tuple[bytes | str | int, ...]] = [
            ("SET", keys.PROGRAM + digest, self._signed(digest, data))
            for (digest, data), stored in zip(programs.items(), kept, strict=True)
            if stored is None or _split_program(stored)[1] != data
        ]
        commands += [("SET", keys.CONTENT + digest, data) for digest, data in bundle.contents.items()]
        commands.append(("SET", keys.IDENTITY, secrets.token_hex(8), "NX"))
        *_, clock = await self._connection.calls([*commands, ("TIME",)])
        return time_ms(clock)

    async def _sign_again(self, number: int, data: bytes) -> None:
        """Sign the live revision again after an apply of the same files: the key may have been rotated.

        An origin that is not authentic is removed, not signed.
        """
        key = f"{keys.REVISION}{number}"
        packed, signature = await self._connection.call("HMGET", key, "origin", "sig")
        if packed is not None and self._fault(str(number).encode(), data, packed, signature) is not None:
            await self._connection.call("HDEL", key, "origin")
            packed = None
        again = self._ring.sign_revision(*signed_parts(str(number).encode(), data, packed))
        await self._connection.call("HSET", key, "sig", again)

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

        Raises NotFound if it never existed or is no longer kept, NotAuthentic if it is forged, WrongStore if
        another release wrote it.
        """
        data, packed, signature = await self._connection.call(
            "HMGET", f"{keys.REVISION}{number}", "data", "origin", "sig"
        )
        if data is None:
            raise await self._unknown(number)
        self._verify(number, data, packed, signature)
        try:
            return compiled.decode(data)
        except msgspec.ValidationError as error:
            raise WrongStore(
                f"revision {number} in the store was written by another release of iogate: {error}",
                code="IOG634",
                hint="use the release that wrote it, or a newer one",
            ) from error

    async def bundle(self, number: int) -> Bundle:
        """Return a kept revision with its programs and contents, which can be published again.

        Raises NotFound if the revision or one of its blobs is not kept, NotAuthentic if one is forged.
        """
        revision = await self.load(number)
        programs, contents = sorted(revision.programs), sorted(set(revision.resources.values()))
        return Bundle(
            revision=revision,
            programs=dict(zip(programs, await asyncio.gather(*map(self.program, programs)), strict=True)),
            contents=dict(zip(contents, await asyncio.gather(*map(self.content, contents)), strict=True)),
        )

    async def history(self) -> list[Published]:
        """Return the kept revisions, newest first; an origin that is not authentic is left out."""
        numbers = await self._connection.call("LRANGE", keys.REVISIONS, 0, -1)
        rows = await self._connection.calls([_entry_command(number.decode()) for number in numbers])
        return [
            self._entry(int(number), row)
            for number, row in zip(numbers, rows, strict=True)
            if row[0] is not None
        ]

    async def published(self, number: int) -> Published:
        """Return the entry of one revision in the history.

        Raises NotFound if the revision is not kept, NotAuthentic if its origin is forged.
        """
        row = await self._connection.call(*_entry_command(str(number)))
        if row[0] is None:
            raise await self._unknown(number)
        entry = self._entry(number, row)
        if entry.fault is not None:
            raise NotAuthentic(f"the origin of revision {number}", entry.fault)
        return entry

    async def origin(self, number: int) -> Origin | None:
        """Return the origin of a revision; None for one of an earlier release.

        Raises NotFound and NotAuthentic as `published` does.
        """
        return (await self.published(number)).origin

    def _entry(self, number: int, row: list[Any]) -> Published:
        digest, at, packed, signature = row
        fault: str | None = None
        origin: Origin | None = None
        if packed is not None:
            try:
                origin = origins.decode(packed)
                fault = self._origin_fault(str(number).encode(), digest, packed, signature)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                fault = "it is not readable"
        if fault is not None:
            self._refusals.note("revision", str(number), fault)
        return Published(
            number=number,
            digest=digest.decode("utf-8", "replace"),
            published_at_ms=int(at or 0),
            origin=origin if fault is None else None,
            fault=fault,
        )

    async def _unknown(self, number: int) -> NotFound:
        """Return the error of a revision that does not exist, or is no longer kept."""
        numbers = await self._connection.call("LRANGE", keys.REVISIONS, 0, -1)
        live = await self._connection.call("HGET", keys.LIVE, "number")
        if not numbers or live is None:
            return NotFound(
                f"there is no revision {number}: none was ever applied",
                code="IOG614",
                hint="`iogate apply` publishes the first one",
            )
        return NotFound(
            f"there is no revision {number}: the oldest that the store keeps is {int(numbers[-1])}, "
            f"and {int(live)} is live",
            code="IOG614",
            hint="`iogate history` lists them",
        )

    def _verify(self, number: int, data: bytes, packed: bytes | None, signature: bytes | None) -> None:
        fault = self._fault(str(number).encode(), data, packed, signature)
        if fault is not None:
            self._refusals.note("revision", str(number), fault)
            raise NotAuthentic(f"revision {number}", fault)

    def _fault(self, number: bytes, data: bytes, packed: bytes | None, signature: bytes | None) -> str | None:
        """Return why a stored revision is not accepted; None if it is, or if this process has no key."""
        if not self._ring.verifies_revisions:
            return None
        signed = (signature or b"").decode("utf-8", "replace")
        return self._ring.revision_fault(signed, *signed_parts(number, data, packed))

    def _origin_fault(
        self, number: bytes, digest: bytes, packed: bytes, signature: bytes | None
    ) -> str | None:
        """Return `_fault` of a revision with an origin, of which only the digest was read."""
        if not self._ring.verifies_revisions:
            return None
        signed = (signature or b"").decode("utf-8", "replace")
        return self._ring.revision_fault(signed, number, digest, packed)

    async def altered_gates(self, revision: Revision) -> list[tuple[str, str]]:
        """Return the APIs whose gate differs from what a publish of the revision writes, with a text."""
        return await gate_fields.altered(self._connection, revision)

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
            data, packed, signature = await self._connection.call(
                "HMGET", keys.REVISION.encode() + number, "data", "origin", "sig"
            )
            if data is None or self._fault(number, data, packed, signature) is not None:
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

    async def missing(self, revision: Revision) -> list[str]:
        """Return the digests of the programs and contents of a revision that the store does not have."""
        names = sorted(keys.PROGRAM + digest for digest in revision.programs)
        names += sorted({keys.CONTENT + digest for digest in revision.resources.values()})
        found = await self._connection.calls([("EXISTS", name) for name in names]) if names else []
        return [name.rpartition(":")[2] for name, exists in zip(names, found, strict=True) if not exists]

    async def _blob(self, prefix: str, digest: str, noun: str) -> bytes:
        data: bytes | None = await self._connection.call("GET", prefix + digest)
        if data is None:
            raise NotFound(f"there is no {noun} {digest[:12]}… in the store", code="IOG615")
        return data


def _entry_command(number: str) -> tuple[str, ...]:
    return "HMGET", keys.REVISION + number, "digest", "at", "origin", "sig"


def _split_program(stored: bytes) -> tuple[str, bytes]:
    """Return the signature of a stored program, empty if it has none, and its definition."""
    if stored.startswith(b"{"):
        return "", stored
    signature, _, data = stored.partition(b" ")
    return signature.decode("utf-8", "replace"), data
