"""Files of runs in the store, in chunks: stored before their call is accepted, read by effects.

Used by the gateway and by workers. Invariants: the accept of the call makes the files permanent together with
its run, and until then they expire; what is read has the digest that the data of the run names.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection, StoreFull, StoreUnavailable
from iogate.store.connection.failures import Drained
from iogate.store.connection.memory_watermark import Memory

CHUNK: Final = 512 * 1024
"""Bytes of a chunk: the server serves other clients between two of them."""
OVERHEAD: Final = 128
"""Bytes that a chunk takes beyond its content."""


class StoredFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were stored for a call."""

    id: str
    chunks: int


class RunFiles:
    """Client for the files of runs."""

    def __init__(self, connection: Connection, memory: Memory) -> None:
        self._connection = connection
        self._memory = memory

    async def store(self, contents: Mapping[str, bytes | memoryview]) -> StoredFiles:
        """Store files of a run in chunks, by their digests, before its call is accepted.

        Raises StoreFull above the memory watermark, Drained, and StoreUnavailable. After the first two, it
        deletes the chunks that are stored already.
        """
        id_, chunks = secrets.token_hex(16), 0
        await self._memory.check(size=sum(len(content) + OVERHEAD for content in contents.values()))
        try:
            for sha256, content in contents.items():
                for number in range(max(1, -(-len(content) // CHUNK))):
                    part = bytes(content[number * CHUNK : (number + 1) * CHUNK])
                    await self._store_chunk(id_, f"{sha256}:{number}", part)
                    chunks += 1
        except (StoreFull, Drained):
            await self.drop(StoredFiles(id=id_, chunks=chunks))
            raise
        return StoredFiles(id=id_, chunks=chunks)

    async def _store_chunk(self, id_: str, field: str, part: bytes) -> None:
        code, *left_ms = await self._connection.run("store_file", id_, field, part)
        if code == b"memory":
            raise StoreFull
        if code == b"drained":
            raise Drained(left_ms[0] / 1000)

    async def drop(self, files: StoredFiles) -> None:
        """Delete stored files that no run has; if the store does not answer, they expire."""
        with contextlib.suppress(StoreUnavailable):
            if not await self._connection.call("EXISTS", keys.FILE_RUNS + files.id):
                await self._connection.call("UNLINK", keys.FILES + files.id)

    async def read(self, uid: str, sha256: str) -> bytes:
        """Read a file of a run from its chunks in the store.

        Raises KeyError if the run has no such file, and StoreUnavailable.
        """
        id_ = await self._id_of(uid)
        parts: list[bytes] = []
        while id_ and (part := await self._chunk(id_, sha256, len(parts))) is not None:
            parts.append(part)
        content = b"".join(parts)
        digest = await asyncio.to_thread(hashlib.sha256, content)
        if not parts or digest.hexdigest() != sha256:
            raise KeyError(sha256)
        return content

    async def _chunk(self, id_: str, sha256: str, number: int) -> bytes | None:
        found: bytes | None = await self._connection.call("HGET", keys.FILES + id_, f"{sha256}:{number}")
        return found

    async def _id_of(self, uid: str) -> str:
        """Return the id of the files of a run; an effect that no task awaits may outlive its run."""
        found = await self._connection.run("files_of", uid)
        return "" if found is None else str(found, "ascii", "replace")
