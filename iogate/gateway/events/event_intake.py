"""Intake of CloudEvents that clients send (`POST /v1/events`): validated, then stored durably.

Called by `app`. The checks are in the order of the contract; the first that fails determines the response:

    open → verb → origin → credentials → size, type → content → store

Invariant: a 202 is sent only after the store has confirmed that the events are stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from iogate.errors import Unreachable
from iogate.gateway.authentication.authenticator import Authenticator
from iogate.gateway.calls import signed_calls
from iogate.gateway.http import responses
from iogate.gateway.http.exchange import Exchange
from iogate.gateway.http.origins import CROSS_ORIGIN
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response
from iogate.gateway.state import STORE_TIMEOUT_S
from iogate.gateway.validation import call_input
from iogate.store.connection.connection import StoreFull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from litestar.types import Send

    from iogate.gateway.http.request import Request
    from iogate.gateway.state import GatewayState

log = logging.getLogger(__name__)

PATH = b"/v1/events"
MAX_BODY = 1024 * 1024
LOOK_S = 1.0
"""Interval between checks of the secret files, which may have been replaced."""
EVENT_S = 0.004
"""Time that each event of a batch adds to the timeout of the store. After a 503, the store recognises a
batch that it has already stored."""

CLOSED = ErrorResponse(
    403,
    "requestError.notEnabled",
    "Events are not accepted: the setting events: {auth: …} of the gateway opens this path",
)
_OPTIONS = Response(204, b"", [(b"allow", b"POST, OPTIONS")])


class EventIntake:
    """Handler of requests that send CloudEvents."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._exchange = Exchange(state, failure="events.failed")
        self._lacks: tuple[str, ...] = ()
        self._authenticator = self._make()
        self._looked_s = time.monotonic()
        state.sender_fingerprints = self._fingerprints

    def respond(self, request: Request, send: Send) -> Awaitable[None]:
        """Handle one request that sends events."""
        return self._exchange.respond(request, send, self._handle(request), self._state.events)

    async def _handle(self, request: Request) -> Response:
        state = self._state
        sender = await self._admit(request)
        if isinstance(sender, Response):
            return sender
        if not request.is_read:  # read already if it is signed
            call_input.check_encoding(request)
            await state.bodies.read(request, limit=MAX_BODY)
        try:
            events = await state.validation.events(request)
            stored = await self._store(events, sender)
        finally:
            state.bodies.release(request)
        state.events.accepted += stored
        state.events.repeated += len(events) - stored
        return responses.json_response({"events": stored}, 202)

    async def _admit(self, request: Request) -> str | Response:
        """Check a request with events as far as its credentials; return the sender, or the refusal.

        Raises HTTPError as `Authenticator.identify` does.
        """
        authenticator = self._ready()
        if authenticator is None:
            return CLOSED
        if request.method == "OPTIONS":
            return _OPTIONS
        if request.method != "POST":
            return responses.not_allowed(request.method[:20], "POST")
        if request.has_large_headers():
            return responses.HEADERS_TOO_LARGE
        if self._state.origins.forbids(request, open_to_all=authenticator.opens_to_all):
            return CROSS_ORIGIN
        if (signatures := authenticator.signatures) is not None:
            signed = await signed_calls.authenticate(
                self._state, authenticator, signatures, request, limit=MAX_BODY
            )
            if isinstance(signed, Response):
                return signed
            if signed is not None:
                return f"{signatures.kind} {signed.caller}"
        kind, name = await authenticator.identify(request)
        return f"{kind} {name}"

    def _make(self) -> Authenticator | None:
        senders = self._state.senders
        authenticator = (
            None
            if senders is None
            else Authenticator(
                senders,
                root=self._state.root,
                hashing=self._state.hashing,
                fingerprint=self._state.fingerprint,
                key_sets=self._state.key_sets,
            )
        )
        lacks = () if authenticator is None else authenticator.unset
        if lacks != self._lacks:
            self._lacks = lacks
            text = f"responds with 503: {'; '.join(lacks)}" if lacks else "is open: its secrets are set"
            log.log(
                logging.WARNING if lacks else logging.INFO,
                "POST /v1/events %s",
                text,
                extra={"action": "events.unconfigured" if lacks else "events.configured"},
            )
        return authenticator

    def _ready(self) -> Authenticator | None:
        """Return the authenticator of event senders; at most once a second, read changed secrets again."""
        if self._authenticator is not None and time.monotonic() - self._looked_s > LOOK_S:
            self._looked_s = time.monotonic()
            if self._authenticator.has_changed():
                self._authenticator = self._make()
        return self._authenticator

    def _fingerprints(self) -> Mapping[str, str]:
        authenticator = self._ready()
        return {} if authenticator is None else authenticator.fingerprints

    async def _store(self, events: list[bytes], sender: str) -> int:
        store = self._state.store
        if store is None:
            raise HTTPError(responses.STORE_DOWN)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S + len(events) * EVENT_S):
                return await store.events.publish(events, sender=sender)
        except StoreFull:
            raise HTTPError(responses.STORE_FULL) from None
        except (TimeoutError, Unreachable) as error:
            raise HTTPError(responses.store_error(error, responses.EVENTS_UNANSWERED)) from None
