"""Operations on runs for callers and operators: show, list, wait, follow, cancel, suspend, resume, retry.

Called by gateway and cli. Invariant: a run is either a live hash or an ended record, never both; both give
the same view here.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncGenerator, Sequence
from typing import TypedDict, Unpack

import msgspec

from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import CLOCK, Connection, pairs, store_time_ms
from iogate.store.connection.pubsub import Doorbell, PubSub
from iogate.store.integrity.refusals import Refusals
from iogate.store.runs import retry as retrying
from iogate.store.runs import run_index, views
from iogate.store.runs.journal_followers import PAGE, JournalFollowers, Page, read_page
from iogate.store.runs.retry import NO_REQUEST, Retried, RetryRequest, RetryState
from iogate.store.runs.run_index import LISTED, LOOKED_AT, LOOKED_AT_MOST, LOOKED_FOR_S, RunFilter, RunPage
from iogate.store.runs.views import RunView, Summary, TaskView
from iogate.timing.backoff import Backoff

__all__ = [
    "Page",
    "QueueDepth",
    "Retried",
    "RetryState",
    "RunFilter",
    "RunOperations",
    "RunPage",
    "RunView",
    "Summary",
    "TaskView",
]

LOOK_AGAIN_S = 1.0
LOOK_AGAIN_AT_LATEST_S = 5.0
"""Upper bound of the poll interval of a waiter, which doubles each time; messages are rarely lost."""
ALL_BYTES = 2**40
"""More bytes than the data of any run."""
PRUNED_AT_ONCE = 500
"""Runs that one script deletes."""


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """Number of runs that wait for a worker, and the age of the oldest one."""

    depth: int
    """Runs that wait for a worker: RQ queue, backlogs, suspects, and those in lanes and windows."""
    oldest_s: float


class SearchOptions(TypedDict, total=False):
    """Filters of a list of runs; without one, or with None, it matches all."""

    api: str | None
    workflow: str | None
    """Full name with version, or name without version."""
    statuses: Sequence[str]
    since_ms: int | None
    until_ms: int | None
    parent: str | None
    limit: int
    """Maximum number of runs, by default LISTED."""


Summaries = list[Summary]
Lines = list[bytes]
Uids = list[str]


class RunOperations:
    """Client of the scripts that read and change runs without a lease."""

    def __init__(self, connection: Connection, pubsub: PubSub, ring: Keyring, refusals: Refusals) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self.followers = JournalFollowers(connection, pubsub)
        self._ring = ring
        self._refusals = refusals
        self._waiters: dict[str, set[Doorbell]] = {}
        """By uid, so that a message wakes only the waiters of its own runs."""

    async def show(self, uid: str, *, most: int = ALL_BYTES, only_results: bool = False) -> RunView | None:
        """Return a run in the store; None if it does not exist any more, or its record is unreadable.

        Data of more than `most` stored bytes are not read: `unread` of the view then has their size. With
        `only_results`, the input is not read either.
        """
        answer = await self._connection.run("show", uid, most, 1 if only_results else 0)
        try:
            view = _view(uid, *answer)
            if view is None or view.state != "lane":
                return view
            key = pairs(answer[0]).get("ck", b"").decode()
            holders = await self._connection.call("HGET", keys.HOLDERS + view.api, key)
            return msgspec.structs.replace(view, behind=tuple((holders or b"").decode().split()))
        except (ValueError, TypeError, LookupError, AttributeError, msgspec.MsgspecError):
            self._refusals.note("run", uid, "its record cannot be read")
            return None

    async def api_of(self, uid: str) -> str | None:
        """Return the API of a run in the store, or None; the time does not depend on the run."""
        answer: bytes | None = await self._connection.run("api_of", uid)
        return None if answer is None else answer.decode(errors="replace")

    async def page(
        self,
        wanted: RunFilter,
        *,
        limit: int = LISTED,
        cursor: str | None = None,
        most: int | None = LOOKED_AT,
        most_s: float = LOOKED_FOR_S,
    ) -> RunPage:
        """Return a page of the runs in the store that match, newest first, and the cursor of the next one.

        It looks at about `most` runs (None: all) at most, for about `most_s`, so it may be short, and says
        how far it looked. Raises Misused for an invalid cursor.
        """
        return await run_index.read_page(
            self._connection, wanted, limit=limit, cursor=cursor, most=most, most_s=most_s
        )

    def pages(self, wanted: RunFilter) -> AsyncGenerator[Summaries, None]:
        """Yield all runs in the store that match, in pages, newest first; a page may be empty."""
        return run_index.read_pages(self._connection, wanted)

    async def list(self, **options: Unpack[SearchOptions]) -> Summaries:
        """Return all runs in the store that match, newest first, however far back; see `search`."""
        return (await self.search(most=None, **options)).runs

    async def search(self, *, most: int | None = LOOKED_AT_MOST, **options: Unpack[SearchOptions]) -> RunPage:
        """Return up to `limit` matching runs in the store, newest first; look at `most` (None: all)."""
        wanted = RunFilter(
            api=options.get("api"),
            workflow=options.get("workflow"),
            statuses=options.get("statuses") or (),
            since_ms=options.get("since_ms"),
            until_ms=options.get("until_ms"),
            parent=options.get("parent"),
        )
        return await self.page(wanted, limit=options.get("limit", LISTED), most=most, most_s=math.inf)

    async def ended_before(self, moment_ms: int, wanted: RunFilter) -> AsyncGenerator[Summaries, None]:
        """Yield pages, some empty, of runs in the store that match and ended before `moment_ms`."""
        statuses = [status for status in wanted.statuses or keys.STATUSES if status in keys.ENDED]
        until_ms = moment_ms if wanted.until_ms is None else min(moment_ms, wanted.until_ms)
        if not statuses:
            return
        bounded = msgspec.structs.replace(wanted, statuses=statuses, until_ms=until_ms)
        async for page in run_index.read_pages(self._connection, bounded):
            yield [run for run in page if run.ended_at_ms is not None and run.ended_at_ms < moment_ms]

    async def prune(self, uids: Sequence[str], before_ms: int) -> int:
        """Delete in the store those of the runs that ended before `before_ms`; return their number."""
        pruned = 0
        for first in range(0, len(uids), PRUNED_AT_ONCE):
            pruned += await self._connection.run("prune", before_ms, *uids[first : first + PRUNED_AT_ONCE])
        return pruned

    async def children(self, uid: str) -> Uids:
        """Return the uids of the child runs in the store that a run waits for."""
        found = await self._connection.calls([("HVALS", keys.CHILDREN + uid)])
        return sorted((child.decode() for child in found[0]), key=int)

    async def wait(
        self, uid: str, timeout_s: float, *, most: int = ALL_BYTES, only_results: bool = False
    ) -> RunView | None:
        """Wait up to `timeout_s` for the end of a run in the store; return its view as `show` does."""
        until = time.monotonic() + timeout_s
        view = await self.show(uid, most=most, only_results=only_results)
        if view is None or view.ended or timeout_s <= 0:
            return view
        bell = Doorbell()
        waiters = self._waiters.setdefault(uid, set())
        waiters.add(bell)
        look_again = Backoff(LOOK_AGAIN_S, LOOK_AGAIN_AT_LATEST_S)
        try:
            async with self._pubsub.listening(keys.ENDED_CHANNEL, self._notify):
                while True:
                    view = await self.show(uid, most=most, only_results=only_results)
                    left = until - time.monotonic()
                    if view is None or view.ended or left <= 0:
                        return view
                    await bell.wait(min(left, look_again.next_s()))
        finally:
            waiters.discard(bell)
            if not waiters and self._waiters.get(uid) is waiters:
                del self._waiters[uid]

    def _notify(self, ended: str) -> None:
        """Wake the operations that wait for the ends of these runs."""
        for uid in ended.split():
            for bell in self._waiters.get(uid, ()):
                bell.ring()

    async def journal(self, uid: str) -> Lines:
        """Return the kept entries of the journal of a run in the store."""
        return (await read_page(self._connection, uid, 0, keys.JOURNAL_ENTRIES)).entries

    async def journal_page(self, uid: str, after: int = 0, *, limit: int = PAGE) -> Page:
        """Return at most `limit` journal entries of a run in the store after number `after`.

        Without a run, there are none.
        """
        return await read_page(self._connection, uid, after, limit)

    async def recorded(self, uid: str) -> Lines:
        """Return the recorded results of the tasks of a run in the store; none without `record: all`.

        The results are in the order of their recording.
        """
        found: Lines = await self._connection.call("LRANGE", keys.RECORDED + uid, 0, -1)
        return found

    async def follow(self, uid: str, after: int = 0) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield number and text of each journal entry of a run in the store after `after`, until its end.

        Raises StoreUnavailable as soon as the store cannot be read.
        """
        async with contextlib.aclosing(self.followers.pages(uid, after)) as pages:
            async for first, entries in pages:
                for number, entry in enumerate(entries, first):
                    yield number, entry

    # `operation` is an id that makes a repetition after a lost reply idempotent for OPERATION_S.

    async def cancel(self, uid: str, reason: str = "", *, operation: str = "") -> str:
        """Request the end of a run in the store; return `unknown`, `ended`, `asked`, or `cancelled`.

        It is `cancelled` if the run has ended at once.
        """
        return await self._change("cancel", uid, reason, operation=operation)

    async def suspend(self, uid: str, *, operation: str = "") -> str:
        """Suspend a run in the store; return `unknown`, `ended`, `cancelled`, `asked`, or `suspended`.

        It is `cancelled` if the run is about to end.

        A run under lease is suspended when it next waits; its worker is notified within seconds.
        """
        return await self._change("suspend", uid, operation=operation)

    async def resume(self, uid: str, *, operation: str = "") -> str:
        """Resume a run in the store; return `unknown`, `ended`, `not suspended`, or `resumed`."""
        return await self._change("resume", uid, operation=operation)

    async def _change(self, script: str, uid: str, *arguments: str, operation: str) -> str:
        key = keys.operation(script, uid, operation)
        answer: bytes = await self._connection.run(script, uid, *arguments, key)
        return answer.decode()

    async def load_state(self, uid: str) -> RetryState | None:
        """Return the stored state of a faulted run for a retry; None if it has not faulted.

        Raises Refused if the stored state does not verify.
        """
        return await retrying.load_state(self._connection, uid, self._ring, self._refusals)

    async def was_retried(self, uid: str, operation: str) -> bool:
        """Return whether this operation has retried the run already."""
        known: bytes | None = await self._connection.call("GET", keys.operation("retry", uid, operation))
        return known is not None

    async def retry(
        self,
        uid: str,
        start: RetryState | None = None,
        request: RetryRequest = NO_REQUEST,
        *,
        operation: str = "",
    ) -> Retried:
        """Retry a faulted run as an operation, from its stored state or from `start`; return the outcome.

        Raises Refused if the stored state does not verify.
        """
        key = keys.operation("retry", uid, operation)
        if start is not None:
            return await retrying.retry(
                self._connection, start, request, self._ring, replaces=True, operation=key
            )
        if operation and await self.was_retried(uid, operation):
            return "retried"
        found = await self.load_state(uid)
        if found is not None:
            return await retrying.retry(
                self._connection, found, request, self._ring, replaces=False, operation=key
            )
        view = await self.show(uid)
        if view is None:
            return "unknown"
        match view.status:
            case "completed" | "cancelled":
                return view.status
            case _:
                return "running"

    async def counts(self) -> dict[str, int]:
        """Return the number of runs in the store by status."""
        sizes = await self._connection.calls([("ZCARD", keys.INDEX + status) for status in keys.STATUSES])
        return dict(zip(keys.STATUSES, sizes, strict=True))

    async def queue(self) -> QueueDepth:
        """Return the number of runs in the queue of the store, and the age of the oldest one."""
        queued, suspects, apis, oldest, *clock = await self._connection.calls(
            [
                ("LLEN", keys.RQ_QUEUE),
                ("LLEN", keys.SUSPECTS),
                ("SMEMBERS", keys.GATES),
                ("ZRANGE", f"{keys.INDEX}pending", 0, 0, "WITHSCORES"),
                *CLOCK,
            ]
        )
        lengths = await self._connection.calls(
            [("LLEN", prefix + api.decode()) for api in apis for prefix in (keys.BACKLOG, keys.WOKEN)]
        )
        apart = await self._connection.calls([("HGET", keys.GATE + api.decode(), "dl") for api in apis])
        lengths += [int(number) for number in apart if number]
        now_ms = store_time_ms(*clock)
        age_s = (now_ms - float(oldest[1])) / 1000 if oldest else 0.0
        return QueueDepth(depth=queued + suspects + sum(lengths), oldest_s=max(0.0, age_s))


def _view(
    uid: str,
    fields: list[bytes],
    tasks: list[bytes],
    packed: bytes,
    blob: bytes,
    big: list[bytes],
    unread: int,
) -> RunView | None:
    """Decode the reply to the operation `show`; None without a run. Raises a decoding error if forged."""
    if fields:
        return views.live_view(uid, pairs(fields), pairs(tasks), unread)
    if packed:
        parked = views.unpack_parked(packed)
        return views.live_view(uid, parked.run, parked.tasks)
    if blob:
        return views.ended_view(uid, views.ended_record.decode(blob), pairs(big), unread)
    return None
