"""One-time links: `/v1/links/UID.NAME.EXPIRY.SIGNATURE`, which show a form and continue a waiting run, once.

Called by `app`. The link itself is the permission, so that no credentials are needed, and no origin is
checked: a page that knows the link may use it. Invariants: only a POST uses a link, so that scanners of mail,
previews and prefetching change nothing; a link with a wrong signature is as unknown as any other path.

    signature ── 404 ─▶ expiry, run ── 410 ─▶ use ── 409 ─▶ GET: form
                                                           POST: data ── 400 ─▶ recorded and delivered: 202
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from iogate.errors import NotFound
from iogate.gateway.http import body, responses
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response, json_response
from iogate.gateway.links import link_pages
from iogate.gateway.links.link_definitions import Definition, Definitions
from iogate.gateway.pages.page import SECURITY
from iogate.gateway.validation import call_input
from iogate.security import one_time_links
from iogate.store.connection.failures import StoreFull
from iogate.store.revisions.revisions import NotAuthentic

if TYPE_CHECKING:
    from litestar.types import Send

    from iogate.gateway.http.request import Request
    from iogate.gateway.state import GatewayState
    from iogate.security.one_time_links import OneTimeLink
    from iogate.store.runs.link_use import LinkView

log = logging.getLogger(__name__)

PATH: Final = one_time_links.PATH.encode()
MAX_BODY: Final = 64 * 1024
_VERBS: Final = "GET, HEAD, POST"
_OPTIONS: Final = Response(204, b"", [(b"allow", f"{_VERBS}, OPTIONS".encode())])

NO_LINK: Final = ErrorResponse(404, "requestError.notFound", "There is no such link")
EXPIRED: Final = ErrorResponse(410, "requestError.gone", "This link has expired")
ENDED: Final = ErrorResponse(410, "requestError.gone", "This link is no longer needed: its run has ended")
CANCELLED: Final = ErrorResponse(
    410, "requestError.gone", "This link is no longer needed: its run was cancelled"
)
USED: Final = ErrorResponse(409, "requestError.repeatedOperation", "This link was already used")
_OUTCOMES: Final = {
    "used": USED,
    "expired": EXPIRED,
    "ended": ENDED,
    "cancelled": CANCELLED,
    "unknown": ENDED,
}
_encode = msgspec.json.Encoder().encode


class LinkHandler:
    """Handler of the requests for links."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._definitions = Definitions()

    async def respond(self, request: Request, send: Send) -> None:
        """Handle one request for a one-time link."""
        state = self._state
        code = ""
        try:
            response = await self._handle(request)
        except HTTPError as failed:
            response = failed.response
        except Exception:
            log.exception("%s of a link failed", request.method[:20], extra={"action": "link.failed"})
            response = responses.CRASHED
        if isinstance(response, ErrorResponse):
            code = response.code
            await body.drain_before_error(request, response)
            if _wants_page(request):
                response = link_pages.refusal(response)
        state.access_log.note(request, response.status, code=code)
        await (response.send_last if state.draining.is_set() else response.send)(send)

    async def _handle(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _OPTIONS
        if request.method not in ("GET", "HEAD", "POST"):
            return responses.not_allowed(request.method[:20], _VERBS)
        if request.has_large_headers():
            return responses.HEADERS_TOO_LARGE
        link = self._verified(request)
        if link.expires_s * 1000 <= self._state.clock.now_ms():
            return EXPIRED
        view, definition = await self._look(link)
        if request.method != "POST":
            return _shown(request, link, view, definition)
        return await self._use(request, link, view, definition)

    def _verified(self, request: Request) -> OneTimeLink:
        """Return the link in the path. Raises HTTPError: a 404 for a wrong signature, or a 503."""
        store = self._state.store
        if store is None:
            raise HTTPError(responses.STORE_DOWN)
        token = request.raw_path[len(PATH) :].decode("latin-1")
        link = one_time_links.verified(store.keyring, token)
        if link is None:
            raise HTTPError(NO_LINK)
        return link

    async def _look(self, link: OneTimeLink) -> tuple[LinkView, Definition]:
        """Return the state of a link to handle, which can be used. Raises HTTPError: a 409, 410 or 503."""
        async with self._state.reach() as store:
            view = await store.links.look(link)
            if view.used:
                raise HTTPError(USED)
            if view.run != "live":
                raise HTTPError(_OUTCOMES[view.run])
            try:
                definition = await self._definitions.get(store, view.program, link.name)
            except (NotFound, NotAuthentic):
                definition = None
        if definition is None:
            raise HTTPError(NO_LINK)
        return view, definition

    async def _use(
        self, request: Request, link: OneTimeLink, view: LinkView, definition: Definition
    ) -> Response:
        state = self._state
        call_input.check_encoding(request)
        await state.bodies.read(request, limit=MAX_BODY)
        try:
            data = await state.validation.link_data(definition, request)
        finally:
            state.bodies.release(request)
        if faults := data.faults:
            if _wants_page(request):
                about = view.asks or definition.description
                return link_pages.form_page(definition, about, link.expires_s, sent=data.shown, faults=faults)
            listed = "; at ".join(f"{fault.place or 'its root'}: {fault.message}" for fault in faults)
            raise responses.invalid(f"The data is invalid at {listed}")
        try:
            async with state.reach() as store:
                outcome = await store.links.use(link, _event(link, data.json, state.clock.now_ms()))
        except StoreFull:
            raise HTTPError(responses.STORE_FULL) from None
        if outcome != "ok":
            return _OUTCOMES[outcome]
        log.info(
            "link %s of run %s was used",
            link.name,
            link.uid,
            extra={"action": "link.used", "uid": link.uid},
        )
        if _wants_page(request):
            return link_pages.receipt(definition)
        return json_response({"uid": link.uid, "link": link.name}, 202)


def _shown(request: Request, link: OneTimeLink, view: LinkView, definition: Definition) -> Response:
    """Respond to GET of a link with the page of its form, or with its description for programs."""
    description = view.asks or definition.description
    if _wants_page(request):
        return link_pages.form_page(definition, description, link.expires_s)
    described = {
        "uid": link.uid,
        "link": link.name,
        "title": definition.title,
        "description": description,
        "schema": definition.form,
        "expiresAt": _iso(link.expires_s * 1000),
    }
    return json_response(described, 200, SECURITY)


def _wants_page(request: Request) -> bool:
    """Tell whether the client of a link accepts HTML, as a browser does, and gets a page."""
    return b"text/html" in request.headers.get(b"accept", b"").lower()


def _event(link: OneTimeLink, data: bytes, now_ms: int) -> bytes:
    return _encode(
        {
            "specversion": "1.0",
            "id": f"{link.uid}/{link.name}",
            "source": f"{one_time_links.PATH}{link.name}",
            "type": one_time_links.EVENT + link.name,
            "subject": link.uid,
            "time": _iso(now_ms),
            "datacontenttype": "application/json",
            "data": msgspec.Raw(data),
        }
    )


def _iso(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
