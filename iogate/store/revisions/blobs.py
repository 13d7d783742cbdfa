"""Programs and contents of revisions, stored by digest before the revision that names them.

Used by `Revisions`. Invariants: an object with another digest is refused; with publishers, so is a program
that none of them has signed, by itself or in a kept revision.

    iogate:program:DIGEST = definition in JSON | signature of a publisher, space, definition in JSON
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Bundle, Revision
from iogate.errors import NotFound
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection, time_ms
from iogate.store.integrity.refusals import Refusals
from iogate.store.revisions.revision_errors import NotAuthentic


class Blobs:
    """Client of the stored programs and contents."""

    def __init__(
        self,
        connection: Connection,
        ring: Keyring,
        refusals: Refusals,
        is_in_a_kept_revision: Callable[[str], Awaitable[bool]],
    ) -> None:
        """`is_in_a_kept_revision` tells whether an authentic revision contains a program."""
        self._connection = connection
        self._ring = ring
        self._refusals = refusals
        self._is_in_a_kept_revision = is_in_a_kept_revision

    async def store(self, bundle: Bundle) -> int:
        """Store the blobs of a bundle, programs and contents, and return the time of the store.

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

    async def program(self, digest: str) -> bytes:
        """Return the JSON of a program among the blobs, by its digest.

        Raises NotFound if there is none, NotAuthentic if it has another digest, or if none of the configured
        publishers has signed it.
        """
        return await self._verified(digest, await self._blob(keys.PROGRAM, digest, "program"))

    async def programs(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return many programs among the blobs by digest, in one round trip; raises as `program`."""
        wanted = sorted(digests)
        found = await self._connection.calls([("GET", keys.PROGRAM + digest) for digest in wanted])
        return {
            digest: await self._verified(digest, _existing(stored, digest, "program"))
            for digest, stored in zip(wanted, found, strict=True)
        }

    async def _verified(self, digest: str, stored: bytes) -> bytes:
        """Return the program in a blob without its signature, after a check of both."""
        signature, data = _split_program(stored)
        try:
            known = compiled.digest_of(msgspec.json.decode(data)) == digest
        except (msgspec.MsgspecError, ValueError, RecursionError):
            known = False
        if not known:
            self._refusals.note("program", digest, "its digest does not match")
            raise NotAuthentic(f"program {digest[:12]}…", "its digest does not match")
        fault = self._ring.program_fault(signature, digest)
        if fault is not None and not await self._is_in_a_kept_revision(digest):
            self._refusals.note("program", digest, fault)
            raise NotAuthentic(f"program {digest[:12]}…", fault)
        return data

    async def content(self, digest: str) -> bytes:
        """Return the content of a resource among the blobs, by its digest.

        Raises NotFound if there is none, NotAuthentic if it has another digest.
        """
        data = await self._blob(keys.CONTENT, digest, "content")
        if hashlib.sha256(data).hexdigest() != digest:
            self._refusals.note("content", digest, "its digest does not match")
            raise NotAuthentic(f"content {digest[:12]}…", "its digest does not match")
        return data

    async def missing(self, revision: Revision) -> list[str]:
        """Return the digests of the blobs of a revision that the store does not have."""
        names = sorted(keys.PROGRAM + digest for digest in revision.programs)
        names += sorted({keys.CONTENT + digest for digest in revision.resources.values()})
        found = await self._connection.calls([("EXISTS", name) for name in names]) if names else []
        return [name.rpartition(":")[2] for name, exists in zip(names, found, strict=True) if not exists]

    def _signed(self, digest: str, data: bytes) -> bytes:
        """Return the blob of a program, with its signature."""
        signature = self._ring.sign_program(digest)
        return b"%b %b" % (signature.encode(), data) if signature else data

    async def _blob(self, prefix: str, digest: str, noun: str) -> bytes:
        return _existing(await self._connection.call("GET", prefix + digest), digest, noun)


def _existing(data: bytes | None, digest: str, noun: str) -> bytes:
    if data is None:
        raise NotFound(
            f"there is no {noun} {digest[:12]}… in the store",
            code="IOG615",
            hint="`iogate apply --repair` stores what the files have again",
        )
    return data


def _split_program(stored: bytes) -> tuple[str, bytes]:
    """Return the signature in a program's blob, empty if it has none, and its definition."""
    if stored.startswith(b"{"):
        return "", stored
    signature, _, data = stored.partition(b" ")
    return signature.decode("utf-8", "replace"), data
