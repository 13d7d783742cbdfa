"""The console of one gateway process: from a request of a browser to a page.

Built by `app` if the setting `operators` is set. Checks, in this order: the origin of a form, the session,
the role, the size of the form. Invariants: without a session, a browser gets only the login page and the
files of the style; no form of another origin has an effect; each error is a page with the message of the
HTTP API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

import litestar
from litestar import HttpMethod, route

from iogate.errors import IogateError
from iogate.gateway.console import form_outcome, rendering
from iogate.gateway.console.form_outcome import NONE
from iogate.gateway.console.login import Login, safe_target
from iogate.gateway.console.page import Page, Visit, redirect
from iogate.gateway.console.pages.list_changes import ListChanges
from iogate.gateway.console.pages.table import NAVIGATION, OUTCOMES, PAGES
from iogate.gateway.console.requests import is_packed, query_of, read_form
from iogate.gateway.console.session import Sessions
from iogate.gateway.console.static_files import static_files, takes_gzip
from iogate.gateway.http import body
from iogate.gateway.http.cookies import cookies_of
from iogate.gateway.http.litestar_responses import to_litestar
from iogate.gateway.http.request import Request, from_scope
from iogate.gateway.http.responses import (
    NO_PATH,
    ErrorResponse,
    HTTPError,
    Response,
)
from iogate.gateway.operators import error_responses
from iogate.operators.roles import Actor, Operator

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from iogate.gateway.operators.operator_api import OperatorApi
    from iogate.gateway.state import GatewayState

HOME: Final = "/console"
FOREIGN: Final = ErrorResponse(
    403,
    "requestError.forbidden",
    "This form was sent by a page of another origin, or by a program: open the console, and send its own "
    "form; programs use the HTTP API with the token of an operator",
)
ENDED: Final = ErrorResponse(401, "requestError.unauthorized", "Your session has ended")
_TITLES: Final = {
    401: "Log in again",
    403: "Not allowed",
    404: "Not found",
    409: "Refused",
    429: "Too many attempts",
    503: "Unavailable",
}
_KEPT: Final = (b"retry-after", b"allow", b"connection")
AnyRequest: TypeAlias = "litestar.Request[Any, Any, Any]"


class Console:
    """Responds to requests under `/console`."""

    def __init__(self, state: GatewayState, api: OperatorApi, sessions: Sessions) -> None:
        self.state, self.api, self.sessions = state, api, sessions
        self.list_changes = ListChanges(state)
        self.login = Login(self)

    def handlers(self) -> list[HTTPRouteHandler]:
        """Return the routes of the console."""

        @route("/console/static/{name:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
        async def static(request: AnyRequest) -> litestar.Response[bytes]:
            packed = takes_gzip(request.headers.get("accept-encoding", ""))
            found = static_files().find(str(request.path_params["name"]), packed=packed)
            return to_litestar(found or NO_PATH)

        @route("/console/login", http_method=[HttpMethod.GET, HttpMethod.HEAD])
        async def login_page(request: AnyRequest) -> litestar.Response[Any]:
            return await self._respond(request, self.login.show)

        @route("/console/login", http_method=[HttpMethod.POST])
        async def log_in(request: AnyRequest) -> litestar.Response[Any]:
            return await self._respond(request, self.login.log_in)

        @route("/console/logout", http_method=[HttpMethod.POST])
        async def log_out(request: AnyRequest) -> litestar.Response[Any]:
            return await self._respond(request, self.login.log_out)

        return [static, login_page, log_in, log_out, *map(self._route, PAGES)]

    def _route(self, page: Page) -> HTTPRouteHandler:
        methods = [HttpMethod(page.method)]
        if page.method == "GET":
            methods.append(HttpMethod.HEAD)

        @route(page.path, http_method=methods)
        async def handle(request: AnyRequest) -> litestar.Response[Any]:
            async def visit(found: Request) -> Any:
                return await self._visit(page, found, request)

            return await self._respond(request, visit)

        return handle

    async def _respond(self, asked: AnyRequest, handler: Any) -> litestar.Response[Any]:
        """Respond to a request for the console by a handler; each error becomes a page."""
        request = from_scope(asked.scope, asked.receive)
        try:
            if request.method not in ("GET", "HEAD"):
                self._check_origin(request)
            found = await handler(request)
        except HTTPError as failed:
            found = await self.error_page(request, failed)
        except (IogateError, TimeoutError) as error:
            found = await self.error_page(request, HTTPError(error_responses.respond(error)))
        return to_litestar(found) if isinstance(found, Response) else found

    def _check_origin(self, request: Request) -> None:
        """Raise HTTPError, a 403, for a form that does not come from a page of the console itself.

        Each browser names the origin of a form in one of two headers, which no page can change.
        """
        site, origin = request.headers.get(b"sec-fetch-site"), request.headers.get(b"origin")
        if site is not None:
            if site == b"same-origin":
                return
        elif origin is not None and self._is_own(origin.decode("latin-1"), request):
            return
        raise HTTPError(FOREIGN)

    def _is_own(self, origin: str, request: Request) -> bool:
        host = urlsplit(origin).netloc.lower()
        own = {request.headers.get(b"host", b"").decode("latin-1").lower()}
        if self.state.settings.console_port is None:
            own.add(urlsplit(self.state.public_url).netloc)
        return bool(host) and host in own

    def is_secure(self, request: Request) -> bool:
        """Tell whether the browser of a form reaches the console by HTTPS, and sends the cookie only then.

        Each browser names the origin of a form, which is HTTPS behind a proxy, too.
        """
        state = self.state
        has_own_port = state.settings.console_port is not None
        url = ("https://" if state.settings.tls else "") if has_own_port else state.public_url
        return url.startswith("https://") or request.headers.get(b"origin", b"").startswith(b"https://")

    def operator(self, request: Request) -> Operator | None:
        """Return the operator of the session of a request, in the current role; None without a session."""
        found = self.sessions.find(_cookies(request), self.state.clock.now_ms() / 1000)
        self.api.authentication.refresh()
        access = self.api.authentication.access
        if found is None or access.generation(found.operator) != found.generation:
            return None
        return access.operator(found.operator)

    async def _visit(self, page: Page, request: Request, asked: AnyRequest) -> Any:
        """Respond to the request of an operator for a page or form of the console. Raises HTTPError."""
        operator = self.operator(request)
        if operator is None:
            return await self._without_session(request)
        actor = Actor(name=operator.name, role=operator.role, via="console", origin=request.address)
        if actor.role < page.role:
            raise HTTPError(
                ErrorResponse(
                    403,
                    "requestError.forbidden",
                    f"This takes the role {page.role}; operator {actor.name} has the role {actor.role}",
                )
            )
        visit = Visit(
            console=self,
            request=request,
            actor=actor,
            path={name: str(value) for name, value in asked.path_params.items()},
            scope=asked.scope,
            query=query_of(request),
            form=await read_form(self.state.bodies, request) if page.method == "POST" else {},
            packed=is_packed(request),
        )
        if page.form_on is not None and not visit.form.get("reason"):
            return visit.ask_for_reason(visit.url_of(page.form_on))
        return await page.handler(visit)

    async def _without_session(self, request: Request) -> Response:
        """Return the way to the login page; a page of another site may link here, without the cookie.

        Raises HTTPError, a 401, for a stream.
        """
        target = request.raw_path.decode("latin-1") + (
            f"?{request.query.decode('latin-1')}" if request.query else ""
        )
        if request.method == "POST":
            return await self.login.page(
                request, status=401, problem="Your session has ended. Log in, and send the form again."
            )
        if request.headers.get(b"accept") == b"text/event-stream":
            # A script that follows a run would take the login page for a stream.
            raise HTTPError(ENDED)
        if request.headers.get(b"sec-fetch-site") == b"cross-site":
            # A cookie with SameSite=Strict comes with the next request, which this page makes.
            values = {"title": "Opening the console", "text": "", "refresh": True}
            return rendering.respond(
                "message.html", {**values, "url": safe_target(target), "link": "Continue"}
            )
        return redirect(f"/console/login?next={quote(safe_target(target), safe='/')}")

    async def show(
        self, visit: Visit, template: str, values: Mapping[str, Any], *, status: int = 200
    ) -> Response:
        """Return the console's response to a visit: a page for its operator.

        If `loads_again` is true, the page loads itself again, and shows the outcome of a form then, too.
        """
        request, cookie = visit.request, self.sessions.outcome_cookie
        given = _cookies(request).get(cookie, "") if request.method == "GET" else ""
        outcome = form_outcome.read(given)
        common = {
            **_common(visit.actor, visit.now_ms),
            "notice": OUTCOMES.get(outcome.done),
            "form_without_reason": outcome.form,
            "fields": outcome.fields,
        }
        headers = []
        if given and not values.get("loads_again"):
            url = request.raw_path.decode("latin-1")
            headers = [form_outcome.header(cookie, url, NONE, secure=self.is_secure(request))]
        return await rendering.page(
            template, common | dict(values), status=status, headers=headers, packed=visit.packed
        )

    async def error_page(self, request: Request, failed: HTTPError) -> Response:
        """Return the console's page for an error; with a session it has the navigation."""
        if not request.is_read:
            await body.drain_before_error(request, failed.response)
        return self._error_page(request, failed.response)

    def _error_page(self, request: Request, response: ErrorResponse) -> Response:
        operator = self.operator(request)
        if operator is None:
            return error_page(response)
        common = _common(operator, int(self.state.clock.now_ms()))
        values = {**common, "title": _title(response), "text": response.text, "here": "", "notice": None}
        return rendering.respond("error.html", values, status=response.status, headers=_kept(response))

    @staticmethod
    def serves(path: str) -> bool:
        """Tell whether a path belongs to the console."""
        return path == HOME or path.startswith(f"{HOME}/")

    def fail(self, asked: AnyRequest, response: ErrorResponse) -> litestar.Response[bytes]:
        """Return the console's page for a request that no route takes, or that has failed for a defect."""
        if response.status == 500:
            return to_litestar(error_page(response))
        return to_litestar(self._error_page(from_scope(asked.scope, asked.receive), response))


def _common(operator: Actor | Operator, now_ms: int) -> dict[str, Any]:
    """Return the values that each page of the console for an operator has."""
    return {
        "nav": NAVIGATION,
        "visitor": {"name": operator.name, "role": str(operator.role)},
        "now_ms": now_ms,
    }


def _title(response: ErrorResponse) -> str:
    return _TITLES.get(response.status, "This did not work")


def _kept(response: ErrorResponse) -> list[tuple[bytes, bytes]]:
    return [each for each in response.headers if each[0] in _KEPT]


def _cookies(request: Request) -> dict[str, str]:
    return cookies_of(request.headers.get(b"cookie", b"").decode("latin-1"))


def error_page(response: ErrorResponse) -> Response:
    """Return an error response as a page of the console without navigation, with its status and message."""
    values = {
        "title": _title(response),
        "text": response.text,
        "url": HOME,
        "link": "Open the console",
        "refresh": False,
    }
    return rendering.respond("message.html", values, status=response.status, headers=_kept(response))
