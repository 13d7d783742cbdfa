"""Batches: bulk actions of operators on runs, which one worker at a time carries out.

Used by `iogate.operators.batches`. The runs of a batch are fixed when it is created, and stored in chunks,
each sealed with the request, so that a writer to the store cannot make workers retry other runs. Invariant:
the runs of a chunk leave the list in the same step that counts their results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from iogate.security.keyring import SEAL_CHARACTERS, Keyring, missing
from iogate.store import keys
from iogate.store.connection.connection import Connection, pairs
from iogate.store.connection.pubsub import Doorbell, PubSub
from iogate.store.integrity.refusals import Refusals

CHUNK: Final = 50
"""Maximum number of runs of one step of a worker."""
READ_AT_ONCE: Final = 200
NOT_AUTHENTIC: Final = "its runs were not written by a process that has the link_key"

BatchAction = Literal["retry", "cancel", "suspend", "resume"]
State = Literal["running", "stopping", "stopped", "done", "failed"]


class BatchRun(msgspec.Struct, frozen=True, array_like=True):
    """A run of a batch."""

    uid: str
    api: str = ""
    """Empty if the run did not exist when the batch was created."""
    attempt: int = 0
    """Attempt that a retry repeats; 0: any."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored request of a batch, which never changes."""

    action: BatchAction
    actor: str
    role: str
    via: str
    origin: str
    reason: str = ""
    filter: dict[str, Any] = {}
    """Filter by which its runs were chosen, as JSON; empty if they were named."""
    pointer: str | None = None
    """Earlier task from which each run is retried."""
    current: bool = False
    """Whether the live definition is used for the retries."""
    activity: int | None = None
    """Number of the entry in the activity."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Run that could not be changed, and why."""

    uid: str
    message: str


