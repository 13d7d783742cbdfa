"""`/v1/runs/{uid}/events`: a run's journal as server-sent events, so far and then live.

An event's id is the number of its line, from 1, which stays when older lines are dropped. Invariant: the
stream ends with an `end` event once the run has ended; one that ends without it was cut off, and the
client's `Last-Event-ID` continues it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from iogate.errors import Unreachable
from iogate.gateway.answers import ErrorAnswer, Failed
from iogate.store import reading

if TYPE_CHECKING:
    from iogate.gateway.live import Live
    from iogate.store.connection import Store

BEAT_S = 15.0
RETRY_S = 5
_BEAT = b": still here\n\n"

Stream = AsyncGenerator[bytes, None]


class Streams:
    """The event streams that this process serves, never more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[object] = set()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, live: Live, store: Store, uid: str, *, after: int) -> Stream:
        """Return the events of a run behind the one of number `after`.

        Raises Failed with a 503 if the process serves as many streams as it may.
        """
        if len(self._open) >= self._limit:
            raise Failed(
                ErrorAnswer(
                    503,
                    "serverError.unavailable",
                    f"This gateway serves {self._limit} event streams, as many as it may; "
                    f"retry in {RETRY_S} s",
                    [(b"retry-after", b"%d" % RETRY_S)],
                )
            )
        place = object()
        self._open.add(place)
        stream = self._counted(place, _stream(live, store, uid, after=after))
        # A client that is gone before the first event leaves a generator that never runs.
        weakref.finalize(stream, self._open.discard, place)
        return stream

    async def _counted(self, place: object, events: Stream) -> Stream:
        try:
            async for event in events:
                yield event
        finally:
            self._open.discard(place)
            await events.aclose()


PROCESS_OUTPUT = "process.output"
"""Entries for the operators of a workflow, not for its callers."""


async def _stream(live: Live, store: Store, uid: str, *, after: int) -> Stream:
    pages = store.runs.followers.pages(uid, after)
    drained = asyncio.ensure_future(live.draining.wait())
    following = asyncio.ensure_future(anext(pages, None))
    try:
        while True:
            await asyncio.wait({drained, following}, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                news = following.result()
                if news is None:
                    break
                first, entries = news
                events = b"".join(
                    b"id: %d\nevent: journal\ndata: %s\n\n" % (number, msgspec.json.encode(entry))
                    for number, entry in enumerate(map(reading.entry, entries), first)
                    if entry.get("kind") != PROCESS_OUTPUT
                )
                if events:
                    yield events
                following = asyncio.ensure_future(anext(pages, None))
            elif drained.done():
                return
            else:
                yield _BEAT
        run = await store.runs.show(uid)
        if run is not None:
            yield b"event: end\ndata: %s\n\n" % msgspec.json.encode(reading.times(run))
    except Unreachable:
        return
    finally:
        drained.cancel()
        following.cancel()
        await asyncio.gather(drained, following, return_exceptions=True)
        await pages.aclose()
