"""The matcher: brings published events to the runs that may want them.

A task of each worker; the store lets one of them at a time be the matcher. Invariant: no event and no
subscription stops it. Where this side cannot tell whether an event is wanted, it is delivered: the engine
of the run has the last word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from iogate.engine.events import concerns
from iogate.errors import Unreachable
from iogate.store.events import Batch, Delivery, Events
from iogate.store.line import CommandFailed
from iogate.worker.frames import decode

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Between two looks where no bell rings: another worker may have been the matcher and died."""
ROUND_S = 1.0
"""What takes longer is left for the next round: a matcher that is silent counts as one that died."""
SLICE = 2_000
"""Judgements between two moments at which the runs of this worker have their turn."""


class Matching:
    def __init__(self, events: Events, owner: str) -> None:
        self._events = events
        self._owner = owner

    async def run(self) -> None:
        """Match for ever."""
        bell, wired = self._events.bell()
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
    wanted = [(each.uid, each.frame, _filters(each.filters)) for each in batch.subscriptions]
    deliveries: list[Delivery] = []
    judged = 0
    for number, data in batch.events:
        if upto and loop.time() > until:
            break
        upto = number
        event = _event(number, data)
        if event is None:
            continue
        for uid, frame, filters in wanted:
            if filters is None or any(_concerned(each, event) for each in filters):
                deliveries.append(Delivery(number=number, uid=uid, frame=frame))
            judged += 1
            if judged % SLICE == 0:
                await asyncio.sleep(0)
    return upto, deliveries


def _event(number: int, data: bytes) -> Mapping[str, Any] | None:
    """None for what is no CloudEvent: nobody can want it."""
    try:
        event = decode(data)
    except (msgspec.DecodeError, ValueError):
        event = None
    if not isinstance(event, Mapping):
        log.warning("event %d is no JSON object and is dropped", number, extra={"action": "event.dropped"})
        return None
    return event


def _filters(data: bytes) -> Sequence[Mapping[str, Any]] | None:
    """None where they cannot be read: then every event of its types is delivered."""
    try:
        filters = decode(data)
    except (msgspec.DecodeError, ValueError):
        return None
    return (
        filters if isinstance(filters, list) and all(isinstance(each, Mapping) for each in filters) else None
    )


def _concerned(wanted: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    try:
        return concerns(wanted, event)
    except Exception:
        log.exception("a filter cannot be judged here", extra={"action": "filter.doubtful"})
        return True