class Messages(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Samples of what happened to runs of a batch."""

    refusals: tuple[Refusal, ...] = ()
    remarks: tuple[str, ...] = ()
    waiting: str = ""
    """Why the next step waits; empty if it does not."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch with its progress."""

    id: str
    request: Request
    state: State
    count: int
    """Number of all runs."""
    changed: int = 0
    unchanged: int = 0
    """Runs that already were as wanted."""
    refused: int = 0
    messages: Messages = Messages()
    note: str = ""
    """Why it failed."""
    created_at_ms: int
    changed_at_ms: int
    ended_at_ms: int | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The next runs of a batch, under the lease of a worker."""

    id: str
    token: int
    request: Request
    runs: list[BatchRun]
    messages: Messages
    sealed: bytes
    """Stored request, which the seals of its chunks cover."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Results of one step of a batch."""

    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    messages: Messages = Messages()
    left: Sequence[BatchRun] = ()
    """Runs of the chunk that the step has not come to."""
    goes_last: bool = False
    """Whether the other runs of the batch come before them."""
    pause_s: float = 0.0


_requests = msgspec.json.Decoder(Request)
_messages = msgspec.json.Decoder(Messages)
_runs = msgspec.msgpack.Decoder(list[BatchRun])


class Batches:
    """Client of the script of batches."""

    def __init__(self, connection: Connection, pubsub: PubSub, ring: Keyring, refusals: Refusals) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self._ring = ring
        self._refusals = refusals

    async def create(self, id_: str, request: Request, runs: Sequence[BatchRun]) -> str:
        """Store a new batch; return `created`, `exists` if there is one with this id, or `many`.

        Raises Misused without a key, StoreUnavailable or StoreFull if it cannot be stored.
        """
        made = msgspec.json.encode(request)
        chunks = [self._seal(id_, made, runs[first : first + CHUNK]) for first in range(0, len(runs), CHUNK)]
        answer: bytes = await self._connection.run("batch", "create", id_, made, len(runs), *chunks)
        await self._connection.confirm()
        return answer.decode()

    async def named(self, uids: Sequence[str]) -> list[tuple[BatchRun, str]]:
        """Return the runs that a new batch names, with their status; an unknown one has none, and no API."""
        found: list[tuple[BatchRun, str]] = []
        for first in range(0, len(uids), READ_AT_ONCE):
            part = uids[first : first + READ_AT_ONCE]
            heads = await self._connection.run("heads", *part)
            for uid, head in zip(part, heads, strict=True):
                api, status, attempt = head or (b"", b"", 0)
                run = BatchRun(uid=uid, api=api.decode(), attempt=attempt)
                found.append((run, status.decode()))
        return found

    async def take(self, owner: str) -> tuple[Taken | None, float | None]:
        """Lease the next runs of a batch that is due, as its worker; return the seconds until one is due.

        Raises Misused without a key: no seal would verify, and the batch would count as forged.
        """
        if not self._ring.can_sign:
            raise missing("the key that authenticates the runs of batches is needed")
        wait_ms, *found = await self._connection.run("batch", "take", owner)
        if not found:
            return None, None if wait_ms < 0 else wait_ms / 1000
        name, token, made, chunk, messages = found
        id_ = name.decode()
        runs = self._open(id_, made, chunk)
        if runs is None:
            await self._connection.run("batch", "fail", id_, token, NOT_AUTHENTIC)
            return None, 0.0
        taken = Taken(
            id=id_,
            token=token,
            request=_requests.decode(made),
            runs=runs,
            messages=_read_messages(messages),
            sealed=made,
        )
        return taken, 0.0

    async def renew(self, taken: Taken) -> bool:
        """Tell whether a batch may go on with its next run: its lease lasts, and it was not stopped."""
        return bool(await self._connection.run("batch", "renew", taken.id, taken.token))

    async def settle(self, taken: Taken, results: Results) -> str:
        """Store the results of a step of a batch, and end its lease; return the state, or `lost`.

        It is `lost` if the worker does not have the lease any more.
        """
        left = self._seal(taken.id, taken.sealed, results.left) if results.left else b""
        answer: bytes = await self._connection.run(
            "batch",
            "settle",
            taken.id,
            taken.token,
            results.changed,
            results.unchanged,
            results.refused,
            msgspec.json.encode(results.messages),
            round(results.pause_s * 1000),
            left,
            int(results.goes_last),
        )
        return answer.decode()

    async def stop(self, id_: str) -> str:
        """Stop a stored batch before its next run; return its state, or `unknown`."""
        answer: bytes = await self._connection.run("batch", "stop", id_)
        return answer.decode()

    async def proceed(self, id_: str) -> str:
        """Continue a stored batch that was stopped; return its state, or `unknown`."""
        answer: bytes = await self._connection.run("batch", "continue", id_)
        return answer.decode()

    async def show(self, id_: str) -> Batch | None:
        """Read a batch from the store; None if there is none."""
        found: Any = await self._connection.call("HGETALL", keys.BATCH + id_)
        return self._read(id_, found)

    async def newest(self, limit: int, before: tuple[int, str] | None = None) -> list[Batch]:
        """Read the newest batches from the store, or those before one: its creation in ms, and its id."""
        bound = "+inf" if before is None else before[0]
        stored = await self._connection.call(
            "ZREVRANGEBYSCORE", keys.BATCHES, bound, "-inf", "WITHSCORES", "LIMIT", 0, keys.BATCHES_KEPT
        )
        ids = [
            id_.decode()
            for id_, at in zip(stored[::2], stored[1::2], strict=True)
            if before is None or (int(float(at)), id_.decode()) < before
        ]
        found: list[Batch] = []
        for first in range(0, len(ids), limit):
            part = ids[first : first + limit]
            replies = await self._connection.calls([("HGETALL", keys.BATCH + id_) for id_ in part])
            batches = (self._read(id_, fields) for id_, fields in zip(part, replies, strict=True))
            found += [each for each in batches if each is not None]
            if len(found) >= limit:
                break
        return found[:limit]

    async def waiting(self, apis: Sequence[str]) -> dict[str, int]:
        """Return, to pace batches, the number of runs of each API that wait ahead of its new runs."""
        lengths = await self._connection.calls([("LLEN", keys.WOKEN + api) for api in apis])
        return dict(zip(apis, lengths, strict=True))

    def doorbell(self) -> tuple[Doorbell, Any]:
        """Return a bell that rings when a batch is due, and the context that subscribes it."""
        bell = Doorbell()
        return bell, self._pubsub.listening(keys.BATCHES_CHANNEL, bell.ring)

    def _read(self, id_: str, flat: Sequence[bytes]) -> Batch | None:
        found = pairs(flat)
        if not found:
            return None
        try:
            return Batch(
                id=id_,
                request=_requests.decode(found["made"]),
                state=msgspec.convert(found["state"].decode(), State),
                count=int(found["count"]),
                changed=int(found.get("changes", 0)),
                unchanged=int(found.get("unchanged", 0)),
                refused=int(found.get("refused", 0)),
                messages=_read_messages(found.get("messages", b"")),
                note=found.get("note", b"").decode(),
                created_at_ms=int(found["created"]),
                changed_at_ms=int(found["changed"]),
                ended_at_ms=int(found["ended"]) if "ended" in found else None,
            )
        except (KeyError, ValueError, msgspec.MsgspecError):
            self._refusals.note("batch", id_, "its record cannot be read")
            return None

    def _seal(self, id_: str, made: bytes, runs: Sequence[BatchRun]) -> bytes:
        packed = msgspec.msgpack.encode(list(runs))
        return self._ring.sign("batch", id_.encode(), made, packed) + packed

    def _open(self, id_: str, made: bytes, chunk: bytes) -> list[BatchRun] | None:
        seal, packed = chunk[:SEAL_CHARACTERS], chunk[SEAL_CHARACTERS:]
        if not self._ring.verify("batch", seal, id_.encode(), made, packed):
            self._refusals.note("batch", id_, "its runs do not verify")
            return None
        return _runs.decode(packed)


def _read_messages(stored: bytes) -> Messages:
    """Decode messages of a batch, which are not sealed; none if another program has overwritten them."""
    try:
        return _messages.decode(stored or b"{}")
    except msgspec.MsgspecError:
        return Messages()
