"""A worker's right to advance runs: take, commit, renew, hand back; and what is left of a dead worker.

Called by worker processes and by the parent that supervises them. Invariant: a run is leased by one
token at a time, and a commit with an older token or a wrong sequence number changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from iogate.errors import WorkflowError
from iogate.store import keys
from iogate.store.audit import audit
from iogate.store.intake import Facts
from iogate.store.line import Line, pairs
from iogate.store.signals import Doorbell, Signals

log = logging.getLogger(__name__)

Move = Literal["keep", "park", "queue", "end"]
COMMITS = 256
"""Commits in one script: a script holds the server up for as long as it runs."""

_facts = msgspec.json.Decoder(Facts)
_encoder = msgspec.msgpack.Encoder()


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """News for one frame of a run: an event that it may want, or the end of its child."""

    number: int
    frame: int
    kind: Literal["event", "child"]
    data: bytes
    """JSON: the CloudEvent; of a child `{"status", "output", "error"}`."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A run to start together with a commit."""

    uid: str
    frame: int
    facts: bytes
    input: bytes
    awaits: bool


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A run that this worker may advance, with all that the engine needs to go on."""

    uid: str
    token: int
    seq: int
    api: str
    workflow: str
    program: str
    revision: int
    caller: str
    input: bytes
    created_at_ms: int
    started_at_ms: int
    deadline_ms: int | None
    timeout_s: float | None
    retention_s: float
    attempt: int
    deaths: int
    cancelled: bool
    reason: str
    head: bytes | None
    frames: dict[str, bytes]
    values: dict[str, bytes]
    inbox: tuple[Message, ...] = ()
    """What has come for the run and no commit has taken in yet."""
    depth: int = 0
    """How many runs are above it: 0 where a caller or a schedule started it."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    now_ms: int
    claims: tuple[Claim, ...]
    suspended: bool
    suspects: int
    """Runs that wait for a solitary worker."""


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """News of one task; the store adds `count` up and keeps the first start."""

    reference: str
    name: str
    status: str
    started_at_ms: int
    ended_at_ms: int | None = None
    attempt: int = 1
    count: int = 1


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    uid: str
    token: int
    seq: int
    """One more than the claim's, then one more with each commit."""
    move: Move
    status: str
    due_ms: int | None = None
    waiting_for: bytes | None = None
    deadline_ms: int | None = None
    head: bytes | None = None
    frames: Mapping[str, bytes] = {}
    frames_gone: Sequence[str] = ()
    values: Mapping[str, bytes] = {}
    values_gone: Sequence[str] = ()
    tasks: Sequence[TaskRow] = ()
    journal: Sequence[bytes] = ()
    output: bytes | None = None
    error: bytes | None = None
    inbox_done: int = 0
    """The highest message number that the state has taken in."""
    wants: Mapping[int, bytes] = {}
    """Subscriptions that began or changed: frame to the JSON list of its filters."""
    wants_gone: Sequence[int] = ()
    children: Sequence[Child] = ()
    children_gone: Sequence[int] = ()
    """Frames that do not wait for their child any more: it is cancelled."""
    emits: Sequence[bytes] = ()
    """CloudEvents in JSON, for the bus and the sinks."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    applied: bool
    cancelled: bool = False
    woken: bool = False
    """It was to be parked, but what it waits for has come: it is queued again."""


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    lost: frozenset[str]
    cancelled: frozenset[str]


def _rq_text(error: bytes | None) -> str:
    """The error as RQ stores an exception."""
    return base64.b64encode(zlib.compress(error)).decode() if error else ""


POISONED = json.dumps(
    WorkflowError(
        "runtime",
        status=500,
        title="poisoned",
        detail=f"the worker that ran this run alone died {keys.DEATHS} times",
    ).to_json()
).encode()
_POISON = (POISONED, _rq_text(POISONED))
_VERDICTS = tuple(Verdict(applied=bool(n & 1), cancelled=bool(n & 2), woken=bool(n & 4)) for n in range(8))


class Leases:
    def __init__(self, line: Line, signals: Signals) -> None:
        self._line = line
        self._signals = signals
        self._take_id: str | None = None
        self._taking = asyncio.Lock()

    async def take(
        self, worker: str, limit: int, *, lease_ms: int = keys.LEASE_MS, solitary: bool = False
    ) -> Taken:
        """Move what is due, then lease up to `limit` runs; alone, exactly one suspect.

        After a StoreUnavailable the next call asks again for the answer that was lost.
        """
        # One at a time: two takes with one id would both get the same runs.
        async with self._taking:
            self._take_id = self._take_id or secrets.token_hex(6)
            now, suspended, suspects, *claims = await self._line.run(
                "take", worker, limit, lease_ms, int(solitary), self._take_id, *_POISON
            )
            self._take_id = None
        return Taken(
            now_ms=now,
            suspended=bool(suspended),
            suspects=suspects,
            claims=tuple(claim for fields in claims if (claim := _readable(fields)) is not None),
        )

    async def commit(self, commits: Sequence[Commit], *, lease_ms: int = keys.LEASE_MS) -> list[Verdict]:
        """Apply what was done; safe to repeat."""
        verdicts: list[Verdict] = []
        for first in range(0, len(commits), COMMITS):
            batch = _encoder.encode([_packed(commit) for commit in commits[first : first + COMMITS]])
            _, *codes = await self._line.run("commit", lease_ms, batch)
            verdicts.extend(_VERDICTS[code] for code in codes)
        return verdicts

    async def renew(self, worker: str, held: Mapping[str, int], *, lease_ms: int = keys.LEASE_MS) -> Renewed:
        """Keep leases for another `lease_ms`; which ones are lost, and which runs shall end."""
        lost, cancelled = await self._line.run("renew", worker, lease_ms, *_flat(held))
        return Renewed(
            lost=frozenset(uid.decode() for uid in lost),
            cancelled=frozenset(uid.decode() for uid in cancelled),
        )

    async def hand_back(self, worker: str, held: Mapping[str, int]) -> None:
        """Give leases up without a commit: the runs go ahead of new ones."""
        await self._line.run("hand_back", worker, *_flat(held))

    async def bury(self, worker: str) -> int:
        """Make suspects of all that a dead worker held, and forget it in RQ; how many there were."""
        buried: int = await self._line.run("bury", worker, *_POISON)
        return buried

    async def suspects(self) -> int:
        """Runs that wait for a solitary worker."""
        waiting: int = await self._line.call("LLEN", keys.SUSPECTS)
        return waiting

    async def audit(self) -> int:
        """One slow round of repair of what outsiders did, every minute or so; how many runs it put back."""
        return (await audit(self._line)).restored

    def doorbell(self) -> tuple[Doorbell, Any]:
        """A bell that rings when runs arrive in an empty queue, and the context that keeps it wired."""
        bell = Doorbell()
        return bell, self._signals.listening(keys.WAKE_CHANNEL, bell.ring)

    def cancellations(self, listener: Any) -> Any:
        """Context in which `listener(uid)` is called when someone cancels a leased run; a hint only."""
        return self._signals.listening(keys.CANCEL_CHANNEL, listener)


def _readable(fields: list[Any]) -> Claim | None:
    """A claim, None for what no gateway and no worker wrote: its lease runs out, and in the end it faults."""
    try:
        return _claim(fields)
    except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        log.warning(
            "run %.40r cannot be read (%s): something else writes to the store",
            fields[0],
            type(error).__name__,
            extra={"action": "claim.unreadable"},
        )
        return None


def _claim(fields: list[Any]) -> Claim:
    uid, token, seq, api, packed, data, *times, attempt, deaths, retention, reason, frames, values = fields
    created, started, deadline = times
    facts = _facts.decode(packed)
    stored = pairs(frames)
    return Claim(
        uid=uid.decode(),
        token=token,
        seq=seq,
        api=api.decode(),
        workflow=facts.workflow,
        program=facts.program,
        revision=facts.revision,
        caller=facts.caller,
        input=data,
        created_at_ms=created,
        started_at_ms=started,
        deadline_ms=deadline or None,
        timeout_s=facts.timeout_s,
        retention_s=retention / 1000,
        attempt=attempt,
        deaths=deaths,
        cancelled=reason is not None,
        reason="" if reason is None else reason.decode(),
        head=stored.pop("head", None),
        frames=stored,
        values=pairs(values),
    )


def _flat(held: Mapping[str, int]) -> list[str | int]:
    return [part for pair in held.items() for part in pair]


def _text(data: bytes | None) -> msgspec.Raw | str:
    """Bytes as MessagePack's string: Redis's Lua reads no binary type."""
    if not data:
        return ""
    size = len(data)
    if size < 32:
        head = bytes((0xA0 | size,))
    elif size < 256:
        head = bytes((0xD9, size))
    elif size < 65_536:
        head = b"\xda" + size.to_bytes(2, "big")
    else:
        head = b"\xdb" + size.to_bytes(4, "big")
    return msgspec.Raw(head + data)


def _flat_bytes(values: Mapping[str, bytes]) -> list[str | msgspec.Raw]:
    return [part for name, data in values.items() for part in (name, _text(data))]


def _packed(c: Commit) -> tuple[Any, ...]:
    return (
        c.uid,
        c.token,
        c.seq,
        c.move,
        c.status,
        c.due_ms or 0,
        _text(c.waiting_for),
        c.deadline_ms or 0,
        _text(c.head),
        _flat_bytes(c.frames),
        c.frames_gone,
        _flat_bytes(c.values),
        c.values_gone,
        [
            (t.reference, t.name, t.status, t.started_at_ms, t.ended_at_ms or 0, t.attempt, t.count)
            for t in c.tasks
        ],
        [_text(line) for line in c.journal],
        _text(c.output),
        _text(c.error),
        _rq_text(c.error) if c.status == "faulted" else "",
    )
