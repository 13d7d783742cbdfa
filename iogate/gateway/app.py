"""The Litestar application: the hot path as bare ASGI, and a handler for every other route.

Put together by `__main__`. Invariant: whatever goes wrong on whatever route, the answer has the one
shape of errors.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Request, Response, asgi
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from iogate.gateway import answers, arrivals, observation, runs
from iogate.gateway.answers import ErrorAnswer, Failed, not_allowed
from iogate.gateway.arrivals import Arrivals
from iogate.gateway.sending import as_response

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

    from iogate.gateway.calls import Calls
    from iogate.gateway.live import Live

log = logging.getLogger(__name__)

_CALLS = b"/v1/api/"


class Application:
    """Litestar, and a way past its routing: to a mount that way costs an eighth of a call."""

    def __init__(self, calls: Calls, arrivals: Arrivals, others: Litestar) -> None:
        self._calls = calls
        self._arrivals = arrivals
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["raw_path"].startswith(_CALLS):
            await self._calls(scope, receive, send)
        elif scope["type"] == ScopeType.HTTP and scope["raw_path"] == arrivals.PATH:
            await self._arrivals(scope, receive, send)
        else:
            await self._others(scope, receive, send)


def build(live: Live, calls: Calls) -> Application:
    """Compose the application around what is live."""

    # For paths that look like a call's only once they are decoded: there is no such interface.
    @asgi("/v1/api", is_mount=True, copy_scope=False)
    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await calls(scope, receive, send)

    def last(answered: Response[Any]) -> Response[Any]:
        if live.draining.is_set():
            answered.headers["connection"] = "close"
        return answered

    others = Litestar(
        route_handlers=[api, *runs.handlers(live), *observation.handlers(live)],
        after_request=last,
        exception_handlers={Exception: _on_error},
        response_headers={"cache-control": "no-store"},
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return Application(calls, Arrivals(live), others)


def _on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return as_response(_answer(request, error))


def _answer(request: Request[Any, Any, Any], error: Exception) -> ErrorAnswer:
    match error:
        case Failed():
            return error.answer
        case NotFoundException():
            return answers.NO_PATH
        case MethodNotAllowedException():
            allowed = (error.headers or {}).get("allow", "")
            verbs = sorted(verb.strip() for verb in allowed.split(",") if verb.strip())
            return not_allowed(request.method[:20], ", ".join(verbs))
        case HTTPException() if error.status_code < 500:
            return ErrorAnswer(error.status_code, "requestError.invalidParams", error.detail or "Bad request")
        case _:
            log.error(
                "%s %s failed",
                request.method,
                request.scope["path"],
                exc_info=error,
                extra={"action": "call.failed"},
            )
            return answers.CRASHED
