"""Delivery of callbacks: the end of a run, as a signed request to the receiver that its API or caller named.

Started by `worker_process` in each worker. Invariants: a try starts only after the store has leased the
callback to this worker, and counts from then on; a receiver that is slow or fails delays callbacks to its own
host only (`callback_shares`); the secret is resolved for each try and never stored.

    due ── POST ── 2xx ──────────────────────────────▶ delivered
              ├── 410, or 24 h and all tries made ───▶ stopped
              └── anything else ── backoff, or Retry-After of a 429 or 503 ──▶ due again
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.auth.model import EnvSecret, FileSecret
from iogate.compiler.revision import Callback
from iogate.effects.dispatcher import EffectContext
from iogate.engine.commands import CallHttp, Perform, Performed
from iogate.errors import ERROR_TYPES, Unreachable
from iogate.security import callback_urls, standard_webhooks
from iogate.security.secrets import Unset, resolve
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed
from iogate.store.events.due_callbacks import UNSIGNED, Due, Settled
from iogate.store.runs import presentation
from iogate.store.runs.run_ends import callers_url
from iogate.worker.events.callback_shares import AT_ONCE, Share, Shares
from iogate.worker.events.run_end_rules import RunEndRules

if TYPE_CHECKING:
    from iogate.store.runs.views import RunView
    from iogate.store.store import Store
    from iogate.worker.ports import Effects
    from iogate.worker.run_spans import RunSpans
    from iogate.worker.secrets.redaction import Redaction

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 15.0
"""Timeout of a try; with the time to prepare it, shorter than its lease in the store."""
POLL_S: Final = 5.0
"""Interval of looks for callbacks that another worker has left; its own ones are tried at their time."""
BUSY_S: Final = 0.25
BUSY_MOST_S: Final = 30.0
"""Shortest and longest delay of a callback whose host has all its tries."""
MOST_TRIES: Final = 1_000
LONGEST_ERROR: Final = 300
COMMUNICATION: Final = ERROR_TYPES + "communication"
LATER: Final = frozenset({429, 503})
"""Statuses whose `Retry-After` is honoured."""
GONE: Final = 410

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Delays between the tries of a callback."""

    first_s: float = 2.0
    factor: float = 3.0
    longest_s: float = 21_600.0
    limit_s: float = keys.CALLBACK_MS / 1000
    """No try begins later than this after the end of the run, unless the receiver has asked for delays."""

    def delay_s(self, number: int) -> float:
        """Return the delay after a try to deliver a callback, with jitter.

        The jitter keeps receivers from being flooded.
        """
        delay_s = min(self.longest_s, self.first_s * self.factor ** min(number - 1, 30))
        return delay_s * random.uniform(0.8, 1.2)  # noqa: S311 - no secret is drawn

    def tries(self) -> int:
        """Return the number of tries to deliver a callback until the limit.

        Jitter and `Retry-After` are left out.
        """
        number, at_s = 1, self.first_s
        while at_s <= self.limit_s and number < MOST_TRIES:
            number += 1
            at_s += min(self.longest_s, self.first_s * self.factor ** min(number - 1, 30))
        return number


