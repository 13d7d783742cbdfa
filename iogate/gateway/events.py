"""`/v1/runs/{uid}/events`: a run's journal as server-sent events, so far and then live.

An event's id is the number of its line, from 1, which stays when older lines are dropped. Invariant: the
stream ends with an `end` event once the run has ended; one that ends without it was cut off, and the
client's `Last-Event-ID` continues it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from iogate.errors import Unreachable
from iogate.store import reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from iogate.gateway.live import Live
    from iogate.store.connection import Store

BEAT_S = 15.0
_BEAT = b": still here\n\n"


async def stream(live: Live, store: Store, uid: str, *, after: int) -> AsyncIterator[bytes]:
    """Events of a run behind the one of number `after`."""
    lines = store.runs.follow(uid, after)
    drained = asyncio.ensure_future(live.draining.wait())
    following = asyncio.ensure_future(anext(lines, None))
    try:
        while True:
            await asyncio.wait({drained, following}, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                news = following.result()
                if news is None:
                    break
                number, line = news
                yield b"id: %d\nevent: journal\ndata: %s\n\n" % (
                    number,
                    msgspec.json.encode(reading.entry(line)),
                )
                following = asyncio.ensure_future(anext(lines, None))
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
