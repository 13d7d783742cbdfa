"""Runs as people see them: show, list, wait, follow, cancel, counts.

Called by gateway and cli. Reads only, but for `cancel`. Invariant: a run is either a live hash or an
ended record, never both; the two look the same here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from iogate.store import keys
from iogate.store.intake import Facts
from iogate.store.line import Line
from iogate.store.signals import Doorbell, Signals

LOOK_AGAIN_S = 1.0
FOLLOW_S = 0.2

_facts = msgspec.json.Decoder(Facts)


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    reference: str
    name: str
    status: str
    started_at_ms: int
    ended_at_ms: int | None
    attempt: int
    count: int


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    uid: str
    status: str
    place: str
    """backlog, queue, woken, lease, timer, suspect or end."""
    api: str
    workflow: str
    program: str
    revision: int
    caller: str
    attempt: int
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    deadline_ms: int | None
    retention_s: float
    input: bytes
    output: bytes | None
    error: bytes | None
    waiting_for: bytes | None
    cancel_reason: str | None
    worker: str
    deaths: int
    tasks: tuple[TaskView, ...]

    @property
    def ended(self) -> bool:
        return self.status in keys.ENDED


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a list."""

    uid: str
    status: str
    api: str
    workflow: str
    revision: int
    caller: str
    attempt: int
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    depth: int
    """Runs that wait for a worker: RQ queue, backlogs and suspects."""
    oldest_s: float


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """The packed record that `finish.lua` writes; the order is its own."""

    status: str
    api: str
    facts: str
    created: int
    started: int
    ended: int
    attempt: int
    token: int
    seq: int
    retention: int | str
    deaths: int
    reason: str
    input: str
    output: str
    error: str
    tasks: list[tuple[int, str, str, str, int, int, int, int]]
    journal: str
    big: int


Summaries = list[Summary]
Lines = list[bytes]

_ended = msgspec.msgpack.Decoder(Ended)
_rows = msgspec.msgpack.Decoder(list[tuple[int, str, str, str, int, int, int, int]])
_row = msgspec.msgpack.Decoder(dict[str, Any])


class Runs:
    def __init__(self, line: Line, signals: Signals) -> None:
        self._line = line
        self._signals = signals

    async def show(self, uid: str) -> RunView | None:
        """The run, or None where there is none or its retention is over."""
        fields, tasks, blob, big = await self._line.calls(
            [
                ("HGETALL", keys.RUN + uid),
                ("HGETALL", keys.TASKS + uid),
                ("GET", keys.END + uid),
                ("HGETALL", keys.BIG + uid),
            ]
        )
        if fields:
            return _live(uid, _pairs(fields), _pairs(tasks))
        if blob:
            return _over(uid, _ended.decode(blob), _pairs(big))
        return None

    async def list(
        self,
        *,
        api: str | None = None,
        statuses: Sequence[str] = (),
        since_ms: int | None = None,
        limit: int = 50,
    ) -> Summaries:
        """The newest runs first."""
        found: Summaries = []
        offsets: dict[str, int] = dict.fromkeys(statuses or keys.STATUSES, 0)
        page = max(limit, 50)
        low = "-inf" if since_ms is None else since_ms
        while offsets:
            pages = await self._line.calls(
                [
                    ("ZREVRANGEBYSCORE", keys.INDEX + status, "+inf", low, "LIMIT", offset, page)
                    for status, offset in offsets.items()
                ]
            )
            summaries = await self._summaries([uid.decode() for uids in pages for uid in uids])
            found.extend(s for s in summaries if api is None or s.api == api)
            # A run that moved between two pages is met twice.
            found = sorted({s.uid: s for s in found}.values(), key=lambda s: int(s.uid), reverse=True)[:limit]
            edge = int(found[-1].uid) if len(found) == limit else 0
            offsets = {
                status: offset + page
                for (status, offset), uids in zip(offsets.items(), pages, strict=True)
                if len(uids) == page and int(uids[-1]) > edge
            }
        return found

    async def wait(self, uid: str, timeout_s: float) -> RunView | None:
        """The run once it has ended, or as it is when the time has passed; None where there is none."""
        until = time.monotonic() + timeout_s
        bell = Doorbell()

        def heard(uids: str) -> None:
            if uid in uids:
                bell.ring()

        view = await self.show(uid)
        if view is None or view.ended or timeout_s <= 0:
            return view
        async with self._signals.listening(keys.ENDED_CHANNEL, heard):
            while True:
                view = await self.show(uid)
                left = until - time.monotonic()
                if view is None or view.ended or left <= 0:
                    return view
                await bell.wait(min(left, LOOK_AGAIN_S))

    async def journal(self, uid: str) -> Lines:
        """The lines of the journal so far."""
        lines, blob, part = await self._line.calls(
            [
                ("LRANGE", keys.JOURNAL + uid, 0, -1),
                ("GET", keys.END + uid),
                ("HGET", keys.BIG + uid, "journal"),
            ]
        )
        if blob:
            text = part or _ended.decode(blob).journal.encode()
            return text.split(b"\n") if text else []
        return list(lines)

    async def follow(self, uid: str) -> AsyncGenerator[bytes, None]:
        """The journal so far, then each new line, until the run has ended."""
        sent: list[bytes] = []
        while True:
            place = await self._line.call("HGET", keys.RUN + uid, "pl")
            lines = await self.journal(uid)
            for line in _news(sent, lines):
                yield line
            sent = lines
            if place is None:
                return
            await asyncio.sleep(FOLLOW_S)

    async def cancel(self, uid: str, reason: str = "") -> str:
        """Ask for the run's end: `unknown`, `ended` already, `asked`, or `cancelled` at once."""
        answer: bytes = await self._line.run("cancel", uid, reason)
        return answer.decode()

    async def counts(self) -> dict[str, int]:
        """Runs by status."""
        sizes = await self._line.calls([("ZCARD", keys.INDEX + status) for status in keys.STATUSES])
        return dict(zip(keys.STATUSES, sizes, strict=True))

    async def queue(self) -> Depth:
        """How many runs wait for a worker, and for how long the oldest."""
        queued, suspects, apis, clock, oldest = await self._line.calls(
            [
                ("LLEN", keys.RQ_QUEUE),
                ("LLEN", keys.SUSPECTS),
                ("SMEMBERS", keys.GATES),
                ("TIME",),
                ("ZRANGE", f"{keys.INDEX}pending", 0, 0, "WITHSCORES"),
            ]
        )
        lengths = await self._line.calls(
            [("LLEN", prefix + api.decode()) for api in apis for prefix in (keys.BACKLOG, keys.WOKEN)]
        )
        now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        age_s = (now_ms - float(oldest[1])) / 1000 if oldest else 0.0
        return Depth(depth=queued + suspects + sum(lengths), oldest_s=max(0.0, age_s))

    async def _summaries(self, uids: Sequence[str]) -> Summaries:
        commands: list[tuple[str, ...]] = []
        for uid in uids:
            commands.append(("HMGET", keys.RUN + uid, "st", "api", "f", "att", "crt", "sta"))
            commands.append(("GET", keys.END + uid))
        replies = iter(await self._line.calls(commands))
        found = []
        for uid, live, blob in zip(uids, replies, replies, strict=True):
            if live[0] is not None:
                status, api, packed, attempt, created, started = live
                found.append(
                    _summary(uid, status.decode(), api.decode(), packed, attempt or 1, created, started)
                )
            elif blob is not None:
                e = _ended.decode(blob)
                found.append(
                    _summary(uid, e.status, e.api, e.facts, e.attempt, e.created, e.started, e.ended)
                )
        return found


