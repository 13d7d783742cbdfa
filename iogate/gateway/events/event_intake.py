"""`POST /v1/events`: CloudEvents from outside, stored before they are answered.

Called by `app`. The checks stand in the order of the contract, and the first that fails answers:

    open → verb → origin → credentials → size, type → content → store

Invariant: a 202 is sent only after the store has answered that the events are stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from iogate.errors import Unreachable
from iogate.gateway.authentication import authenticator
from iogate.gateway.http import body, responses
from iogate.gateway.http.origins import FOREIGN, is_unasked
from iogate.gateway.http.responses import Answer, ErrorAnswer, Failed
from iogate.gateway.live import ANSWER_S
from iogate.gateway.validation import call_input
from iogate.store.connection.connection import StoreFull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.types import HTTPScope, Receive, Send

    from iogate.gateway.live import Live

log = logging.getLogger(__name__)

PATH = b"/v1/events"
MAX_BODY = 1024 * 1024
MAX_HEADERS = 32_768
LOOK_S = 1.0
"""How often the files of secrets are looked at: one may have been replaced."""
EVENT_S = 0.004
"""What each event of a batch adds to the time in which the store has to answer. What was stored of a batch
that was answered 503 is known when it is sent again."""

CLOSED = ErrorAnswer(
    403,
    "requestError.notEnabled",
    "Events are not accepted: the setting events: {auth: …} of the gateway opens this path",
)
_OPTIONS = Answer(204, b"", [(b"allow", b"POST, OPTIONS")])


class Arrivals:
    """Judges and stores what is sent in."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lacks: tuple[str, ...] = ()
        self._guard = self._make()
        self._looked_s = time.monotonic()

    async def respond(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        headers: Mapping[bytes, bytes],
        repeated: frozenset[bytes],
    ) -> None:
        """Answer one request; `headers` and `repeated` are those of `auth.index`."""
        live = self._live
        unread = True
        try:
            answer, sender = await self._admit(scope, headers, repeated)
            if answer is None:
                call_input.check_encoding(headers)
                sent = await live.bodies.read(receive, limit=MAX_BODY, length=body.length(headers))
                unread = False
                try:
                    events = await live.validation.events(
                        headers, repeated, sent, client=scope["client"], receive=receive
                    )
                    stored = await self._store(events, sender)
                finally:
                    live.bodies.release(len(sent))
                live.events.accepted += stored
                live.events.repeated += len(events) - stored
                answer = responses.response({"events": stored}, 202)
        except Failed as failed:
            answer = failed.answer
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"], extra={"action": "events.failed"})
            answer = responses.CRASHED
        if isinstance(answer, ErrorAnswer):
            live.events.refuse(answer.code)
            live.access_log.note(scope, answer.status, code=answer.code)
            if unread:
                await body.let_finish(answer, scope, receive)
        else:
            live.access_log.note(scope, answer.status)
        if live.draining.is_set():
            await answer.send_last(send)
        else:
            await answer.send(send)

    async def _admit(
        self, scope: HTTPScope, headers: Mapping[bytes, bytes], repeated: frozenset[bytes]
    ) -> tuple[Answer | None, str]:
        """Return the answer to a request that is refused before its body is read, else None and the sender.

        Raises Failed as `Guard.identify` does.
        """
        guard = self._ready()
        if guard is None:
            return CLOSED, ""
        verb = scope["method"]
        if verb == "OPTIONS":
            return _OPTIONS, ""
        if verb != "POST":
            return responses.not_allowed(verb[:20], "POST"), ""
        if sum(map(len, headers)) + sum(map(len, headers.values())) > MAX_HEADERS:
            return responses.HEADERS_TOO_LARGE, ""
        if self._live.origins.is_foreign(headers) and is_unasked(headers, open_to_all=guard.opens_to_all):
            return FOREIGN, ""
        kind, name = await guard.identify(headers, repeated, scope["client"])
        return None, f"{kind} {name}"

    def _make(self) -> authenticator.Guard | None:
        senders = self._live.senders
        guard = (
            None
            if senders is None
            else authenticator.Guard(senders, root=self._live.root, hashing=self._live.hashing)
        )
        lacks = () if guard is None else guard.unset
        if lacks != self._lacks:
            self._lacks = lacks
            text = f"answers 503: {'; '.join(lacks)}" if lacks else "is open: its secrets are set"
            log.log(
                logging.WARNING if lacks else logging.INFO,
                "POST /v1/events %s",
                text,
                extra={"action": "events.unconfigured" if lacks else "events.configured"},
            )
        return guard

    def _ready(self) -> authenticator.Guard | None:
        """Return the guard; it reads its secrets again, at most once a second, if a file has changed."""
        if self._guard is not None and time.monotonic() - self._looked_s > LOOK_S:
            self._looked_s = time.monotonic()
            if self._guard.has_changed():
                self._guard = self._make()
        return self._guard

    async def _store(self, events: list[bytes], sender: str) -> int:
        store = self._live.store
        if store is None:
            raise Failed(responses.STORE_DOWN)
        try:
            async with asyncio.timeout(ANSWER_S + len(events) * EVENT_S):
                return await store.events.publish(events, sender=sender)
        except StoreFull:
            raise Failed(responses.STORE_FULL) from None
        except (TimeoutError, Unreachable) as error:
            raise Failed(responses.of_store(error)) from None
