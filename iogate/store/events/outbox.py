"""What leaves for the sinks: CloudEvents of commits, delivered by one courier a sink at a time.

Filled by commits, emptied by workers. What the store itself does to a run, as when someone suspends it, is an
entry too, in the order of the rest: a line of its journal, `Entry`, of which the courier makes the events.
Invariants: an entry stays until its courier says that it is done with; a courier that lost its lease removes
nothing; a sink that stays away costs at most OUTBOX_ENTRIES, the oldest are dropped, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.pubsub import Doorbell, PubSub


class Sink(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    waiting: int
    """Entries that are to be delivered."""
    dropped: int
    """Entries that made room for later ones, in all."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run without a worker; every other entry is a CloudEvent."""

    uid: str
    workflow: str
    number: int
    """Of the line in the journal of the run, over its whole life."""
    line: msgspec.Raw
    """A line of a journal."""


class UnusedSink(msgspec.Struct, frozen=True, kw_only=True):
    """A sink that no worker's settings name."""

    name: str
    waiting: int
    forgotten: bool
    """What waited for it is dropped; else it will be, SINK_KEPT_MS from now, unless the sink comes back."""


class Outbox:
    def __init__(self, connection: Connection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self._first: dict[tuple[str, str], int] = {}
        """By sink and owner: how many entries had left before those of the last take."""

    async def take(self, sink: str, owner: str, limit: int = 50) -> list[bytes]:
        """The oldest entries, under a lease of OUTBOX_LEASE_MS; [] where there are none, or another has it.

        What is not done with is answered again.
        """
        gone, *entries = await self._connection.run("send", "take", sink, owner, limit)
        self._first[sink, owner] = gone
        return list(entries)

    async def done(self, sink: str, owner: str, count: int) -> bool:
        """Remove the first `count` of the last take; False where the lease is another's by now.

        Safe to repeat.
        """
        upto = self._first[sink, owner] + count
        return bool(await self._connection.run("send", "done", sink, owner, upto))

    async def register(self, sinks: Mapping[str, bool]) -> list[UnusedSink]:
        """Say which sinks this worker's settings name, and of each whether it wants the lifecycle.

        Answers sinks that nobody names, each to one worker: once as that begins and once as it is forgotten.
        """
        named = [part for name, lifecycle in sinks.items() for part in (name, int(lifecycle))]
        return [
            UnusedSink(name=name.decode(), waiting=waiting, forgotten=bool(forgotten))
            for name, waiting, forgotten in await self._connection.run("sinks", *named)
        ]

    def doorbell(self) -> tuple[Doorbell, Any]:
        """A bell that rings when an empty outbox gets an entry, and the context that keeps it wired."""
        bell = Doorbell()
        return bell, self._pubsub.listening(keys.OUTBOX_CHANNEL, bell.ring)

    async def sinks(self) -> list[Sink]:
        """All that settings name, or named lately, by name."""
        names = sorted(name.decode() for name in await self._connection.call("SMEMBERS", keys.SINKS))
        commands: list[tuple[str, ...]] = []
        for name in names:
            commands += [("LLEN", keys.OUTBOX + name), ("HGET", keys.SINK + name, "dropped")]
        replies = iter(await self._connection.calls(commands))
        return [
            Sink(name=name, waiting=waiting, dropped=int(dropped or 0))
            for name, waiting, dropped in zip(names, replies, replies, strict=True)
        ]
