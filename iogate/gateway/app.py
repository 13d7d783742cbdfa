"""The ASGI application: calls and events bypass Litestar, which routes all other requests.

Built by `__main__`. Invariant: an error on any route gets a response in the common form of errors.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import litestar
from litestar import HttpMethod, Litestar, route
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from iogate.gateway.audience import Audience
from iogate.gateway.calls.operator_calls import OperatorCalls
from iogate.gateway.events import event_intake
from iogate.gateway.events.event_intake import EventIntake
from iogate.gateway.http import responses
from iogate.gateway.http.access_log import CODE
from iogate.gateway.http.large_responses import PACED
from iogate.gateway.http.litestar_responses import to_litestar
from iogate.gateway.http.request import from_scope
from iogate.gateway.http.responses import ErrorResponse, HTTPError, not_allowed
from iogate.gateway.links import link_handler
from iogate.gateway.links.link_handler import LinkHandler
from iogate.gateway.observability import observability_routes
from iogate.gateway.runs import caller_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from litestar.handlers import HTTPRouteHandler
    from litestar.types import Receive, Scope, Send

    from iogate.gateway.calls.call_handler import CallHandler
    from iogate.gateway.console.console import Console
    from iogate.gateway.http.request import Request
    from iogate.gateway.operators.operator_api import OperatorApi
    from iogate.gateway.state import GatewayState

log = logging.getLogger(__name__)

_CALLS = b"/v1/api/"
_CASE = re.compile(
    rb"/v1/apis/[\w.-]+/[\w.-]+/debug/(?:[\w.~!$&'()*+,;=:@-]|%(?!00|2[Ff])[0-9A-Fa-f]{2}){1,600}", re.ASCII
)
"""Path with the name of a debug case, which may have any character except a slash."""


class Application:
    """Dispatches requests to the handlers of calls and events, and all others to Litestar.

    Litestar's routing to a mount would take an eighth of a call. Each request is checked first: its host, its
    origin, and the form of its path.
    """

    def __init__(
        self,
        state: GatewayState,
        calls: CallHandler,
        events: EventIntake,
        links: LinkHandler,
        others: Litestar,
        audience: Audience,
    ) -> None:
        self._state = state
        self._log = state.access_log
        self._hosts = state.hosts
        self._origins = state.origins
        self._proxies = state.trusted_proxies
        self._calls = calls
        self._events = events
        self._links = links
        self._others = others
        self._has_callers = audience.has_callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._others(scope, receive, send)
            return
        if self._proxies is not None:
            self._proxies.resolve(scope)
        request = from_scope(scope, receive)
        headers = request.headers
        if b"host" in request.repeated:
            await self._refuse(request, responses.TWO_HOSTS, send)
            return
        if not self._hosts.serves(host := headers.get(b"host")):
            await self._refuse(request, responses.misdirected(host), send)
            return
        if self._origins.any and (origin := headers.get(b"origin")) and self._origins.allows(origin):
            if request.method == "OPTIONS" and b"access-control-request-method" in headers:
                await self._origins.preflight(request).send(send)
                return
            send = self._origins.permitting(send, origin)
        path = request.raw_path
        if self._has_callers:
            if path.startswith(_CALLS):
                await self._calls.respond(request, send)
                return
            if path == event_intake.PATH:
                await self._events.respond(request, send)
                return
            if path.startswith(link_handler.PATH):
                await self._links.respond(request, send)
                return
            if (table := self._state.table) is not None and path in table.own_paths:
                await self._calls.respond(request, send)
                return
        if (b"%" in path and not _CASE.fullmatch(path)) or path.endswith(b"/") or b"//" in path:
            # Litestar would decode and trim the path, and so bypass rules of a proxy for the plain form.
            await self._refuse(request, responses.NO_PATH, send)
        else:
            await self._by_litestar(scope, receive, self._log.logging_send(request, send))

    async def _refuse(self, request: Request, response: ErrorResponse, send: Send) -> None:
        """Send the application's response to a request that no handler gets, and log it."""
        request.scope[CODE] = response.code
        await response.send(self._log.logging_send(request, send))

    async def _by_litestar(self, scope: Any, receive: Receive, send: Send) -> None:
        paced = scope[PACED] = self._state.large_responses.paced(scope, send)
        try:
            await self._others(scope, receive, paced)
        except Exception:
            if not paced.is_cut:
                raise
        finally:
            paced.sending.release()


