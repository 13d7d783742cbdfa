"""The matcher: brings published events to the runs that may want them.

A task of each worker; the store lets one of them at a time be the matcher. Invariant: no event and no
subscription stops it. Where this side cannot tell whether an event is wanted, it is delivered: the engine
of the run has the last word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.events.bus import Batch, Delivery, EventBus
from iogate.worker.events.subscriptions import SubscriptionIndex
from iogate.worker.runs.codec import decode

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Between two looks where no bell rings: another worker may have been the matcher and died."""
ROUND_S = 1.0
"""What takes longer is left for the next round: a matcher that is silent counts as one that died."""
SLICE = 2_000
"""Judgements between two moments at which the runs of this worker have their turn."""


class Matcher:
    def __init__(self, events: EventBus, owner: str) -> None:
        self._events = events
        self._owner = owner

    async def run(self) -> None:
        """Match for ever."""
        bell, wired = self._events.doorbell()
        async with wired:
            while True:
                try:
                    more = await self._round()
                except (Unreachable, CommandFailed) as error:
                    log.debug("matcher: %s", error, extra={"action": "matcher.postponed"})
                    more = False
                except Exception:
                    # What was taken is answered again: the next round, or another worker, may do better.
                    log.exception("the matcher failed", extra={"action": "matcher.failed"})
                    more = False
                if not more:
                    await bell.wait(POLL_S)

    async def _round(self) -> bool:
        """Take, judge, deliver; whether there may be more at once."""
        batch = await self._events.take(self._owner)
        if not batch.events:
            return False
        upto, deliveries = await _matched(batch)
        return await self._events.deliver(self._owner, upto, deliveries)


async def _matched(batch: Batch) -> tuple[int, list[Delivery]]:
    """Who may want what, in the order of the events, and the number up to which that is all."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ROUND_S
    upto = 0
    index = SubscriptionIndex()
    for count, each in enumerate(batch.subscriptions, 1):
        index.add(each)
        if count % SLICE == 0:
            await asyncio.sleep(0)
    deliveries: list[Delivery] = []
    judged = 0
    for number, data in batch.events:
        if upto and loop.time() > until:
            break
        upto = max(upto, number)
        event = _event(number, data)
        if event is None:
            continue
        found: set[tuple[str, int]] = set()
        for entry in index.candidates(event):
            found.add((entry.subscription.uid, entry.subscription.frame))
            judged += 1
            if judged % SLICE == 0:
                await asyncio.sleep(0)
        deliveries += [Delivery(number=number, uid=uid, frame=frame) for uid, frame in found]
    return upto, deliveries


def _event(number: int, data: bytes) -> Mapping[str, Any] | None:
    """None for what is no CloudEvent, or nobody published: nobody can want it."""
    if not data:
        return None  # it was logged when it was read
    try:
        event = decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        event = None
    if not isinstance(event, Mapping):
        log.warning("event %d is no JSON object and is dropped", number, extra={"action": "event.dropped"})
        return None
    return event
