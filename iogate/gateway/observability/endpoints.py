"""Routes that look at the gateway itself: health, metrics, OpenAPI.

Invariant: `live` says that the process answers, `ready` that a call could be accepted now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import HttpMethod, Response, route

from iogate.gateway.http.litestar_responses import as_response
from iogate.gateway.http.responses import NO_REVISION, Answer, Failed, response, unavailable
from iogate.gateway.observability import metrics, openapi

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from iogate.gateway.live import Live

_READ = [HttpMethod.GET, HttpMethod.HEAD]
_LIVE = response({"status": "live"})
_READY = response({"status": "ready"})
_ENDING = unavailable("This gateway is about to end")


def handlers(live: Live) -> list[HTTPRouteHandler]:
    """The routes, bound to what is live."""
    described: dict[int, Answer] = {}

    @route("/health/live", http_method=_READ, sync_to_thread=False)
    def is_live() -> Response[bytes]:
        return as_response(_LIVE)

    @route("/health/ready", http_method=_READ)
    async def is_ready() -> Response[bytes]:
        if live.draining.is_set():
            return as_response(_ENDING)
        async with live.reach() as store:
            await store.ready()
        return as_response(_READY if live.table is not None else NO_REVISION)

    @route("/metrics", http_method=_READ)
    async def measured() -> Response[bytes]:
        runs: dict[str, int] = {}
        forged: dict[str, int] = {}
        queued: int | None = None
        try:
            async with live.reach() as store:
                runs = await store.runs.counts()
                queued = (await store.runs.queue()).depth
                forged = await store.refusals.counts()
        except Failed:
            pass  # what this process counted is worth most while the store is away
        processes = live.snapshot()
        if live.shared is not None:
            # The other one: its counts are its own, those of `live` go on being counted.
            others = await live.shared.others()
            others.add(processes)
            processes = others
        text = metrics.exposition(processes, runs=runs, queued=queued, forged=forged)
        return Response(text, media_type=metrics.CONTENT_TYPE, headers={"cache-control": "no-store"})

    @route("/openapi.json", http_method=_READ, sync_to_thread=False)
    def interfaces() -> Response[bytes]:
        table = live.table
        if table is None:
            raise Failed(NO_REVISION)
        if table.number not in described:
            described.clear()
            text = openapi.document(
                table.revision, number=table.number, server=live.public_url, senders=live.senders
            )
            described[table.number] = Answer(200, text)
        return as_response(described[table.number])

    found: list[Any] = [is_live, is_ready, measured, interfaces]
    return found
