"""Event bus: events are published once, matched in order, and delivered to the inboxes of runs.

Published by the gateway, the command line and every commit that emits; matched by one worker at a time,
the matcher, which holds a lease. Invariants: a subscription gets each event once, and only events that were
published after it began; events are delivered in the order of publishing; a matcher that lost its lease
delivers nothing.

    publish ──▶ iogate:events ── take ──▶ matcher ── deliver ──▶ inbox of each run that wants it
      commit's emits ──┘        candidates by type
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from iogate.engine.event_prefilter import event_type
from iogate.security.keyring import Keyring, digest
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection, StoreFull
from iogate.store.connection.memory_watermark import Memory
from iogate.store.connection.packing import encode, text
from iogate.store.connection.pubsub import Doorbell, PubSub
from iogate.store.integrity.refusals import Refusals
from iogate.store.integrity.seals import open_event, seal_event

log = logging.getLogger(__name__)

BATCH = 256
"""Events of one take."""
BATCH_BYTES = 4 * 1024 * 1024
"""Maximum size of one take, unless a single event is larger."""
DELIVERIES = 1_000
"""Deliveries of one script; a script blocks the server."""
SCAN = 1_000

_NAME = re.compile(rb"([0-9]{1,20}):([0-9]{1,18})")


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Subscription of a frame of a run."""

    uid: str
    frame: int
    filters: bytes
    """JSON list of `{"match": …, "correlate": …}`; an event matches if any of them holds."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Next events for the matcher; empty if there are none, or if another process is the matcher."""

    events: tuple[tuple[int, bytes], ...] = ()
    """Number and CloudEvent, in order; a forged entry has the number 0 or is empty."""
    subscriptions: tuple[Subscription, ...] = ()
    """Subscriptions that may match one of the events, by type only."""
    more: bool = False
    """More events are waiting."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Delivery of one event to one subscription."""

    number: int
    """Number of an event of the batch."""
    uid: str
    frame: int


class _Names(msgspec.Struct):
    """Attributes of an event that the store uses."""

    id: str = ""
    source: str = ""
    type: str = ""


_names = msgspec.json.Decoder(_Names)


def fingerprint(event: bytes, sender: str = "") -> tuple[str, str]:
    """Return the key by which the bus deduplicates an event, and its type.

    `sender` is the credential of an external event; the project's own runs are the sender "". Each sender has
    its own key space, so that no sender can make the event of another one look like a duplicate.
    """
    names = _names.decode(event)
    identity = f"{names.source}\0{names.id}".encode()
    if sender:
        # JSON escapes NUL, so this text never equals one of the first form.
        identity = msgspec.json.encode((sender, names.source, names.id))
    return hashlib.sha256(identity).hexdigest()[:32], names.type


def types_of(filters: bytes) -> list[str]:
    """Return the types of events that a subscription of the bus may get; "" stands for all types."""
    types = {event_type(each) for each in msgspec.json.decode(filters)}
    return [""] if "" in types else sorted(types)


class EventBus:
    """Client of the scripts that publish, match and deliver events."""

    def __init__(
        self, connection: Connection, pubsub: PubSub, memory: Memory, ring: Keyring, refusals: Refusals
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._refusals = refusals
        self._pubsub = pubsub
        self._memory = memory

    async def publish(self, events: Sequence[bytes], *, sender: str = "") -> int:
        """Publish CloudEvents on the bus in one step, each a JSON object, and return how many were new.

        An event is new unless the same sender published its source and id within 24 h. Idempotent, also after
        an error. Raises StoreFull above the memory watermark, and StoreUnavailable.
        """
        await self._memory.check(size=sum(map(len, events)))
        packed = encode(
            [(*fingerprint(event, sender), text(seal_event(self._ring, event))) for event in events]
        )
        count: int = await self._connection.run("emit", packed)
        if count < 0:
            raise StoreFull
        return count

    async def take(self, owner: str, limit: int = BATCH) -> Batch:
        """Return the next events of the bus and their subscriptions, if this owner is or becomes the matcher.

        The lease of the matcher lasts MATCHER_MS and is renewed by each take. Events that are not delivered
        are returned again.
        """
        held, more, *entries = await self._connection.run("match", owner, min(limit, BATCH), BATCH_BYTES)
        if not held or not entries:
            return Batch()
        events = tuple(
            (int(number), self._opened(number, sealed))
            for number, _, sealed in (e.partition(b" ") for e in entries)
        )
        types = {""} | {_type(event) for _, event in events}
        subscriptions: dict[bytes, bytes] = {}
        for kind in sorted(types):
            subscriptions |= await self._wanting(kind)
        return Batch(
            events=events,
            subscriptions=tuple(
                Subscription(uid=named[1].decode(), frame=int(named[2]), filters=data)
                for name, data in subscriptions.items()
                if (named := _NAME.fullmatch(name))
            ),
            more=bool(more),
        )

    def _opened(self, number: bytes, sealed: bytes) -> bytes:
        """Verify the seal of an event of the bus, and return it; empty bytes if it is invalid."""
        event = open_event(self._ring, sealed)
        if event is None:
            name = f"{number.decode()}:{digest(sealed).hex()[:12]}"
            self._refusals.note("event", name, "no process with the key published it")
            return b""
        return event

    async def deliver(self, owner: str, upto: int, deliveries: Sequence[Delivery]) -> bool:
        """Deliver events of the bus to their subscriptions, then remove those up to the number `upto`.

        Return False if another process is the matcher now, which then matches them itself. Idempotent.
        """
        ordered = sorted(deliveries, key=lambda each: each.number)
        slices = [ordered[first : first + DELIVERIES] for first in range(0, len(ordered), DELIVERIES)] or [[]]
        lost = 0
        for each in slices:
            last = each is slices[-1]
            flat = [(d.number, d.uid, d.frame) for d in each]
            # Events are removed only with the last slice, so that another matcher can continue.
            answer: int = await self._connection.run("deliver", owner, upto if last else 0, encode(flat))
            if not answer:
                return False
            lost += answer - 1
        if lost:
            log.warning(
                "%d events were dropped for runs with %d waiting messages, which are suspended or too slow",
                lost,
                keys.INBOX_ENTRIES,
                extra={"action": "inbox.full", "events": lost},
            )
        return True

    def doorbell(self) -> tuple[Doorbell, Any]:
        """Return a bell that rings when the bus gets events, and the context that subscribes it."""
        bell = Doorbell()
        return bell, self._pubsub.listening(keys.EVENTS_CHANNEL, bell.ring)

    async def waiting(self) -> int:
        """Return the number of events on the bus that are not matched yet."""
        count: int = await self._connection.call("LLEN", keys.EVENTS)
        return count

    async def all_listen(self) -> bool:
        """Return whether tasks listen and nothing on the bus is pending; scans all keys, for small stores."""
        if await self.waiting() or await self._any(keys.INBOX):
            return False
        return await self._any(keys.WANTED)

    async def _any(self, prefix: str) -> bool:
        cursor = b"0"
        while True:
            cursor, found = await self._connection.call("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", SCAN)
            if found or cursor == b"0":
                return bool(found)

    async def _wanting(self, kind: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            try:
                cursor, flat = await self._connection.call("HSCAN", keys.WANTS + kind, cursor, "COUNT", SCAN)
            except CommandFailed as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                return found  # not written by iogate; subscriptions to other types still work
            items = iter(flat)
            found.update(zip(items, items, strict=True))
            if cursor == b"0":
                return found


def _type(event: bytes) -> str:
    """Return the type of an event on the bus; empty if the event cannot be decoded."""
    try:
        return _names.decode(event).type
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""
