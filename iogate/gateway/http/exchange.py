"""Frame of the handlers that are called without Litestar: from the result of a handler to its response.

Used by `call_handler` and `event_intake`. Invariant: each request gets exactly one response, also if its
handler fails; the body of a refused request is drained first, so that its client reads the response.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from iogate.gateway.http import body, responses
from iogate.gateway.http.large_responses import is_large
from iogate.gateway.http.responses import ErrorResponse, HTTPError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from litestar.types import Send

    from iogate.gateway.http.request import Request
    from iogate.gateway.http.responses import Response
    from iogate.gateway.observability.metrics import Counts, EventCounts
    from iogate.gateway.state import GatewayState

log = logging.getLogger(__name__)


class Exchange:
    """Frame of one handler; `failure` is the action of the log records about its defects."""

    def __init__(self, state: GatewayState, *, failure: str) -> None:
        self._state = state
        self._failure = failure

    async def respond(
        self,
        request: Request,
        send: Send,
        handled: Awaitable[Response],
        counts: Counts | EventCounts,
        api: str = "",
    ) -> None:
        """End the exchange: send the response that `handled` returns, or that of the error that it raises.

        `counts` counts a refusal; `api` is the id of the called API, for the access log.
        """
        state = self._state
        try:
            response = await handled
        except HTTPError as failed:
            response = failed.response
        except Exception:
            path = request.raw_path.decode("latin-1")
            log.exception("%s %s failed", request.method, path, extra={"action": self._failure})
            response = responses.CRASHED
        if isinstance(response, ErrorResponse):
            counts.refuse(response.code)
            state.access_log.note(request, response.status, code=response.code, api=api)
            await body.drain_before_error(request, response)
        elif state.access_log.all:
            state.access_log.note(request, response.status, api=api)
        if is_large(response):
            last = state.draining.is_set()
            await state.large_responses.send(response, request.scope, send, last=last)
        elif state.draining.is_set():
            await response.send_last(send)
        else:
            await response.send(send)
