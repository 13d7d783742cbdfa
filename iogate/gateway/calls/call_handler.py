"""Accept path of calls: `/v1/api/{module}/{method}/async` and `/sync`, as a bare ASGI application.

Called by `app`, which bypasses Litestar. The checks are in the order of the contract; the first that fails
determines the response:

    route → enabled → verb → origin → rate → credentials → size, type → content → store (one script)

Invariant: a 202 is sent only after the store has confirmed that the run is stored.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, TypeAlias, assert_never

from iogate.errors import IogateError, Unreachable
from iogate.gateway.http import body, responses
from iogate.gateway.http.origins import CROSS_ORIGIN, has_only_ambient_credentials
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response
from iogate.gateway.runs.completion import sync_response
from iogate.gateway.validation import call_input
from iogate.store.runs.intake import Accepted, AcceptRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from litestar.types import HTTPScope, Receive, Send

    from iogate.gateway.calls.routes import Route, Table
    from iogate.gateway.live import Live
    from iogate.gateway.refresh import Refresher
    from iogate.gateway.validation.call_input import Input
    from iogate.store.runs.intake import Refusal
    from iogate.store.runs.uids import UidSource

    Stored: TypeAlias = tuple[Accepted, Table, Route]
    """A stored call, and the table and route that accepted it."""

log = logging.getLogger(__name__)

MAX_HEADERS = 32_768
SYNC_S = 30.0
SYNC_MOST_S = 300.0

_PREFER_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_PREFER_CANCEL = re.compile(rb"(?:^|[,;\s])link\s*=\s*\"?cancel(?![\w-])", re.IGNORECASE)
_REPLAYED = (b"idempotent-replayed", b"true")


class CallHandler:
    """Handler of calls: checks, validates and stores them."""

    def __init__(self, live: Live, refresher: Refresher, uids: UidSource) -> None:
        self._live = live
        self._refresher = refresher
        self._uids = uids

    async def respond(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        headers: Mapping[bytes, bytes],
        repeated: frozenset[bytes],
    ) -> None:
        """Handle one call; `headers` and `repeated` are those of `authenticator.index_headers`."""
        started = time.perf_counter()
        live = self._live
        table = live.table
        if table is None:
            await responses.NO_REVISION.send(live.access_log.logging_send(scope, send))
            return
        found = table.paths.get(scope["raw_path"])
        if found is None:
            await responses.NO_ROUTE.send(live.access_log.logging_send(scope, send))
            return
        route, sync = found
        unread = True
        try:
            if route.enabled or await self._refresher.is_enabled(route):
                response = self._refusal(route, scope, headers)
            else:
                response = responses.NOT_ENABLED
            if response is None:
                caller = route.authenticator.authenticate_now(headers, repeated)
                if caller is None:
                    caller = await route.authenticator.authenticate(headers, repeated, scope["client"])
                sent = await self._read(route, receive, headers) if scope["method"] == "POST" else b""
                unread = False
                try:
                    stored = await self._store(table, route, scope, receive, headers, repeated, sent, caller)
                finally:
                    live.bodies.release(len(sent))
                    # The response to /sync waits for the end of the run, which no longer needs this copy of
                    # the input.
                    del sent
                if isinstance(stored, Response):
                    response = stored
                else:
                    # Measured before a call to /sync waits for the end of its run.
                    route.counts.observe(time.perf_counter() - started)
                    response = await self._accepted(stored, headers, sync=sync)
        except HTTPError as failed:
            response = failed.response
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"], extra={"action": "call.failed"})
            response = responses.CRASHED
        if isinstance(response, ErrorResponse):
            route.counts.refuse(response.code)
            live.access_log.note(
                scope, response.status, code=response.code, api=route.api.id, started_s=started
            )
            if unread:
                await body.drain_before_error(response, scope, receive)
        elif live.access_log.all:
            live.access_log.note(scope, response.status, api=route.api.id, started_s=started)
        if live.draining.is_set():
            await response.send_last(send)
        else:
            await response.send(send)

    def _refusal(self, route: Route, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> Response | None:
        """Return the response to a request that is refused before its credentials are checked, else None."""
        verb = scope["method"]
        if verb not in route.verbs:
            return route.refuse_verb(verb)
        if sum(map(len, headers)) + sum(map(len, headers.values())) > MAX_HEADERS:
            return responses.HEADERS_TOO_LARGE
        if self._live.origins.is_cross_origin(headers) and has_only_ambient_credentials(
            headers, open_to_all=route.authenticator.opens_to_all
        ):
            return CROSS_ORIGIN
        # Before the credentials are checked, since that may take 30 ms of processor time.
        return route.check_rate()

    def _read(self, route: Route, receive: Receive, headers: Mapping[bytes, bytes]) -> Awaitable[bytes]:
        call_input.check_encoding(headers)
        return self._live.bodies.read(receive, limit=route.api.limits.body, length=body.length(headers))

    async def _store(
        self,
        table: Table,
        route: Route,
        scope: HTTPScope,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        repeated: frozenset[bytes],
        sent: bytes,
        caller: str,
    ) -> Response | Stored:
        """Validate and store an authenticated call, by a newer revision if one has gone live meanwhile.

        Raises HTTPError as the checks do.
        """
        verb, validation = scope["method"], self._live.validation
        for attempt in (1, 2):
            key = call_input.check_key(route.idempotency_header, headers, repeated)
            given = call_input.sent(route, scope, headers, sent)
            value = validation.input_now(route, given, fingerprint=key is not None)
            if value is None:
                value = await validation.input(
                    route, given, fingerprint=key is not None, client=scope["client"], receive=receive
                )
            accepted = await self._accept(table, route, caller, value, key)
            if isinstance(accepted, Accepted):
                return accepted, table, route
            if accepted is not responses.STALE or attempt == 2:
                return accepted
            # The revision changed while this call was validated: validate it again by the new revision.
            newer = await self._newer()
            if newer is None or newer is table:
                return responses.STALE
            table = newer
            found = table.paths.get(scope["raw_path"])
            if found is None:
                return responses.NO_ROUTE
            route, _ = found
            if verb not in route.verbs:
                return route.refuse_verb(verb)
            caller = await route.authenticator.authenticate(headers, repeated, scope["client"])
            if len(sent) > route.api.limits.body:
                raise responses.too_large(route.api.limits.body)
        raise AssertionError("the second attempt always returns")

    async def _newer(self) -> Table | None:
        try:
            await self._refresher.reload()
        except (IogateError, TimeoutError):
            return None
        return self._live.table

    async def _accept(
        self, table: Table, route: Route, caller: str, value: Input, key: str | None
    ) -> Accepted | Response:
        api = route.api
        intake = self._live.intake
        if intake is None:
            return responses.STORE_DOWN
        request = AcceptRequest(
            uid=self._uids.next(),
            api=api.id,
            digest=route.digest,
            revision=table.number,
            workflow=api.workflow,
            program=api.program,
            input=value.json,
            caller=caller,
            retention_s=api.retention_s,
            timeout_s=api.timeout_s,
            idempotency_key=key,
            idempotency_ttl_s=api.idempotency.ttl_s,
            fingerprint=value.fingerprint,
        )
        try:
            verdict = await intake.accept(request)
        except Unreachable as error:
            return responses.store_error(error)
        if isinstance(verdict, Accepted):
            if verdict.replayed:
                route.counts.replayed += 1
            elif route.bucket is not None:
                route.bucket.take()
            route.counts.accepted += 1
            return verdict
        return _refused(route, verdict)

    async def _accepted(self, stored: Stored, headers: Mapping[bytes, bytes], *, sync: bool) -> Response:
        accepted, table, route = stored
        uid = accepted.uid
        links, preferred = self._live.links, headers.get(b"prefer", b"")
        expires_s = self._live.clock.now_ms() / 1000 + route.api.retention_s + (route.api.timeout_s or 0.0)
        applied = []
        if preferred and _PREFER_CANCEL.search(preferred):
            location = links.location(uid, expires_s, "cancel")
            applied.append(b"link=cancel")
        else:
            location = links.location(uid, expires_s)
        more = [(b"location", location), table.header]
        if accepted.replayed:
            more.append(_REPLAYED)
        limit_s = SYNC_S
        if sync and (asked := _PREFER_WAIT.search(preferred)):
            limit_s = min(float(asked[1]), SYNC_MOST_S)
            applied.append(b"wait=%d" % int(limit_s))
        if applied:
            more.append((b"preference-applied", b", ".join(applied)))
        if sync and (store := self._live.store) is not None:
            response = await sync_response(self._live, store, uid, limit_s, more)
            if response is not None:
                return response
        return Response(202, b'{"response":{"uid":"%s"}}' % uid.encode(), more)


def _refused(route: Route, refusal: Refusal) -> Response:
    match refusal.reason:
        case "mismatch":
            return ErrorResponse(
                422,
                "requestError.idempotencyMismatch",
                f"The {route.api.idempotency.header} was used for a request with another input",
            )
        case "disabled":
            return responses.NOT_ENABLED
        case "stale":
            return responses.STALE
        case "rate":
            if route.bucket is not None:
                route.bucket.block(refusal.retry_after_s)
            return responses.too_many("The interface is called too often", refusal.retry_after_s)
        case "queue_full":
            return responses.too_many("Too many runs of the interface are waiting", refusal.retry_after_s)
        case "memory":
            return responses.STORE_FULL
        case "taken":
            return responses.STORE_DOWN
        case _:
            assert_never(refusal.reason)
