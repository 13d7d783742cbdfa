"""Matcher of published events with the subscriptions of runs.

Started by `worker_process` in each worker; a lease in the store makes one of them active. The simulation of a
test matches with the same function. Invariant: no event and no subscription stops it. If the prefilter cannot
decide, the matcher delivers the event, and the engine of the run decides.
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
from iogate.store.state_codec import decode
from iogate.worker.events.subscription_index import SubscriptionIndex
from iogate.worker.ports import Events

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Interval of checks without a doorbell: the worker with the active matcher may have died."""
ITERATION_S = 1.0
"""Time limit of one iteration: a matcher that is silent for too long loses its lease."""
SLICE = 2_000
"""Subscriptions that are checked before the event loop continues with the runs of this worker."""


class Matcher:
    """Matching task of one worker."""

    def __init__(self, events: EventBus, owner: str) -> None:
        self._events = events
        self._owner = owner

    async def run(self) -> None:
        """Match events with subscriptions until cancelled."""
        bell, wired = self._events.doorbell()
        async with wired:
            while True:
                try:
                    more = await match_next(self._events, self._owner)
                except (Unreachable, CommandFailed) as error:
                    log.debug("matcher: %s", error, extra={"action": "matcher.postponed"})
                    more = False
                except Exception:
                    # The store returns the events again in the next iteration, here or in another worker.
                    log.exception("the matcher failed", extra={"action": "matcher.failed"})
                    more = False
                if not more:
                    await bell.wait(POLL_S)


async def match_next(events: Events, owner: str) -> bool:
    """Match and deliver one batch as its matcher; tell whether there may be more events."""
    batch = await events.take(owner)
    if not batch.events:
        return False
    upto, deliveries = await _match(batch)
    return await events.deliver(owner, upto, deliveries)


async def _match(batch: Batch) -> tuple[int, list[Delivery]]:
    """Return the number of the last event that was matched, and the deliveries in the order of the events."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ITERATION_S
    upto = 0
    index = SubscriptionIndex()
    for count, each in enumerate(batch.subscriptions, 1):
        index.add(each)
        if count % SLICE == 0:
            await asyncio.sleep(0)
    deliveries: list[Delivery] = []
    checked = 0
    for number, data in batch.events:
        if upto and loop.time() > until:
            break
        upto = max(upto, number)
        event = _event(number, data)
        if event is None:
            continue
        found: dict[tuple[str, int], None] = {}
        for entry in index.candidates(event):
            found[entry.subscription.uid, entry.subscription.frame] = None
            checked += 1
            if checked % SLICE == 0:
                await asyncio.sleep(0)
        deliveries += [Delivery(number=number, uid=uid, frame=frame) for uid, frame in found]
    return upto, deliveries


def _event(number: int, data: bytes) -> Mapping[str, Any] | None:
    """Decode an event to match against subscriptions; None if it is not authentic or not a JSON object."""
    if not data:
        return None  # the store client logged it
    try:
        event = decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        event = None
    if not isinstance(event, Mapping):
        log.warning("dropped event %d, which is not a JSON object", number, extra={"action": "event.dropped"})
        return None
    return event