def build(state: GatewayState, calls: CallHandler, audience: Audience = Audience.ALL) -> Application:
    """Build the ASGI application of one port of a gateway process."""

    def last(response: litestar.Response[Any]) -> litestar.Response[Any]:
        if state.draining.is_set():
            response.headers["connection"] = "close"
        return response

    operators = state.operators if audience.has_operators else None
    console = None if operators is None else _build_console(state, operators)

    def on_error(request: litestar.Request[Any, Any, Any], error: Exception) -> litestar.Response[bytes]:
        response = _response_to(request, error)
        request.scope[CODE] = response.code  # type: ignore[typeddict-unknown-key]  # for the access log
        if console is not None and console.serves(request.scope["path"]):
            return console.fail(request, response)
        return to_litestar(response)

    of_operators: list[HTTPRouteHandler] = []
    if operators is not None:
        of_operators = operators.handlers(has_callers=audience.has_callers)
        state.operator_calls = OperatorCalls(state, calls)
    handlers = [
        *(caller_routes.handlers(state, operators) if audience.has_callers else ()),
        *observability_routes.handlers(state, audience),
        *of_operators,
        *([] if console is None else console.handlers()),
    ]
    others = Litestar(
        route_handlers=[*_options(handlers), *handlers],
        after_request=last,
        exception_handlers={Exception: on_error},
        response_headers={"cache-control": "no-store"},
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return Application(state, calls, EventIntake(state), LinkHandler(state), others, audience)


def _options(handlers: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Return the handlers of OPTIONS for the paths that several handlers share.

    That of Litestar names the methods of the first one only.
    """
    methods: dict[str, list[set[str]]] = {}
    for each in handlers:
        for path in each.paths:
            methods.setdefault(path, []).append({str(method) for method in each.http_methods})
    return [_options_of(path, {"OPTIONS"}.union(*found)) for path, found in methods.items() if len(found) > 1]


def _options_of(path: str, methods: Iterable[str]) -> HTTPRouteHandler:
    allowed = {"allow": ", ".join(sorted(methods))}

    @route(path, http_method=HttpMethod.OPTIONS, status_code=204)
    async def options() -> litestar.Response[None]:
        return litestar.Response(None, status_code=204, headers=allowed)

    return options


def _build_console(state: GatewayState, operators: OperatorApi) -> Console | None:
    """Return the console if there are sessions; its templates are loaded only then."""
    if state.sessions is None:
        return None
    from iogate.gateway.console.console import Console  # noqa: PLC0415 - see above

    return Console(state, operators, state.sessions)


def _response_to(request: litestar.Request[Any, Any, Any], error: Exception) -> ErrorResponse:
    match error:
        case HTTPError():
            return error.response
        case NotFoundException():
            return responses.NO_PATH
        case MethodNotAllowedException():
            allowed = (error.headers or {}).get("allow", "")
            verbs = sorted(verb.strip() for verb in allowed.split(",") if verb.strip())
            return not_allowed(request.method[:20], ", ".join(verbs))
        case HTTPException() if error.status_code < 500:
            return ErrorResponse(
                error.status_code, "requestError.invalidParams", error.detail or "Bad request"
            )
        case _:
            log.error(
                "%s %s failed",
                request.method,
                request.scope["path"],
                exc_info=error,
                extra={"action": "call.failed"},
            )
            return responses.CRASHED
