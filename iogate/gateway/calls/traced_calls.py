"""Handler of calls that makes a span for each of them; the trace context of the span is kept on the run.

Built by `__main__` in place of `CallHandler` if tracing is on, so that calls cost nothing if it is off.
Invariant: the span of a call has its route, never the query, headers or body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.calls.call_handler import CallHandler, inbound_trace

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from litestar.types import Send

    from iogate.gateway.calls.call_handler import Admitted
    from iogate.gateway.calls.routing_table import Release, Route
    from iogate.gateway.http.request import Request
    from iogate.gateway.http.responses import Response
    from iogate.gateway.revision_refresher import Refresher
    from iogate.gateway.state import GatewayState
    from iogate.store.runs.intake import Accepted
    from iogate.store.runs.uids import UidSource
    from iogate.telemetry.tracing import Span, Tracing

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_OTHER: Final = "_OTHER"
"""Name that the semantic conventions give any other method."""


class TracedCallHandler(CallHandler):
    """Handler of calls with spans."""

    def __init__(
        self,
        state: GatewayState,
        refresher: Refresher,
        uids: UidSource,
        tracing: Tracing,
        *,
        scheme: str,
    ) -> None:
        """`scheme` is that of the connections that this gateway accepts: http or https."""
        super().__init__(state, refresher, uids)
        self._tracing = tracing
        self._scheme = scheme
        self._spans: dict[int, Span] = {}
        """Span of each call that is being handled, by the identity of its request."""

    def respond(self, request: Request, send: Send) -> Awaitable[None]:
        """Handle one call with a span; a path that is no route has none."""
        table = self._state.table
        found = None if table is None else table.paths.get(request.raw_path)
        if found is None:
            return super().respond(request, send)
        route, _, release = found
        return self._traced(request, send, route, release)

    async def _traced(self, request: Request, send: Send, route: Route, release: Release) -> None:
        path = request.raw_path.decode()  # a route, so it holds no data
        method = request.method if request.method in _METHODS else _OTHER
        span = self._tracing.start(
            f"{method if method != _OTHER else 'HTTP'} {path}",
            "server",
            parent=inbound_trace(request),
            attributes={
                "http.request.method": method,
                "http.route": path,
                "url.path": path,
                "url.scheme": self._scheme,
                "iogate.api": route.api.id,
                "iogate.workflow": route.api.workflow,
                "iogate.project": release.project,
                "iogate.revision": release.number,
            },
        )

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set("http.response.status_code", status)
                if status >= 500:
                    span.fail(str(status))
            await send(message)

        key = id(request)
        self._spans[key] = span
        try:
            await super().respond(request, sending)
        except BaseException as error:
            span.fail(type(error).__name__)
            raise
        finally:
            del self._spans[key]
            span.end()

    def trace_of(self, request: Request) -> str:
        """Return the trace context of the span of a traced call, which is stored with its run."""
        return self._spans[id(request)].context

    async def _accepted(self, request: Request, admitted: Admitted, accepted: Accepted) -> Response:
        span = self._spans[id(request)]
        span.set("iogate.run.uid", accepted.uid)
        if accepted.replayed:
            span.set("iogate.run.replayed", True)
        if accepted.coalesced:
            span.set("iogate.run.coalesced", True)
        return await super()._accepted(request, admitted, accepted)
