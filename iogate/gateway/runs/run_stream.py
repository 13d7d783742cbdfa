"""`/v1/runs/{uid}/events`: a run's journal as server-sent events, so far and then live.

An event's id is the number of its line, from 1, which stays when older lines are dropped. Invariant: the
stream ends with an `end` event once the run has ended; one that ends without it was cut off, and the
client's `Last-Event-ID` continues it. One address cannot keep others out: while all places are taken, the one
that has the most gives places to those that have few.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.errors import Unreachable
from iogate.gateway.http.responses import ErrorResponse, HTTPError, too_many
from iogate.security.password_hashing import network
from iogate.store.runs import presentation

if TYPE_CHECKING:
    from iogate.gateway.live import Live
    from iogate.store.store import Store

BEAT_S = 15.0
RETRY_S = 5
PROBE_S = 0.25
"""After each of the two beats of a probe."""
PROBES_S = 2.0
"""Least time between two probes."""
LEAST_SHARE = 10
_BEAT = b": still here\n\n"

Stream = AsyncGenerator[bytes, None]


class _Place:
    """The place of an open stream."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        """Address of the client; of IPv6, its network."""
        self.beat: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done if the stream has to send a beat or to end now."""
        self.is_taken = False
        """The place was given to another address: the stream ends."""

    def probe(self) -> None:
        if not self.beat.done():
            self.beat.set_result(None)

    def probed(self) -> None:
        if self.beat.done():
            self.beat = asyncio.get_running_loop().create_future()


class Streams:
    """The event streams that this process serves, never more than `limit`.

    While there are `limit`, one address is entitled to a share of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = max(LEAST_SHARE, limit // 4)
        self._open: dict[_Place, None] = {}
        self._probing = asyncio.Lock()
        self._probed_s = -PROBES_S

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, live: Live, store: Store, uid: str, *, after: int, address: str) -> Stream:
        """Return the events of a run behind the one of number `after`, for a client at an address.

        Raises HTTPError if the process serves as many streams as it may: with a 429 if the address has its
        share, with a 503 if no address has more than that.
        """
        owner = network(address)
        if len(self._open) >= self._limit:
            await self._probe()
        if len(self._open) >= self._limit:
            self._make_room(owner)
        place = _Place(owner)
        self._open[place] = None
        stream = self._counted(place, _stream(live, store, uid, after=after, place=place))
        # A client that is gone before the first event leaves a generator that never runs.
        weakref.finalize(stream, self._open.pop, place, None)
        return stream

    def _make_room(self, owner: str) -> None:
        """End the newest stream of the address that has the most."""
        places = tuple(self._open)
        counts = Counter([place.owner for place in places])
        if counts[owner] >= self._share:
            raise HTTPError(
                too_many(
                    f"All {self._limit} event streams of this gateway are taken, and this address has "
                    f"{counts[owner]} of them; then one address may have {self._share}",
                    RETRY_S,
                )
            )
        most = max(counts, key=lambda each: counts[each])
        if counts[most] <= self._share:
            raise HTTPError(
                ErrorResponse(
                    503,
                    "serverError.unavailable",
                    f"This gateway serves {self._limit} event streams, as many as it may; "
                    f"retry in {RETRY_S} s",
                    [(b"retry-after", b"%d" % RETRY_S)],
                )
            )
        newest = next(place for place in reversed(places) if place.owner == most)
        newest.is_taken = True
        newest.probe()
        self._open.pop(newest, None)

    async def _probe(self) -> None:
        """Make streams of connections that are closed end, which frees their places.

        While the server holds bytes of a further request on the connection, it reads no more, and notices the
        end only when it writes: the peer refuses the first beat, the second one fails.
        """
        loop = asyncio.get_running_loop()
        async with self._probing:
            if loop.time() < self._probed_s + PROBES_S:
                return
            for _ in range(2):
                # A place that nobody holds any more may leave the set at any allocation.
                for place in tuple(self._open):
                    place.probe()
                await asyncio.sleep(PROBE_S)
                if len(self._open) < self._limit:
                    break
            self._probed_s = loop.time()

    async def _counted(self, place: _Place, events: Stream) -> Stream:
        try:
            async for event in events:
                yield event
        finally:
            self._open.pop(place, None)
            await events.aclose()


async def _stream(live: Live, store: Store, uid: str, *, after: int, place: _Place) -> Stream:
    pages = store.runs.followers.pages(uid, after)
    drained = asyncio.ensure_future(live.draining.wait())
    following = asyncio.ensure_future(anext(pages, None))
    try:
        while True:
            awaited: list[asyncio.Future[Any]] = [drained, following, place.beat]
            await asyncio.wait(awaited, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                news = following.result()
                if news is None:
                    break
                first, entries = news
                events = b"".join(
                    b"id: %d\nevent: journal\ndata: %s\n\n" % (number, msgspec.json.encode(shown))
                    for number, entry in enumerate(entries, first)
                    if (shown := presentation.public_entry(presentation.journal_entry(entry))) is not None
                )
                if events:
                    yield events
                following = asyncio.ensure_future(anext(pages, None))
            elif drained.done() or place.is_taken:
                return
            else:
                place.probed()
                yield _BEAT
        run = await store.runs.show(uid)
        if run is not None:
            yield b"event: end\ndata: %s\n\n" % msgspec.json.encode(presentation.public_status(run))
    except Unreachable:
        return
    finally:
        drained.cancel()
        following.cancel()
        await asyncio.gather(drained, following, return_exceptions=True)
        await pages.aclose()
