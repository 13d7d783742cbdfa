"""Delivery of events to HTTP sinks: at least once, and in order per sink.

Started by `worker_process`. Each worker has a task per sink; a lease in the store gives the outbox of a sink
to one worker. Another task registers the configured sinks, so that events for removed sinks can be dropped.
Invariants: an event leaves its outbox only after the sink accepted it or refused it permanently; a failing
sink delays no run and no other sink; a worker that lacks a secret of a sink leaves its outbox to the others.

    take ──▶ POST ── 2xx ─────────────────▶ done
               ├── 4xx except 408, 429 ──▶ log, done
               └── anything else ─────▶ retry the same event, with exponential backoff
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Literal

import msgspec

from iogate.effects.dispatcher import EffectContext, Effects
from iogate.engine.commands import CallHttp, Perform, Performed
from iogate.errors import ERROR_TYPES, Unreachable, for_operators
from iogate.store.connection.connection import CommandFailed
from iogate.store.connection.pubsub import Doorbell
from iogate.store.events.outbox import Entry, Outbox
from iogate.timing.backoff import Backoff
from iogate.worker.events.lifecycle import build_from_entry
from iogate.worker.events.sinks import Sink, Sinks
from iogate.worker.secrets.secret_store import SecretStore

log = logging.getLogger(__name__)

STRUCTURED = "application/cloudevents+json; charset=utf-8"
POLL_S = 1.0
NAME_S = 4.0
BATCH = 50
TIMEOUT_S = 10.0
"""Timeout of a request; shorter than the lease of an outbox."""
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
HOLD_S = 5.0
"""Interval at which the lease of an outbox is renewed during a backoff, so that no other worker retries."""
COMMUNICATION = ERROR_TYPES + "communication"
TEMPORARY = frozenset({408, 429})
"""Status codes 4xx of temporary errors."""

_Outcome = Literal["accepted", "dropped", "retry"]


class _Head(msgspec.Struct):
    id: str = ""
    type: str = ""
    source: str = ""
    specversion: str = ""


_head = msgspec.json.Decoder(_Head)
_entry = msgspec.json.Decoder(Entry)


class Delivery:
    """Delivery tasks of one worker, for all configured sinks."""

    def __init__(
        self, *, outbox: Outbox, sinks: Sinks, effects: Effects, secrets: SecretStore, owner: str
    ) -> None:
        self._outbox = outbox
        self._sinks = sinks
        self._effects = effects
        self._secrets = secrets
        self._owner = owner

    async def run(self) -> None:
        """Deliver events to sinks until cancelled."""
        bell, wired = self._outbox.doorbell()
        async with wired, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._register_sinks(), name="sinks")
            for sink in self._sinks.all:
                tasks.create_task(self._deliver_to(sink, bell), name=f"delivery {sink.name}")

    async def _register_sinks(self) -> None:
        """Register the configured sinks periodically; warn about events for sinks that no worker has."""
        named = {sink.name: sink.lifecycle for sink in self._sinks.all}
        while True:
            try:
                unknown = await self._outbox.register(named)
            except (Unreachable, CommandFailed) as error:
                log.debug("sinks: %s", error, extra={"action": "delivery.postponed"})
                unknown = []
            for sink in unknown:
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

    async def _deliver_to(self, sink: Sink, bell: Doorbell) -> None:
        backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        while True:
            if self._secrets.headers(sink.name) is None:
                # The secret store has logged it. Another worker may have the secret: leave the outbox to it.
                await asyncio.sleep(POLL_S)
                continue
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
                # The backoff belongs to one event: it starts again if earlier events were accepted.
                if sent:
                    backoff.reset()
                await self._hold(sink, backoff.next_s())
                continue
            backoff.reset()
            if len(events) < BATCH:
                await bell.wait(POLL_S)

    async def _send(self, sink: Sink, events: list[bytes]) -> int:
        """Deliver to a sink in order until one must be retried; return the number of events that are done."""
        for count, event in enumerate(events):
            outcome = await self._deliver(sink, event, count)
            if outcome == "retry" or not await self._outbox.done(sink.name, self._owner, count + 1):
                return count
        return len(events)

    async def _hold(self, sink: Sink, backoff_s: float) -> None:
        """Wait before a sink's next try while keeping the lease of the outbox."""
        loop = asyncio.get_running_loop()
        until = loop.time() + backoff_s
        while (left_s := until - loop.time()) > 0:
            await asyncio.sleep(min(HOLD_S, left_s))
            with contextlib.suppress(Unreachable, CommandFailed):
                await self._outbox.take(sink.name, self._owner, 1)

    async def _deliver(self, sink: Sink, entry: bytes, before: int) -> _Outcome:
        """Deliver an entry of a sink's outbox, an event or a journal entry, and return the outcome.

        `before`: number of entries that are done since the outbox was taken.
        """
        try:
            head, body = _head.decode(entry), entry.decode()
            if head.specversion:
                return await self._post(sink, head, body)
            made = build_from_entry(
                _entry.decode(entry), self._secrets.redaction, statuses=self._sinks.statuses
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.error(  # noqa: TRY400 - the traceback says nothing
                "dropped an invalid entry of the outbox of sink %s: %s",
                sink.name,
                error,
                extra={"action": "event.dropped", "sink": sink.name},
            )
            return "dropped"
        wanted = [event.data for event in made if sink.wants(event.type, lifecycle=True)]
        for number, data in enumerate(wanted):
            # The lease covers one request: it is renewed before each further event of the entry.
            if number and not await self._outbox.done(sink.name, self._owner, before):
                return "retry"
            if await self._post(sink, _head.decode(data), data.decode()) == "retry":
                return "retry"
        return "accepted"

    async def _post(self, sink: Sink, head: _Head, body: str) -> _Outcome:
        headers = self._secrets.headers(sink.name)
        if headers is None:
            self._log_retry(sink, head, "a secret of its headers is missing")
            return "retry"
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
            async with asyncio.timeout(TIMEOUT_S):
                performed = await self._effects.perform(perform, run=EffectContext(uid=""))
        except TimeoutError:
            self._log_retry(sink, head, f"no response within {TIMEOUT_S:g} s")
            return "retry"
        if performed.error is None:
            return "accepted"
        detail = self._secrets.redaction.text(
            for_operators(performed.error.detail or "", performed.error.to_json())
        )
        if _is_permanent(performed):
            log.error(
                "sink %s refused event %s of type %s, so it was dropped: %s",
                sink.name,
                head.id,
                head.type,
                detail,
                extra={"action": "event.dropped", "sink": sink.name, "status": performed.error.status},
            )
            return "dropped"
        self._log_retry(sink, head, detail)
        return "retry"

    def _log_retry(self, sink: Sink, head: _Head, why: str) -> None:
        log.warning(
            "sink %s did not accept event %s of type %s, delivery is retried: %s",
            sink.name,
            head.id,
            head.type,
            why,
            extra={"action": "event.postponed", "sink": sink.name},
        )


def _is_permanent(performed: Performed) -> bool:
    """Tell whether the sink refused the event permanently."""
    assert performed.error is not None
    status = performed.error.status
    answered = performed.definite and performed.error.type == COMMUNICATION
    return answered and 400 <= status < 500 and status not in TEMPORARY