class CallbackDelivery:
    """Callbacks of one worker."""

    def __init__(
        self,
        *,
        store: Store,
        effects: Effects,
        rules: RunEndRules,
        redaction: Callable[[], Redaction],
        root: Path,
        pace: Pace | None = None,
        spans: RunSpans | None = None,
    ) -> None:
        self._store = store
        self._spans = spans
        self._effects = effects
        self._rules = rules
        self._redaction = redaction
        self._root = root
        self._pace = pace or Pace()
        self._scheduled = self._pace.tries()
        self._tries: set[asyncio.Task[None]] = set()
        self._shares = Shares()
        self._settled: list[Settled] = []
        self._unset: set[str] = set()
        """Missing secrets, each of which is logged once."""

    async def run(self) -> None:
        """Deliver callbacks until cancelled."""
        bell, wired = self._store.callbacks.doorbell()
        try:
            async with wired:
                while True:
                    wait_s = POLL_S
                    try:
                        wait_s = await self._take()
                    except (Unreachable, CommandFailed) as error:
                        log.debug("callbacks: %s", error, extra={"action": "callback.postponed"})
                    except Exception:
                        log.exception("callbacks failed", extra={"action": "callback.failed"})
                    if wait_s:
                        await bell.wait(wait_s)
        finally:
            for task in self._tries:
                task.cancel()
            await asyncio.gather(*self._tries, return_exceptions=True)
            with contextlib.suppress(Unreachable, CommandFailed, asyncio.CancelledError):
                await self._settle()

    async def _take(self) -> float:
        """Record outcomes of deliveries of callbacks, and begin due ones; return the seconds to wait."""
        await self._settle()
        room = AT_ONCE - len(self._tries)
        if room <= 0:
            await asyncio.wait(self._tries, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
            return 0.0
        due, now_ms, next_s = await self._store.callbacks.take(room)
        for each in due:
            task = asyncio.create_task(self._try(each, now_ms))
            self._tries.add(task)
            task.add_done_callback(self._tries.discard)
        if len(due) == room:
            return 0.0
        if self._tries:
            await asyncio.wait(self._tries, timeout=BUSY_S, return_when=asyncio.FIRST_COMPLETED)
            return 0.0
        return POLL_S if next_s is None else max(0.01, min(POLL_S, next_s))

    async def _settle(self) -> None:
        settled, self._settled = self._settled, []
        if settled:
            try:
                await self._store.callbacks.settle(settled)
            except BaseException:
                self._settled = settled + self._settled
                raise

    async def _try(self, due: Due, now_ms: int) -> None:
        """Make one try to deliver a callback.

        If its outcome is not recorded, another try follows after the lease.
        """
        try:
            settled = await self._outcome(due, now_ms)
        except (Unreachable, CommandFailed):
            return
        except Exception:
            log.exception("callback of run %s failed", due.uid, extra={"action": "callback.failed"})
            settled = self._again(due, now_ms, "internal error of the worker; its log says more")
        self._settled.append(settled)

    async def _outcome(self, due: Due, now_ms: int) -> Settled:
        run = await self._store.runs.show(due.uid)
        if run is None or not run.ended:
            return self._undeliverable(due, "the record of the run is gone")
        callback = await self._rules.callback(run.revision, run.api)
        url = callers_url(self._store.keyring, due.uid, due.after)
        if url is None:
            return self._undeliverable(due, "the URL of the caller is not authentic")
        if callback is None:
            return self._undeliverable(due, "the API has no callback any more, and its revision is gone")
        target = url or callback.url
        entry = callback_urls.allowing_entry(url, callback.allow) if url else None
        if not target or (url and entry is None):
            return self._undeliverable(due, "the API does not allow this host any more")
        try:
            key = standard_webhooks.key(self._secret(callback))
        except (Unset, ValueError) as error:
            return self._without_secret(due, now_ms, run.api, str(error))
        pattern = entry if entry is not None and callback_urls.is_pattern(entry) else None
        share = Share(callback_urls.host_of(target), "" if pattern is None else f"{run.api} {pattern}")
        place = self._shares.enter(share)
        if place is None:
            least_s = BUSY_S * random.uniform(0.5, 1.5)  # noqa: S311 - no secret is drawn
            wait_s = self._shares.wait_s(share, now_ms / 1000, least_s, BUSY_MOST_S)
            return Settled(due=due, outcome="postponed", next_ms=now_ms + int(wait_s * 1000))
        began_s = time.monotonic()
        try:
            # The rules for redirects apply to a host that no reviewed file names in full.
            foreign = pattern is not None
            performed = await self._post(due, target, key, run, foreign=foreign)
        finally:
            self._shares.leave(place, time.monotonic() - began_s)
        return self._settlement(due, now_ms, run, performed)

    def _secret(self, callback: Callback) -> str:
        match callback.secret:
            case EnvSecret(name=name):
                return resolve("env", name, root=self._root)
            case FileSecret(path=path):
                return resolve("file", path, root=self._root)

    async def _post(
        self, due: Due, target: str, key: bytes, run: RunView, *, foreign: bool
    ) -> Performed | None:
        """Send the request that delivers a callback; None if there is no response in time."""
        body = body_of(run)
        at_s = (await self._store.now_ms()) // 1000
        call = CallHttp(
            method="post",
            url=target,
            headers={
                **standard_webhooks.headers(key, due.id, at_s, body),
                "Content-Type": "application/json",
            },
            body=body,
            has_body=True,
            output="raw",
            foreign=foreign,
        )
        perform = Perform(frame=0, reference="callback", effect=call, idempotency_key=due.id)
        if self._spans is not None:
            return await self._perform_traced(self._spans, perform, run, due.number)
        return await self._perform(perform, EffectContext(uid=due.uid))

    async def _perform(self, perform: Perform, context: EffectContext) -> Performed | None:
        """Perform the delivery of a callback; None if there is no response in time."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._effects.perform(perform, run=context)
        except TimeoutError:
            return None

    async def _perform_traced(
        self, spans: RunSpans, perform: Perform, run: RunView, number: int
    ) -> Performed | None:
        """Perform the delivery of a callback with a span, whose trace context it passes on."""
        span, performed = spans.callback(run, number), None
        try:
            performed = await self._perform(
                perform, EffectContext(uid=run.uid, trace=span.context, span=span)
            )
        finally:
            spans.finish(span, performed, missing="timeout")
        return performed

    def _settlement(self, due: Due, now_ms: int, run: RunView, performed: Performed | None) -> Settled:
        if performed is None:
            return self._again(due, now_ms, f"no response within {TIMEOUT_S:g} s")
        error = performed.error
        if error is None:
            return Settled(due=due, outcome="delivered")
        answered = performed.definite and error.type == COMMUNICATION
        status = error.status if answered else 0
        reason = self._redaction().text(error.detail or error.title or "")[:LONGEST_ERROR]
        if status == GONE:
            log.warning(
                "callback of run %s of %s: the receiver is gone",
                due.uid,
                run.api,
                extra={"action": "callback.stopped", "uid": due.uid, "api": run.api},
            )
            return self._stopped(due, reason, status=status)
        wait_s = _retry_after_s(error.response, now_ms) if status in LATER else 0.0
        return self._again(due, now_ms, reason, status=status, wait_s=wait_s)

    def _again(self, due: Due, now_ms: int, reason: str, *, status: int = 0, wait_s: float = 0.0) -> Settled:
        """Return the outcome of a failed delivery of a callback: the next try, or the end of all tries.

        The receiver can delay the tries by `wait_s`, but not reduce their number.
        """
        delay_s = max(min(wait_s, self._pace.longest_s), self._pace.delay_s(due.number_since))
        next_ms = now_ms + int(delay_s * 1000)
        if due.number_since >= self._scheduled and next_ms - due.since_ms > self._pace.limit_s * 1000:
            log.error(
                "callback of run %s was given up after %d tries: %s",
                due.uid,
                due.number,
                reason,
                extra={"action": "callback.stopped", "uid": due.uid, "status": status},
            )
            return self._stopped(due, reason, status=status)
        return Settled(due=due, outcome="failed", status=status, error=reason, next_ms=next_ms)

    def _without_secret(self, due: Due, now_ms: int, api: str, reason: str) -> Settled:
        if reason not in self._unset:
            self._unset.add(reason)
            log.warning("callbacks of %s wait: %s", api, reason, extra={"action": "secret.unset", "api": api})
        return self._again(due, now_ms, UNSIGNED + reason)

    def _undeliverable(self, due: Due, reason: str) -> Settled:
        """Give up a callback that no try can deliver."""
        log.warning(
            "callback of run %s was given up: %s",
            due.uid,
            reason,
            extra={"action": "callback.stopped", "uid": due.uid},
        )
        return self._stopped(due, reason)

    @staticmethod
    def _stopped(due: Due, reason: str, *, status: int = 0) -> Settled:
        return Settled(due=due, outcome="stopped", status=status, error=reason)


def body_of(run: RunView) -> bytes:
    """Return the body that delivers a callback: type, time and data of the end of the run.

    Standard Webhooks recommends this form.
    """
    ended = presentation.rfc3339(run.ended_at_ms)
    data = {
        "uid": run.uid,
        "api": run.api,
        "status": run.status,
        "attempt": run.attempt,
        "createdAt": presentation.rfc3339(run.created_at_ms),
        "startedAt": presentation.rfc3339(run.started_at_ms),
        "endedAt": ended,
        "output": presentation.raw_json(run.output),
        "error": presentation.error(run),
    }
    return _encode({"type": f"run.{run.status}", "timestamp": ended, "data": data})


def _retry_after_s(response: Mapping[str, Any] | None, now_ms: int) -> float:
    """Return the seconds of `Retry-After` of a callback's receiver, a number or a date; 0 without one."""
    headers = (response or {}).get("headers") or {}
    text = str(next((value for name, value in headers.items() if name.lower() == "retry-after"), ""))
    if text.isascii() and text.isdigit() and len(text) < 8:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ms / 1000)
    except (ValueError, TypeError, OverflowError):
        return 0.0
