"""Live journal followers: one reader per run and process, shared by all streams that show the run.

Used by `operations`. Publish/subscribe wakes a follower when an entry was written or the run ended; it then
reads the entries after its newest one. A slow poll covers lost messages. Invariants: each stream gets each
kept entry once and in order; a slow stream delays no other, because it reads by itself the entries that the
follower no longer buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from iogate.store import keys
from iogate.store.connection.connection import Connection, StoreUnavailable
from iogate.store.connection.pubsub import Doorbell, Listener, PubSub
from iogate.timing.backoff import with_jitter

PAGE = 25
"""Maximum number of entries of one read, and of a page, which a stream holds until its client has read it."""
BUFFER_BYTES = 64 * 1024
"""Size of the buffer of newest entries for the streams of a run."""
POLL_S = 5.0
"""Mean time between two reads without a message. Each follower varies it, so that reads do not coincide."""
WOKEN = 32
"""Streams that are woken in one loop iteration, so that other tasks can run in between."""


class Page(NamedTuple):
    """Consecutive entries of a journal; `first` is the number of the first one."""

    first: int
    entries: list[bytes]
    newest: int
    """Number of the newest entry in the store."""
    live: bool
    """False if the run has ended or does not exist, so that no entry follows the newest one."""


async def read_page(connection: Connection, uid: str, after: int, most: int = PAGE) -> Page:
    """Read up to `most` entries of a journal to follow after number `after`; none if there is no run.

    Raises StoreUnavailable, and CommandFailed if the key of the journal has another type.
    """
    found = await connection.run("follow", uid, after, most)
    if found is None:
        return Page(after + 1, [], after, live=False)
    live, newest, first, *entries = found
    return Page(first, entries, newest, live=live == 1)


class JournalFollower:
    """Reader of one run's journal, shared by all streams of this process that show the run."""

    def __init__(self, uid: str, connection: Connection, pubsub: PubSub) -> None:
        self._uid = uid
        self._connection = connection
        self._pubsub = pubsub
        self._bell = Doorbell()
        self._entries: deque[bytes] = deque()
        self._bytes = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self.streams = 0
        self.task: asyncio.Task[None] | None = None
        self.newest: int | None = None
        """Number of the newest entry; None before the first read."""
        self.ended = False
        self.fault: Exception | None = None
        """Error that ended this follower before the run."""

    @property
    def over(self) -> bool:
        """True if the follower reads no more entries."""
        return self.ended or self.fault is not None

    def ring(self) -> None:
        """Read the journal as soon as possible."""
        self._bell.ring()

    async def run(self, ended: Listener) -> None:
        """Follow the journal until the run ends or the store is unavailable; pass ended uids to `ended`."""
        try:
            # Read once before the subscription, so that streams need not wait; read again after it.
            await self._read()
            if not self.ended:
                async with (
                    self._pubsub.listening(keys.ENDED_CHANNEL, ended),
                    self._pubsub.listening(keys.JOURNAL_CHANNEL + self._uid, self._bell.ring, passing=True),
                ):
                    await self._read()
                    while not self.ended:
                        await self._bell.wait(with_jitter(POLL_S, 0.5))
                        await self._read()
        except asyncio.CancelledError:
            self.fault = StoreUnavailable("closed")
            raise
        except Exception as fault:  # noqa: BLE001 - each stream raises it
            self.fault = fault
        finally:
            await self._wake()

    async def wait_for_change(self) -> None:
        """Wait for new entries of the journal; the caller checks right before, without an await."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def entries_after(self, after: int) -> list[bytes] | None:
        """Return up to PAGE entries of the followed journal after number `after`; None if not buffered."""
        assert self.newest is not None
        missing = self.newest - after
        if missing > len(self._entries):
            return None
        first = len(self._entries) - missing
        return [self._entries[index] for index in range(first, min(first + PAGE, len(self._entries)))]

    async def _read(self) -> None:
        while True:
            first_time = self.newest is None
            # The first read needs only the number of the newest entry; streams read older ones themselves.
            after = 2**53 if self.newest is None else self.newest
            page = await read_page(self._connection, self._uid, after)
            before = self.newest
            self._keep(page)
            if self.ended or self.newest != before:
                await self._wake()
            if first_time or page.first + len(page.entries) > page.newest:
                return

    def _keep(self, page: Page) -> None:
        if self.newest is not None and page.first != self.newest + 1:
            self._entries.clear()  # the store has dropped entries in between
            self._bytes = 0
        for entry in page.entries:
            self._entries.append(entry)
            self._bytes += len(entry)
        # A stream that needs older entries reads them by itself, and gives their memory back as it goes.
        while self._bytes > BUFFER_BYTES:
            self._bytes -= len(self._entries.popleft())
        if page.entries or self.newest is None:
            self.newest = page.first + len(page.entries) - 1 if page.entries else page.newest
        self.ended = not page.live and self.newest >= page.newest

    async def _wake(self) -> None:
        for number, waiter in enumerate(tuple(self._waiting), 1):
            if not waiter.done():
                waiter.set_result(None)
            if number % WOKEN == 0:
                await asyncio.sleep(0)


class JournalFollowers:
    """Registry of the followers of this process, by run."""

    def __init__(self, connection: Connection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self._followers: dict[str, JournalFollower] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._followers)

    async def pages(self, uid: str, after: int = 0) -> AsyncGenerator[tuple[int, list[bytes]], None]:
        """Follow a journal: yield the entries after number `after`, until the run has ended.

        Each item is the number of its first entry, and entries from there on, up to PAGE if the follower has
        them; the list belongs to the caller. Raises StoreUnavailable as soon as the store cannot be read.
        """
        async with self._joined(uid) as follower:
            while True:
                if follower.fault is not None:
                    raise follower.fault
                if follower.newest is None or after >= follower.newest:
                    if follower.ended:
                        return
                    await follower.wait_for_change()
                    continue
                entries, first = follower.entries_after(after), after + 1
                if entries is None:
                    page = await read_page(self._connection, uid, after)
                    if not page.entries:
                        return  # its retention has passed
                    entries, first = page.entries, page.first
                after = first + len(entries) - 1
                yield first, entries

    def streams(self) -> dict[str, int]:
        """Return the number of streams per followed run."""
        return {uid: follower.streams for uid, follower in self._followers.items()}

    async def close(self) -> None:
        """End all followers of journals."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _joined(self, uid: str) -> AsyncIterator[JournalFollower]:
        follower = self._followers.get(uid)
        if follower is None or follower.over:
            follower = self._followers[uid] = JournalFollower(uid, self._connection, self._pubsub)
            task = asyncio.create_task(follower.run(self._ended), name=f"follower of {uid}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            follower.task = task
        follower.streams += 1
        try:
            yield follower
        finally:
            follower.streams -= 1
            if not follower.streams:
                if follower.task is not None:
                    follower.task.cancel()
                if self._followers.get(uid) is follower:
                    del self._followers[uid]

    def _ended(self, uids: str) -> None:
        for uid in uids.split():
            if (follower := self._followers.get(uid)) is not None:
                follower.ring()
