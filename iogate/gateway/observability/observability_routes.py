"""Routes that report on the gateway itself: health, metrics, OpenAPI, documentation.

Invariant: `live` means that the process responds, `ready` that a call would be accepted now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litestar
from litestar import HttpMethod, Response, route

from iogate.gateway.http.litestar_responses import to_litestar
from iogate.gateway.http.responses import NO_REVISION, HTTPError, json_response, unavailable
from iogate.gateway.observability import metrics
from iogate.gateway.observability.api_descriptions import Descriptions
from iogate.store.maintenance.process_presence import WORKER

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from iogate.gateway.audience import Audience
    from iogate.gateway.state import GatewayState

_READ = [HttpMethod.GET, HttpMethod.HEAD]
_LIVE = json_response({"status": "live"})
_READY = json_response({"status": "ready"})
_ENDING = unavailable("This gateway is about to end")


def handlers(state: GatewayState, audience: Audience) -> list[HTTPRouteHandler]:
    """Return the routes for health, metrics, OpenAPI and documentation, for one port of a gateway process.

    A port of operators has no metrics of calls, and no documentation for callers.
    """
    described = Descriptions(state, audience)

    @route("/health/live", http_method=_READ, sync_to_thread=False)
    def is_live() -> Response[bytes]:
        return to_litestar(_LIVE)

    @route("/health/ready", http_method=_READ)
    async def is_ready() -> Response[bytes]:
        if state.draining.is_set():
            return to_litestar(_ENDING)
        async with state.reach() as store:
            await store.ready()
        return to_litestar(_READY if state.table is not None else NO_REVISION)

    @route("/metrics", http_method=_READ)
    async def measured() -> Response[bytes]:
        figures = metrics.StoreFigures()
        try:
            async with state.reach() as store:
                figures.runs = await store.runs.counts()
                figures.queued = (await store.runs.queue()).depth
                # With zeros, so that a rate of Prometheus finds the first refusal of a kind.
                figures.forged = await store.refusals.counts()
                figures.callbacks = await store.callbacks.counts()
                figures.skips = await store.schedule_states.skips()
                figures.workers = len(await store.presence.list(WORKER))
                figures.memory = await store.memory()
        except HTTPError:
            pass  # while the store is unreachable, the counts of this process matter most
        processes = state.snapshot()
        if state.shared is not None:
            # `others` is a separate snapshot: adding to `processes` would change the live counts.
            others = await state.shared.others()
            others.add(processes)
            processes = others
        text = metrics.exposition(processes, figures)
        return Response(text, media_type=metrics.CONTENT_TYPE, headers={"cache-control": "no-store"})

    @route("/openapi.json", http_method=_READ)
    async def openapi(request: litestar.Request[Any, Any, Any]) -> Response[bytes]:
        """Respond to the route of the OpenAPI document. Raises HTTPError: a 503 without a revision."""
        found = await described.openapi()
        return to_litestar(found.respond(request.headers.get("if-none-match")))

    @route("/docs", http_method=_READ)
    async def documentation(request: litestar.Request[Any, Any, Any]) -> Response[bytes]:
        """Respond to the route of the page for readers. Raises HTTPError: a 503 without a revision."""
        found = await described.page()
        return to_litestar(found.respond(request.headers.get("if-none-match")))

    found: list[Any] = [is_live, is_ready, openapi]
    return [*found, measured, documentation] if audience.has_callers else found
