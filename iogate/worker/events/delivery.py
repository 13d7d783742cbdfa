"""The courier: empties the outboxes of the sinks, event by event, at least once and in order.

A task for each sink in each worker; the store lets one of them at a time have a sink's outbox. Another task
says which sinks there are: what waits for others is not kept for ever. Invariants: an event leaves its outbox
only once the sink took it, or said that it never will; what a sink makes of events holds up no run and no
other sink.

    take ──▶ POST ── 2xx ─────────────────▶ done
               ├── 4xx but 408, 429 ──▶ log, done
               └── anything else ─────▶ wait longer each time, then the same event again
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Literal

import msgspec

from iogate.effects.perform import EffectContext, Effects
from iogate.engine.commands import CallHttp, Perform, Performed
from iogate.errors import ERROR_TYPES, Unreachable, for_operators
from iogate.store.connection.connection import CommandFailed
from iogate.store.connection.pubsub import Doorbell
from iogate.store.events.outbox import Entry, Outbox
from iogate.worker.events.lifecycle import build_from_entry
from iogate.worker.events.sinks import Sink, Sinks
from iogate.worker.secrets.secret_store import SecretStore

log = logging.getLogger(__name__)

STRUCTURED = "application/cloudevents+json; charset=utf-8"
POLL_S = 1.0
NAME_S = 4.0
BATCH = 50
ANSWER_S = 10.0
"""A sink that takes longer to answer has not answered; below the lease of an outbox."""
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
HOLD_S = 5.0
"""While it waits, the delivery keeps the outbox: another worker would knowingly try at once."""
COMMUNICATION = ERROR_TYPES + "communication"
AGAIN = frozenset({408, 429})
"""Answers 4xx that are about the moment, not about the event."""

_Fate = Literal["taken", "dropped", "again"]


class _Head(msgspec.Struct):
    id: str = ""
    type: str = ""
    source: str = ""
    specversion: str = ""


_head = msgspec.json.Decoder(_Head)
_entry = msgspec.json.Decoder(Entry)


class Delivery:
    def __init__(
        self, *, outbox: Outbox, sinks: Sinks, effects: Effects, secrets: SecretStore, owner: str
    ) -> None:
        self._outbox = outbox
        self._sinks = sinks
        self._effects = effects
        self._secrets = secrets
        self._owner = owner

    async def run(self) -> None:
        """Deliver for ever."""
        bell, wired = self._outbox.doorbell()
        async with wired, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._name(), name="sinks")
            for sink in self._sinks.all:
                tasks.create_task(self._serve(sink, bell), name=f"delivery {sink.name}")

    async def _name(self) -> None:
        """Say again and again which sinks there are, and of others what becomes of their events."""
        named = {sink.name: sink.lifecycle for sink in self._sinks.all}
        while True:
            try:
                unnamed = await self._outbox.register(named)
            except (Unreachable, CommandFailed) as error:
                log.debug("sinks: %s", error, extra={"action": "delivery.postponed"})
                unnamed = []
            for sink in unnamed:
                log.warning(
                    "sink %s is in no worker's settings%s: %d events for it are dropped%s",
                    sink.name,
                    " for 24 h" if sink.forgotten else "",
                    sink.waiting,
                    "" if sink.forgotten else " in 24 h, unless it comes back",
                    extra={
                        "action": "sink.forgotten" if sink.forgotten else "sink.unnamed",
                        "sink": sink.name,
                    },
                )
            await asyncio.sleep(NAME_S)

    async def _serve(self, sink: Sink, bell: Doorbell) -> None:
        backoff_s = 0.0
        while True:
            try:
                events = await self._outbox.take(sink.name, self._owner, BATCH)
                sent = await self._send(sink, events)
            except (Unreachable, CommandFailed) as error:
                log.debug("outbox of %s: %s", sink.name, error, extra={"action": "delivery.postponed"})
                await asyncio.sleep(POLL_S)
                continue
            except Exception:
                log.exception("delivery to sink %s failed", sink.name, extra={"action": "delivery.failed"})
                await asyncio.sleep(POLL_S)
                continue
            if sent < len(events):
                # For the event that it is about: where others were taken before, this one is tried anew.
                backoff_s = FIRST_BACKOFF_S if sent or not backoff_s else backoff_s * 2
                backoff_s = min(LONGEST_BACKOFF_S, backoff_s)
                await self._hold(sink, backoff_s)
                continue
            backoff_s = 0.0
            if len(events) < BATCH:
                await bell.wait(POLL_S)

    async def _send(self, sink: Sink, events: list[bytes]) -> int:
        """Deliver in order; how many are done with. Stops at the first that must be tried again."""
        for count, event in enumerate(events):
            fate = await self._deliver(sink, event)
            if fate == "again" or not await self._outbox.done(sink.name, self._owner, count + 1):
                return count
        return len(events)

    async def _hold(self, sink: Sink, backoff_s: float) -> None:
        """Wait, and stay the one who has the outbox."""
        loop = asyncio.get_running_loop()
        until = loop.time() + backoff_s
        while (left_s := until - loop.time()) > 0:
            await asyncio.sleep(min(HOLD_S, left_s))
            with contextlib.suppress(Unreachable, CommandFailed):
                await self._outbox.take(sink.name, self._owner, 1)

    async def _deliver(self, sink: Sink, entry: bytes) -> _Fate:
        """The fate of an entry: most are one event."""
        try:
            head, body = _head.decode(entry), entry.decode()
            if head.specversion:
                return await self._post(sink, head, body)
            made = build_from_entry(
                _entry.decode(entry), self._secrets.redaction, statuses=self._sinks.statuses
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.error(  # noqa: TRY400 - where it was found says nothing
                "the outbox of sink %s holds what is no event, which is dropped: %s",
                sink.name,
                error,
                extra={"action": "event.dropped", "sink": sink.name},
            )
            return "dropped"
        for event in made:
            if not sink.wants(event.type, lifecycle=True):
                continue
            if await self._post(sink, _head.decode(event.data), event.data.decode()) == "again":
                return "again"
        return "taken"

    async def _post(self, sink: Sink, head: _Head, body: str) -> _Fate:
        headers = self._secrets.headers(sink.name)
        if headers is None:
            self._late(sink, head, "a secret of its headers is missing")
            return "again"
        call = CallHttp(
            method="post",
            url=sink.url,
            headers={**headers, "Content-Type": STRUCTURED},
            body=body,
            has_body=True,
            output="raw",
        )
        key = f"{head.source}/{head.id}"
        perform = Perform(frame=0, reference=f"sink {sink.name}", effect=call, idempotency_key=key)
        try:
            async with asyncio.timeout(ANSWER_S):
                performed = await self._effects.perform(perform, run=EffectContext(uid=""))
        except TimeoutError:
            self._late(sink, head, f"no answer within {ANSWER_S:g} s")
            return "again"
        if performed.error is None:
            return "taken"
        detail = self._secrets.redaction.text(
            for_operators(performed.error.detail or "", performed.error.to_json())
        )
        if _final(performed):
            log.error(
                "sink %s refused event %s of type %s, which is dropped: %s",
                sink.name,
                head.id,
                head.type,
                detail,
                extra={"action": "event.dropped", "sink": sink.name, "status": performed.error.status},
            )
            return "dropped"
        self._late(sink, head, detail)
        return "again"

    def _late(self, sink: Sink, head: _Head, why: str) -> None:
        log.warning(
            "sink %s did not take event %s of type %s, it is sent again: %s",
            sink.name,
            head.id,
            head.type,
            why,
            extra={"action": "event.postponed", "sink": sink.name},
        )


def _final(performed: Performed) -> bool:
    """Whether the sink itself said that it will never take the event."""
    assert performed.error is not None
    status = performed.error.status
    answered = performed.definite and performed.error.type == COMMUNICATION
    return answered and 400 <= status < 500 and status not in AGAIN
