"""Runs as people see them: show, list, wait, follow, counts; and what people ask: cancel, suspend, retry.

Called by gateway and cli. Invariant: a run is either a live hash or an
ended record, never both; the two look the same here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence

import msgspec

from iogate.store import keys, retrying, views
from iogate.store.followers import Followers, read_page
from iogate.store.line import Line, pairs, time_ms
from iogate.store.retrying import NOBODY, Asked, Retried, Stored
from iogate.store.signals import Doorbell, Signals
from iogate.store.views import RunView, Summary, TaskView

__all__ = ["Depth", "Retried", "RunView", "Runs", "Stored", "Summary", "TaskView"]

LOOK_AGAIN_S = 1.0
LOOK_AGAIN_AT_LATEST_S = 5.0
"""Each look takes twice as long to come: a message is hardly ever lost, and there may be many waiters."""


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    depth: int
    """Runs that wait for a worker: RQ queue, backlogs and suspects."""
    oldest_s: float


Summaries = list[Summary]
Lines = list[bytes]
Uids = list[str]


class Runs:
    def __init__(self, line: Line, signals: Signals) -> None:
        self._line = line
        self._signals = signals
        self.followers = Followers(line, signals)
        self._waiters: dict[str, set[Doorbell]] = {}
        """By uid, so that a message costs what its own runs' waiters cost, however many wait for others."""

    async def show(self, uid: str) -> RunView | None:
        """The run, or None where there is none or its retention is over."""
        # One transaction: between two answers it may park, go on or end.
        *_, (fields, tasks, packed, blob, big) = await self._line.calls(
            [
                ("MULTI",),
                ("HGETALL", keys.RUN + uid),
                ("HGETALL", keys.TASKS + uid),
                ("GET", keys.PARKED + uid),
                ("GET", keys.END + uid),
                ("HGETALL", keys.BIG + uid),
                ("EXEC",),
            ]
        )
        if fields:
            return views.live(uid, pairs(fields), pairs(tasks))
        if packed:
            parked = views.parked(packed)
            return views.live(uid, parked.run, parked.tasks)
        if blob:
            return views.over(uid, views.ended.decode(blob), pairs(big))
        return None

    async def list(
        self,
        *,
        api: str | None = None,
        statuses: Sequence[str] = (),
        since_ms: int | None = None,
        until_ms: int | None = None,
        parent: str | None = None,
        limit: int = 50,
    ) -> Summaries:
        """The newest runs first."""
        found: Summaries = []
        offsets: dict[str, int] = dict.fromkeys(statuses or keys.STATUSES, 0)
        page = max(limit, 50)
        low = "-inf" if since_ms is None else since_ms
        high = "+inf" if until_ms is None else until_ms
        while offsets:
            pages = await self._line.calls(
                [
                    ("ZREVRANGEBYSCORE", keys.INDEX + status, high, low, "LIMIT", offset, page)
                    for status, offset in offsets.items()
                ]
            )
            summaries = await self._summaries([uid.decode() for uids in pages for uid in uids])
            found.extend(
                s for s in summaries if api in (None, s.api) and (parent is None or s.parent == parent)
            )
            # A run that moved between two pages is met twice.
            found = sorted({s.uid: s for s in found}.values(), key=lambda s: int(s.uid), reverse=True)[:limit]
            edge = int(found[-1].uid) if len(found) == limit else 0
            offsets = {
                status: offset + page
                for (status, offset), uids in zip(offsets.items(), pages, strict=True)
                if len(uids) == page and int(uids[-1]) > edge
            }
        return found

    async def children(self, uid: str) -> Uids:
        """The runs that it started and waits for now."""
        found = await self._line.calls([("HVALS", keys.CHILDREN + uid)])
        return sorted((child.decode() for child in found[0]), key=int)

    async def wait(self, uid: str, timeout_s: float) -> RunView | None:
        """The run once it has ended, or as it is when the time has passed; None where there is none."""
        until = time.monotonic() + timeout_s
        view = await self.show(uid)
        if view is None or view.ended or timeout_s <= 0:
            return view
        bell = Doorbell()
        waiters = self._waiters.setdefault(uid, set())
        waiters.add(bell)
        look_again_s = LOOK_AGAIN_S
        try:
            async with self._signals.listening(keys.ENDED_CHANNEL, self._tell):
                while True:
                    view = await self.show(uid)
                    left = until - time.monotonic()
                    if view is None or view.ended or left <= 0:
                        return view
                    await bell.wait(min(left, look_again_s))
                    look_again_s = min(look_again_s * 2, LOOK_AGAIN_AT_LATEST_S)
        finally:
            waiters.discard(bell)
            if not waiters and self._waiters.get(uid) is waiters:
                del self._waiters[uid]

    def _tell(self, ended: str) -> None:
        """Ring for those who wait for one of these runs."""
        for uid in ended.split():
            for bell in self._waiters.get(uid, ()):
                bell.ring()

    async def journal(self, uid: str) -> Lines:
        """Return the entries of the journal that are kept."""
        return (await read_page(self._line, uid, 0, keys.JOURNAL_ENTRIES)).entries

    async def follow(self, uid: str, after: int = 0) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield number and text of each journal entry behind the one of number `after`, until the run ends.

        Raises StoreUnavailable as soon as the store cannot be read.
        """
        async with contextlib.aclosing(self.followers.pages(uid, after)) as pages:
            async for first, entries in pages:
                for number, entry in enumerate(entries, first):
                    yield number, entry

    async def cancel(self, uid: str, reason: str = "") -> str:
        """Ask for the run's end: `unknown`, `ended` already, `asked`, or `cancelled` at once."""
        answer: bytes = await self._line.run("cancel", uid, reason)
        return answer.decode()

    async def suspend(self, uid: str) -> str:
        """Set it aside: `unknown`, `ended`, `cancelled` (about to end), `asked`, or `suspended` at once.

        A run under lease goes aside when it next waits; its worker hears of it within seconds.
        """
        answer: bytes = await self._line.run("suspend", uid)
        return answer.decode()

    async def resume(self, uid: str) -> str:
        """Let it go on: `unknown`, `ended`, `not suspended`, or `resumed`."""
        answer: bytes = await self._line.run("resume", uid)
        return answer.decode()

    async def state(self, uid: str) -> Stored | None:
        """What a faulted run goes on from; None for any other run, and where there is none."""
        return await retrying.state(self._line, uid)

    async def retry(self, uid: str, start: Stored | None = None, asked: Asked = NOBODY) -> Retried:
        """Another attempt of a faulted run, from its own state or from the one given; or why not."""
        if start is not None:
            return await retrying.retry(self._line, start, asked, replaces=True)
        found = await retrying.state(self._line, uid)
        if found is not None:
            return await retrying.retry(self._line, found, asked, replaces=False)
        view = await self.show(uid)
        if view is None:
            return "unknown"
        match view.status:
            case "completed" | "cancelled":
                return view.status
            case _:
                return "running"

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
        now_ms = time_ms(clock)
        age_s = (now_ms - float(oldest[1])) / 1000 if oldest else 0.0
        return Depth(depth=queued + suspects + sum(lengths), oldest_s=max(0.0, age_s))

    async def _summaries(self, uids: Sequence[str]) -> Summaries:
        if not uids:
            return []
        commands: list[tuple[str, ...]] = [("MULTI",)]
        for uid in uids:
            commands.append(("HMGET", keys.RUN + uid, *views.LISTED))
            commands.append(("GET", keys.PARKED + uid))
            commands.append(("GET", keys.END + uid))
        *_, answers = await self._line.calls([*commands, ("EXEC",)])
        replies = iter(answers)
        found: Summaries = []
        large: list[int] = []
        """Positions of the runs whose error may be among their large parts."""
        for uid, live, packed, blob in zip(uids, replies, replies, replies, strict=True):
            if packed is not None:
                run = views.parked(packed).run
                live = [run.get(name) for name in views.LISTED]  # noqa: PLW2901
            if live[0] is not None:
                found.append(views.live_summary(uid, live))
            elif blob is not None:
                ended = views.ended.decode(blob)
                if ended.big and ended.status == "faulted" and not ended.error:
                    large.append(len(found))
                found.append(views.over_summary(uid, ended))
        errors = await self._line.calls([("HGET", keys.BIG + found[at].uid, "error") for at in large])
        for at, error in zip(large, errors, strict=True):
            found[at] = msgspec.structs.replace(found[at], error=error)
        return found
