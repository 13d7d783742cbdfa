"""Accept path of calls: `/v1/api/{module}/{method}/async` and `/sync`, as a bare ASGI application.

Called by `app`, which bypasses Litestar. The checks are in the order of the contract; the first that fails
determines the response:

    route → enabled → address → verb → origin → rate → credentials → size, type → content → store (one script)

`admit` makes the checks up to the credentials, and reads a body that is signed. If the API has changed by the
time the run is stored, all checks are made once more, by the new revision. Invariant: a 202 is sent only
after the store has confirmed that the run is stored.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, assert_never

import msgspec

from iogate import trace_context
from iogate.errors import IogateError, Unreachable
from iogate.gateway.authentication.signature_verification import Signed
from iogate.gateway.calls import call_files, call_keys, signed_calls
from iogate.gateway.calls.callback_url import named_ends
from iogate.gateway.calls.rate_blocks import TOO_OFTEN
from iogate.gateway.calls.routing_table import Release, Route, Table
from iogate.gateway.http import responses
from iogate.gateway.http.body import drain_before_error
from iogate.gateway.http.exchange import Exchange
from iogate.gateway.http.origins import CROSS_ORIGIN
from iogate.gateway.http.responses import ErrorResponse, Response
from iogate.gateway.runs.run_completion import sync_response
from iogate.gateway.validation import call_input
from iogate.store.runs.intake import Accepted, AcceptRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from litestar.types import Send

    from iogate.gateway.http.request import Request
    from iogate.gateway.revision_refresher import Refresher
    from iogate.gateway.state import GatewayState
    from iogate.store.run_files import StoredFiles
    from iogate.store.runs.intake import Refusal
    from iogate.store.runs.uids import UidSource

SYNC_S = 30.0
SYNC_MOST_S = 300.0
RELOADS = 5
"""Maximum number of reloads for one call, which publications may overtake."""

_PREFER_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_PREFER_CANCEL = re.compile(rb"(?:^|[,;\s])link\s*=\s*\"?cancel(?![\w-])", re.IGNORECASE)
_COALESCED = (b"x-iogate-coalesced", b"true")
_REPLAYED = (b"idempotent-replayed", b"true")


class Admitted(msgspec.Struct, frozen=True):
    """A call that has passed the checks of `admit`, with the table that it was checked by."""

    table: Table
    route: Route
    caller: str
    sync: bool
    """Whether the caller waits for the end of the run."""
    release: Release
    """Revision of the project that owns the API."""
    signed: Signed | None = None
    """Of a call that was authenticated by its signature."""


class CallHandler:
    """Handler of calls: checks, validates and stores them."""

    def __init__(self, state: GatewayState, refresher: Refresher, uids: UidSource) -> None:
        self._state = state
        self._exchange = Exchange(state, failure="call.failed")
        self._refresher = refresher
        self._uids = uids

    def respond(self, request: Request, send: Send) -> Awaitable[None]:
        """Handle one call of an API: find its route, check and store it, and send the response."""
        state = self._state
        table = state.table
        if table is None:
            return self._refuse(request, send, responses.NO_REVISION)
        found = table.paths.get(request.raw_path)
        if found is None:
            return self._refuse(request, send, responses.NO_ROUTE)
        route = found[0]
        handled = self._handle(request, table)
        return self._exchange.respond(request, send, handled, route.counts, route.api.id)

    async def _refuse(self, request: Request, send: Send, response: ErrorResponse) -> None:
        """Refuse a call that belongs to no API."""
        await drain_before_error(request, response)
        await response.send(self._state.access_log.logging_send(request, send))

    async def _handle(self, request: Request, table: Table) -> Response:
        admitted = await self.admit(request, table)
        if isinstance(admitted, Response):
            return admitted
        bodies = self._state.bodies
        if request.method == "POST" and not request.is_read:
            call_input.check_encoding(request)
            await bodies.read(request, limit=admitted.route.body_limit(request))
        try:
            verdict = await self._store(request, admitted)
            if verdict is responses.STALE:
                verdict, admitted = await self._store_by_newer(request, admitted)
        finally:
            # The response to /sync waits for the end of the run, which does not need this copy of the input.
            bodies.release(request)
        if isinstance(verdict, Response):
            return verdict
        # Measured before a call to /sync waits for the end of its run.
        admitted.route.counts.observe(time.perf_counter() - request.started_s)
        return await self._accepted(request, admitted, verdict)

    async def admit(self, request: Request, table: Table) -> Admitted | Response:
        """Check a call by a revision as far as its credentials; return the response to a refused call.

        Counts nothing towards the rate limit, so that a call may be checked by two revisions. Raises
        HTTPError as `Authenticator.authenticate` does.
        """
        found = table.paths.get(request.raw_path)
        if found is None:
            return responses.NO_ROUTE
        route, sync, release = found
        if not (route.enabled or await self._refresher.is_enabled(route)):
            return responses.NOT_ENABLED
        if route.addresses is not None and (refused := route.addresses.refuse(request)) is not None:
            return refused
        if request.method not in route.verbs and not route.registers(request):
            return route.refuse_verb(request.method)
        if request.has_large_headers():
            return responses.HEADERS_TOO_LARGE
        if self._state.origins.forbids(request, open_to_all=route.authenticator.opens_to_all):
            return CROSS_ORIGIN
        # Before the credentials are checked, since that may take 30 ms of processor time.
        if (too_many := route.check_rate()) is not None:
            return too_many
        blocks = route.blocks
        if blocks is not None and (refused := blocks.refuse_address(request)) is not None:
            return refused
        caller = route.authenticator.authenticate_now(request)
        signed: Signed | None = None
        if caller is None:
            signatures = route.authenticator.signatures
            if signatures is not None:
                sender = await signed_calls.authenticate(
                    self._state, route.authenticator, signatures, request, limit=route.body_limit(request)
                )
                if isinstance(sender, Response):
                    return sender
                signed = sender
            caller = signed.caller if signed is not None else await route.authenticator.authenticate(request)
        if blocks is not None and (refused := blocks.refuse_caller(caller)) is not None:
            self._state.bodies.release(request)  # read already if it is signed
            return refused
        return Admitted(table, route, caller, sync, release, signed)

    async def _store(self, request: Request, admitted: Admitted) -> Accepted | Response:
        """Validate a call and store its run; return STALE if the store has a newer revision of the API.

        Raises HTTPError: the 4xx or 503 of the validation.
        """
        route, validation = admitted.route, self._state.validation
        signed, rules, name = admitted.signed, route.keys, route.idempotency_header
        upload = None if route.files is None else await route.files.read(request)
        if signed is None:
            key = call_keys.header_key(name, request)
            compared = key is not None or rules is not None
            member = ""
        else:
            key, compared = None, rules is not None or (name is not None and name in request.headers)
            member = signed.member
        sent = call_input.sent(route, request, delivery=member, upload=upload)
        value = validation.input_now(route, sent, fingerprint=compared)
        if value is None:
            value = await validation.input(route, sent, request, fingerprint=compared)
        fingerprint = value.fingerprint
        if signed is not None:
            delivery = signed_calls.delivery_key(signed.delivery or value.delivery)
            key, fingerprint = call_keys.signed_key(rules, value, delivery, name, request)
        elif key is None and rules is not None:
            key, fingerprint = call_keys.input_key(rules, value)
        api = route.api
        intake = self._state.intake
        if intake is None:
            return responses.STORE_DOWN
        traffic = None
        if route.traffic is not None:
            traffic = route.traffic.of_call(request, admitted.caller, value.keys)
        after = route.after
        if route.callback_hosts is not None:
            after = named_ends(request, route.callback_hosts, route.callback_letters, after)
        stored: StoredFiles | None = None
        if upload is not None:
            found = await call_files.store(self._state.store, upload)
            if isinstance(found, Response):
                return found
            stored, traffic = found, call_files.add_to(traffic, found)
        run = AcceptRequest(
            uid=self._uids.next(),
            api=api.id,
            digest=route.digest,
            revision=admitted.release.number,
            workflow=api.workflow,
            program=api.program,
            input=value.json,
            caller=admitted.caller,
            retention_s=api.retention_s,
            timeout_s=api.timeout_s,
            idempotency_key=key,
            idempotency_ttl_s=api.idempotency.ttl_s,
            fingerprint=fingerprint,
            traffic=traffic,
            trace=self.trace_of(request),
            after=after,
            attributes=route.attributes_of(value) if route.attributes else None,
        )
        try:
            verdict = await intake.accept(run)
        except Unreachable as error:
            return await call_files.refuse(self._state.store, stored, error)
        if stored is not None:
            await call_files.drop_unless_kept(self._state.store, stored, verdict)
        if isinstance(verdict, Accepted):
            if verdict.replayed:
                route.counts.replayed += 1
            else:
                route.counts.coalesced += verdict.coalesced
                if route.bucket is not None:
                    route.bucket.take()
            route.counts.accepted += 1
            return verdict
        if verdict.reason == "rate" and route.blocks is not None:
            return route.blocks.block(route.blocks.key(request, admitted.caller), verdict.retry_after_s)
        return _refused(route, verdict)

    def trace_of(self, request: Request) -> str:
        """Return the trace context to keep on the run of a call; empty without one."""
        return inbound_trace(request)

    async def _store_by_newer(
        self, request: Request, stale: Admitted
    ) -> tuple[Accepted | Response, Admitted]:
        """Reload the live revision, and admit and store by it a call that an older one had admitted.

        It is done again if that revision is older than the store's, too: the read may have begun before the
        publication, or another one has followed. Return the result, and the call as last admitted. Raises
        HTTPError as the checks do.
        """
        for _ in range(RELOADS):
            try:
                await self._refresher.reload()
            except (IogateError, TimeoutError):
                break
            newer = self._state.table
            if newer is None:
                break
            if newer is stale.table:
                continue
            admitted = await self.admit(request, newer)
            if isinstance(admitted, Response):
                return admitted, stale
            limit = admitted.route.body_limit(request)
            if len(request.body) > limit:
                raise responses.too_large(limit)
            verdict, stale = await self._store(request, admitted), admitted
            if verdict is not responses.STALE:
                return verdict, stale
        return responses.STALE, stale

    async def _accepted(self, request: Request, admitted: Admitted, accepted: Accepted) -> Response:
        uid, api = accepted.uid, admitted.route.api
        sync = admitted.sync and not accepted.held  # a run on hold would not end in time
        links, preferred = self._state.links, request.headers.get(b"prefer", b"")
        expires_s = self._state.clock.now_ms() / 1000 + api.retention_s + (api.timeout_s or 0.0)
        applied = []
        if preferred and _PREFER_CANCEL.search(preferred):
            location = links.location(uid, expires_s, "cancel")
            applied.append(b"link=cancel")
        else:
            location = links.location(uid, expires_s)
        more = [(b"location", location), admitted.release.header]
        if accepted.replayed:
            more.append(_REPLAYED)
        if accepted.coalesced:
            more.append(_COALESCED)
        limit_s = SYNC_S
        if sync and (asked := _PREFER_WAIT.search(preferred)):
            limit_s = min(float(asked[1]), SYNC_MOST_S)
            applied.append(b"wait=%d" % int(limit_s))
        if applied:
            more.append((b"preference-applied", b", ".join(applied)))
        if sync and (store := self._state.store) is not None:
            response = await sync_response(self._state, store, uid, limit_s, more, request)
            if response is not None:
                return response
        return Response(202, b'{"response":{"uid":"%s"}}' % uid.encode(), more)


def inbound_trace(request: Request) -> str:
    """Return the trace context that the sender of a call has passed on; empty without one."""
    parent = request.headers.get(b"traceparent")
    if parent is None or b"traceparent" in request.repeated:
        return ""
    states = [value for name, value in request.raw_headers if name == b"tracestate"]
    return trace_context.read(parent, b",".join(states))


def _refused(route: Route, refusal: Refusal) -> Response:
    match refusal.reason:
        case "mismatch":
            return ErrorResponse(
                422,
                "requestError.idempotencyMismatch",
                f"{call_keys.place(route.api)} was used for a request with another input",
            )
        case "disabled":
            return responses.NOT_ENABLED
        case "stale":
            return responses.STALE
        case "rate":
            if route.bucket is not None:
                route.bucket.block(refusal.retry_after_s)
            return responses.too_many(TOO_OFTEN, refusal.retry_after_s)
        case "queue_full":
            return responses.too_many("Too many runs of the API are waiting", refusal.retry_after_s)
        case "memory":
            return responses.unavailable(responses.STORE_FULL_MESSAGE, refusal.retry_after_s)
        case "taken":
            return responses.STORE_DOWN
        case "files":
            return call_files.EXPIRED
        case _:
            assert_never(refusal.reason)
