"""Adoption of a store: sign all unsigned objects, then raise the format number.

Called by `up` for an embedded store of an earlier release, and by `iogate store adopt`. Invariants: no
gateway and no worker runs meanwhile; each step is idempotent, and the format number is raised last, so that
an interrupted adoption can be repeated; the store is scanned in pages and never blocked for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from iogate.security.keyring import SEAL_CHARACTERS, digest
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, pairs
from iogate.store.connection.packing import bytes_of, encode, flat
from iogate.store.integrity import seals
from iogate.store.revisions.origin import signed_parts
from iogate.store.runs import views
from iogate.store.store import Store

PAGE = 200
SAY_S = 2.0

_packed = msgspec.msgpack.Decoder(
    tuple[list[msgspec.Raw], list[msgspec.Raw], list[msgspec.Raw], list[msgspec.Raw]]
)


class Adopted(msgspec.Struct):
    """Numbers of signed objects."""

    revisions: int = 0
    runs: int = 0
    ended: int = 0
    messages: int = 0
    events: int = 0


async def adopt(store: Store, progress: Callable[[int, int], None] | None = None) -> Adopted:
    """Adopt a store: sign all objects in it with the first key of its keyring.

    `progress` is called every SAY_S with the number of scanned keys and their approximate total. Raises
    Misused for a keyring without keys.
    """
    return await _Adoption(store).run(progress or (lambda *_: None))


class _Adoption:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._ring = store.keyring
        self._found = Adopted()

    async def run(self, progress: Callable[[int, int], None]) -> Adopted:
        call = self._store.call
        self._ring.sign("run")  # raises before any change if there is no key
        total, done, said, cursor = int(await call("DBSIZE")), 0, time.monotonic(), b"0"
        while True:
            cursor, found = await call("SCAN", cursor, "MATCH", keys.ALL, "COUNT", PAGE)
            for key in found:
                try:
                    await self._sign(key.decode())
                except (CommandFailed, ValueError, msgspec.MsgspecError):
                    continue  # not written by iogate: it stays unsigned and is refused when it is read
            done += len(found)
            if time.monotonic() - said >= SAY_S:
                said = time.monotonic()
                progress(min(done, total), total)
            if cursor == b"0":
                break
        await self._store.revisions.seal_live(await self._store.now_ms())
        await call("DEL", keys.KEYS)
        await call("HSET", keys.KEYS, self._ring.ids[0], 1)
        await call("SET", keys.FORMAT, keys.FORMAT_NUMBER)
        return self._found

    async def _sign(self, key: str) -> None:
        for prefix, sign in (
            (keys.REVISION, self._revision),
            (keys.RUN, self._run),
            (keys.PARKED, self._parked),
            (keys.END, self._end),
            (keys.INBOX, self._inbox),
        ):
            rest = key.removeprefix(prefix)
            if rest != key and rest.isdigit():
                await sign(rest)
                return
        if key == keys.EVENTS:
            await self._events()

    async def _revision(self, number: str) -> None:
        data, packed = await self._store.call("HMGET", keys.REVISION + number, "data", "origin")
        if data is not None:
            signature = self._ring.sign_revision(*signed_parts(number.encode(), data, packed))
            await self._store.call("HSET", keys.REVISION + number, "sig", signature)
            self._found.revisions += 1

    async def _run(self, uid: str) -> None:
        key = keys.RUN + uid
        run = pairs(await self._store.call("HGETALL", key))
        if "f" not in run:
            return
        frames = pairs(await self._store.call("HGETALL", keys.FRAMES + uid))
        facts = self._facts(uid, run["api"], run["f"], run.get("in", b""), _parent(run))
        commands: list[tuple[str | bytes, ...]] = [("HSET", key, "f", facts)]
        if seal := self._state(uid, frames):
            commands.append(("HSET", keys.FRAMES + uid, seals.STATE, seal))
        for command in commands:
            await self._store.call(*command)
        self._found.runs += 1

    async def _parked(self, uid: str) -> None:
        packed = await self._store.call("GET", keys.PARKED + uid)
        if packed is None:
            return
        parts = _packed.decode(packed)
        run, frames = _pairs(parts[0]), _pairs(parts[3])
        run["f"] = self._facts(uid, run["api"], run["f"], run.get("in", b""), _parent(run))
        if seal := self._state(uid, frames):
            frames[seals.STATE] = seal
        again = encode((flat(run), parts[1], parts[2], flat(frames)))
        await self._store.call("SET", keys.PARKED + uid, again, "XX")
        self._found.runs += 1

    async def _end(self, uid: str) -> None:
        """Sign an ended run for the adoption; only a faulted one needs it, for `retry`."""
        blob = await self._store.call("GET", keys.END + uid)
        record = None if blob is None else views.ended_record.decode(blob)
        if record is None or record.status != "faulted":
            return
        big = await self._store.call("HGET", keys.BIG + uid, "input")
        given = big if big is not None else record.input.encode()
        facts = self._facts(uid, record.api.encode(), record.facts.encode(), given, "")
        frames = pairs(await self._store.call("HGETALL", keys.FRAMES + uid))
        if seal := self._state(uid, frames):
            await self._store.call("HSET", keys.FRAMES + uid, seals.STATE, seal)
        again = msgspec.msgpack.encode(msgspec.structs.replace(record, facts=facts.decode()))
        await self._store.call("SET", keys.END + uid, again, "XX", "KEEPTTL")
        self._found.ended += 1

    async def _inbox(self, uid: str) -> None:
        def signed(entry: bytes) -> bytes:
            frame, kind, data = entry.split(b" ", 2)
            data = self._child(f"{uid}/{frame.decode()}", data) if kind == b"child" else self._event(data)
            return b" ".join((frame, kind, data))

        self._found.messages += await self._entries(keys.INBOX + uid, signed)

    async def _events(self) -> None:
        def signed(entry: bytes) -> bytes:
            number, _, event = entry.partition(b" ")
            return number + b" " + self._event(event)

        self._found.events += await self._entries(keys.EVENTS, signed)

    async def _entries(self, key: str, signed: Callable[[bytes], bytes]) -> int:
        """Sign the entries of a stored list in pages, for an adoption; return their number."""
        first = 0
        while entries := await self._store.call("LRANGE", key, first, first + PAGE - 1):
            for index, entry in enumerate(entries, first):
                await self._store.call("LSET", key, index, signed(entry))
            first += len(entries)
        return first

    def _facts(self, uid: str, api: bytes, packed: bytes, data: bytes, parent: str) -> bytes:
        facts = seals.decode_facts(packed)
        facts = msgspec.structs.replace(facts, parent=facts.parent or parent, seal="")
        return seals.seal_facts(self._ring, uid, api.decode(), facts, data)

    def _state(self, uid: str, frames: dict[str, bytes]) -> bytes | None:
        frames.pop(seals.STATE, None)
        head = frames.get("head")
        if head is None:
            return None
        digests = {name: digest(frame) for name, frame in frames.items() if name != "head"}
        return seals.seal_state(self._ring, uid, head, seals.manifest(digests))

    def _event(self, stored: bytes) -> bytes:
        """Sign a stored event for the adoption; it begins with its seal, or with `{` in earlier releases."""
        event = stored if stored.startswith(b"{") else stored[SEAL_CHARACTERS + 1 :]
        return seals.seal_event(self._ring, event)

    def _child(self, parent: str, data: bytes) -> bytes:
        result = seals.decode_child_result(data)
        output, error = bytes(result.output), bytes(result.error)
        seal = seals.seal_end(self._ring, parent, result.status, output, error)
        return b'{"status":"%b","output":%b,"error":%b,"seal":"%b"}' % (
            result.status.encode(),
            output,
            error,
            seal,
        )


def _parent(run: dict[str, bytes]) -> str:
    return f"{run['par'].decode()}/{run['pfr'].decode()}" if "par" in run and "pfr" in run else ""


def _pairs(flat_parts: Sequence[msgspec.Raw]) -> dict[str, bytes]:
    return pairs([bytes_of(part) for part in flat_parts])
