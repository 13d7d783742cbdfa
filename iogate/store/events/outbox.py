"""Outboxes of the sinks: CloudEvents of commits, delivered by one worker per sink at a time.

Filled by commits, emptied by workers. Changes that the store itself makes to a run, such as a suspension, are
entries too, in order: a journal entry, `Entry`, from which the worker makes the events. Invariants: an entry
stays until its delivery is confirmed; a worker that lost its lease removes nothing; an unreachable sink uses
at most OUTBOX_ENTRIES entries, the oldest are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.pubsub import Doorbell, PubSub


class Sink(msgspec.Struct, frozen=True, kw_only=True):
    """Sink with the state of its outbox."""

    name: str
    waiting: int
    """Number of entries to deliver."""
    dropped: int
    """Total number of entries that were dropped for later ones."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Change of a run by the store itself; each other entry is a CloudEvent."""

    uid: str
    workflow: str
    number: int
    """Number of the journal entry over the whole life of the run."""
    line: msgspec.Raw
    """The journal entry."""


class UnusedSink(msgspec.Struct, frozen=True, kw_only=True):
    """Sink that the settings of no worker name."""

    name: str
    waiting: int
    forgotten: bool
    """Its entries are dropped; if False, they will be in SINK_KEPT_MS, unless a worker names the sink."""


class Outbox:
    """Client of the scripts that deliver the outboxes."""

    def __init__(self, connection: Connection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self._first: dict[tuple[str, str], int] = {}
        """By sink and owner: number of entries removed before those of the last take."""

    async def take(self, sink: str, owner: str, limit: int = 50) -> list[bytes]:
        """Lease the outbox for OUTBOX_LEASE_MS and return its oldest entries; [] if another owner has it.

        Entries that are not confirmed by `done` are returned again.
        """
        gone, *entries = await self._connection.run("send", "take", sink, owner, limit)
        self._first[sink, owner] = gone
        return list(entries)

    async def done(self, sink: str, owner: str, count: int) -> bool:
        """Remove the first `count` entries of an outbox; return False if the lease is lost.

        Idempotent.
        """
        upto = self._first[sink, owner] + count
        return bool(await self._connection.run("send", "done", sink, owner, upto))

    async def register(self, sinks: Mapping[str, bool]) -> list[UnusedSink]:
        """Register the sinks of this worker, each with an outbox and whether it wants lifecycle events.

        Return sinks that no worker names: each to one worker, once when that begins and once when it is
        removed.
        """
        named = [part for name, lifecycle in sinks.items() for part in (name, int(lifecycle))]
        return [
            UnusedSink(name=name.decode(), waiting=waiting, forgotten=bool(forgotten))
            for name, waiting, forgotten in await self._connection.run("sinks", *named)
        ]

    def doorbell(self) -> tuple[Doorbell, Any]:
        """Return a bell that rings when an empty outbox gets an entry, and the context that subscribes it."""
        bell = Doorbell()
        return bell, self._pubsub.listening(keys.OUTBOX_CHANNEL, bell.ring)

    async def sinks(self) -> list[Sink]:
        """Return all sinks with their outboxes that settings name, or named within SINK_KEPT_MS."""
        names = sorted(name.decode() for name in await self._connection.call("SMEMBERS", keys.SINKS))
        commands: list[tuple[str, ...]] = []
        for name in names:
            commands += [("LLEN", keys.OUTBOX + name), ("HGET", keys.SINK + name, "dropped")]
        replies = iter(await self._connection.calls(commands))
        return [
            Sink(name=name, waiting=waiting, dropped=int(dropped or 0))
            for name, waiting, dropped in zip(names, replies, replies, strict=True)
        ]
