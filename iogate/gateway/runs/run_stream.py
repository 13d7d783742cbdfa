"""Stream of a run's journal as server-sent events: past entries, then new ones (`/v1/runs/{uid}/events`).

An event's id is the number of its journal entry, from 1; it stays when older entries are dropped. Invariants:
the stream ends with an `end` event once the run has ended; a stream that ends without it was cut off, and the
client continues it with `Last-Event-ID`. No address can exclude others: at the limit of streams, the address
with the most streams loses one to an address with few.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.errors import Unreachable
from iogate.gateway.http.responses import ErrorResponse, HTTPError, too_many
from iogate.security.failure_limit import network
from iogate.store.runs import presentation

if TYPE_CHECKING:
    from iogate.gateway.http.large_responses import PacedSend
    from iogate.store.store import Store

BEAT_S = 15.0
RETRY_S = 5
PROBE_S = 0.25
"""Wait after each of the two heartbeats of a probe."""
PROBES_S = 2.0
"""Least time between two probes."""
LEAST_SHARE = 10
OPENING = 2
"""Streams that are opened at once, so that other requests wait for no more of them."""
PIECE = 4 * 1024
"""Size from which events are sent without further ones."""
_BEAT = b": still here\n\n"

Stream = AsyncGenerator[bytes, None]
Form = Callable[[bytes], Any]
"""Returns a stored journal entry as it is shown; None if it is not."""


class _Slot:
    """An open stream, counted towards the limit."""

    def __init__(self, owner: str, paced: PacedSend) -> None:
        self.paced = paced
        self.owner = owner
        """Address of the client; for IPv6, its /64 network."""
        self.beat: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done if the stream has to send a heartbeat or to end now."""
        self.is_taken = False
        """The slot was given to another address: the stream ends."""

    def probe(self) -> None:
        if not self.beat.done():
            self.beat.set_result(None)

    def probed(self) -> None:
        if self.beat.done():
            self.beat = asyncio.get_running_loop().create_future()


class Streams:
    """Open event streams of this process, at most `limit`.

    At the limit, each address is entitled to a share of the streams.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = max(LEAST_SHARE, limit // 4)
        self._open: dict[_Slot, None] = {}
        self.opening = asyncio.Semaphore(OPENING)
        """Acquired while a stream is being opened, which costs some milliseconds."""
        self._probing = asyncio.Lock()
        self._probed_s = -PROBES_S

    def __len__(self) -> int:
        return len(self._open)

    async def open(
        self,
        store: Store,
        uid: str,
        *,
        after: int,
        address: str,
        draining: asyncio.Event,
        paced: PacedSend,
        operator: bool = False,
    ) -> Stream:
        """Return the stream of a run's events after number `after`, for a client at an address.

        It is sent by `paced`, and ends early once `draining` is set. `operator`: with the entries and details
        for operators.

        Raises HTTPError at the limit of streams: a 429 if the address has its share, a 503 if no address
        has more than its share.
        """
        owner = network(address)
        if len(self._open) >= self._limit:
            await self._probe()
        if len(self._open) >= self._limit:
            self._make_room(owner)
        slot = _Slot(owner, paced)
        self._open[slot] = None
        stream = self._counted(
            slot, _stream(store, uid, after=after, slot=slot, draining=draining, operator=operator)
        )
        # If the client disconnects before the first event, the generator never runs.
        weakref.finalize(stream, self._open.pop, slot, None)
        return stream

    def _make_room(self, owner: str) -> None:
        """End the newest event stream of the address that has most. Raises HTTPError as `open` does."""
        slots = tuple(self._open)
        counts = Counter([slot.owner for slot in slots])
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
        newest = next(slot for slot in reversed(slots) if slot.owner == most)
        newest.is_taken = True
        newest.probe()
        newest.paced.cut_if_waiting()
        self._open.pop(newest, None)

    async def _probe(self) -> None:
        """End the event streams of closed connections, which frees their slots.

        While the server holds bytes of a further request on the connection, it stops reading, and notices the
        end only when it writes: the peer refuses the first heartbeat, and the second one fails.
        """
        loop = asyncio.get_running_loop()
        async with self._probing:
            if loop.time() < self._probed_s + PROBES_S:
                return
            for _ in range(2):
                # The garbage collector may remove a slot from the set at any allocation.
                for slot in tuple(self._open):
                    slot.probe()
                await asyncio.sleep(PROBE_S)
                if len(self._open) < self._limit:
                    break
            self._probed_s = loop.time()

    async def _counted(self, slot: _Slot, events: Stream) -> Stream:
        try:
            async for event in events:
                yield event
        finally:
            self._open.pop(slot, None)
            await events.aclose()


def _for_caller(stored: bytes) -> Any:
    return presentation.public_entry(presentation.journal_entry(stored))


async def _stream(
    store: Store, uid: str, *, after: int, slot: _Slot, draining: asyncio.Event, operator: bool
) -> Stream:
    form = presentation.journal_entry if operator else _for_caller
    pages = store.runs.followers.pages(uid, after)
    drained = asyncio.ensure_future(draining.wait())
    following = asyncio.ensure_future(anext(pages, None))
    try:
        while True:
            awaited: list[asyncio.Future[Any]] = [drained, following, slot.beat]
            await asyncio.wait(awaited, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                page = following.result()
                if page is None:
                    break
                first, entries = page
                for events, left in _pieces(first, entries, form):
                    slot.paced.backlog = left
                    yield events
                following = asyncio.ensure_future(anext(pages, None))
            elif drained.done() or slot.is_taken:
                return
            else:
                slot.probed()
                yield _BEAT
        run = await store.runs.show(uid, most=0)
        if run is not None:
            yield b"event: end\ndata: %s\n\n" % msgspec.json.encode(presentation.public_status(run))
    except Unreachable:
        return
    finally:
        drained.cancel()
        following.cancel()
        await asyncio.gather(drained, following, return_exceptions=True)
        await pages.aclose()


def _pieces(first: int, entries: list[bytes], form: Form) -> Iterator[tuple[bytes, int]]:
    """Yield the events of a page of a stream in pieces, each with the bytes of the page that are left.

    A caller that reads slowly costs no work for the events that it has not come to. Empties `entries`.
    """
    left = sum(map(len, entries))
    entries.reverse()
    piece: list[bytes] = []
    size, number = 0, first
    while entries:
        entry = entries.pop()
        left -= len(entry)
        shown = form(entry)
        if shown is not None:
            event = b"id: %d\nevent: journal\ndata: %s\n\n" % (number, msgspec.json.encode(shown))
            piece.append(event)
            size += len(event)
        number += 1
        if size >= PIECE:
            yield b"".join(piece), left
            piece, size = [], 0
    if piece:
        yield b"".join(piece), left