def _summary(
    uid: str,
    status: str,
    api: str,
    packed: bytes | str,
    attempt: Any,
    created: Any,
    started: Any,
    ended: int = 0,
) -> Summary:
    facts = _facts.decode(packed)
    return Summary(
        uid=uid,
        status=status,
        api=api,
        workflow=facts.workflow,
        revision=facts.revision,
        caller=facts.caller,
        attempt=int(attempt),
        created_at_ms=int(created),
        started_at_ms=int(started or 0) or None,
        ended_at_ms=ended or None,
    )


def _pairs(flat: list[bytes]) -> dict[str, bytes]:
    items = iter(flat)
    return {name.decode(): value for name, value in zip(items, items, strict=True)}


def _news(sent: list[bytes], lines: list[bytes]) -> Lines:
    """What is new where the oldest lines may have been dropped."""
    if lines[: len(sent)] == sent:
        return lines[len(sent) :]
    for start in range(len(sent)):
        kept = sent[start:]
        if lines[: len(kept)] == kept:
            return lines[len(kept) :]
    return lines


def _live(uid: str, run: dict[str, bytes], rows: dict[str, bytes]) -> RunView:
    facts = _facts.decode(run["f"])
    tasks = sorted(
        ((reference, _row.decode(row)) for reference, row in rows.items()), key=lambda t: t[1]["o"]
    )
    reason = run.get("cxl")
    return RunView(
        uid=uid,
        status=run["st"].decode(),
        place=run["pl"].decode(),
        api=run["api"].decode(),
        workflow=facts.workflow,
        program=facts.program,
        revision=facts.revision,
        caller=facts.caller,
        attempt=int(run.get("att", 1)),
        created_at_ms=int(run["crt"]),
        started_at_ms=int(run["sta"]) if "sta" in run else None,
        ended_at_ms=None,
        deadline_ms=int(run["ddl"]) if "ddl" in run else None,
        retention_s=int(run["ret"]) / 1000,
        input=run["in"],
        output=None,
        error=None,
        waiting_for=(run.get("wt") or None) if run["pl"] == b"timer" else None,
        cancel_reason=None if reason is None else reason.decode(),
        worker=run.get("wkr", b"").decode(),
        deaths=int(run.get("dth", 0)),
        tasks=tuple(
            _task(reference, r["n"], r["s"], r["b"], r["e"], r["a"], r["c"]) for reference, r in tasks
        ),
    )


def _over(uid: str, e: Ended, big: dict[str, bytes]) -> RunView:
    facts = _facts.decode(e.facts)
    rows = _rows.decode(big["tasks"]) if "tasks" in big else e.tasks
    return RunView(
        uid=uid,
        status=e.status,
        place="end",
        api=e.api,
        workflow=facts.workflow,
        program=facts.program,
        revision=facts.revision,
        caller=facts.caller,
        attempt=e.attempt,
        created_at_ms=e.created,
        started_at_ms=e.started or None,
        ended_at_ms=e.ended,
        deadline_ms=None,
        retention_s=int(e.retention) / 1000,
        input=big.get("input", e.input.encode()),
        output=big.get("output", e.output.encode()) or None,
        error=big.get("error", e.error.encode()) or None,
        waiting_for=None,
        cancel_reason=e.reason if e.status == "cancelled" else None,
        worker="",
        deaths=e.deaths,
        tasks=tuple(_task(*row[1:]) for row in rows),
    )


def _task(
    reference: str, name: str, status: str, begun: int, ended: int, attempt: int, count: int
) -> TaskView:
    return TaskView(
        reference=reference,
        name=name,
        status=status,
        started_at_ms=int(begun),
        ended_at_ms=int(ended) or None,
        attempt=int(attempt),
        count=int(count),
    )
