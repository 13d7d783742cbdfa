"""CORS, and protection against requests that pages of other origins make a browser send (CSRF).

A browser sends such requests without its user's intent: with stored credentials, and to addresses that only
its machine reaches. It marks them with `Sec-Fetch-Site` and `Origin`, which no page can change. Used by each
route that starts, shows or ends a run. Invariant: clients other than browsers are never affected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from iogate.gateway.http.responses import ErrorResponse, Response

if TYPE_CHECKING:
    from litestar.types import Send

    from iogate.gateway.http.request import Request

CROSS_ORIGIN: Final = ErrorResponse(
    403,
    "requestError.forbidden",
    "A page of another origin sent this request; the setting cors of the gateway allows origins",
)
_READABLE: Final = (
    b"location, retry-after, idempotent-replayed, preference-applied, x-iogate-revision, x-iogate-coalesced, "
    b"www-authenticate"
)
_PREFLIGHT_S: Final = b"600"
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{0,2000}")
_MARKS: Final = frozenset({b"sec-fetch-site", b"origin", b"referer"})
"""Headers by which a browser names the page that made it send a request."""
_OWN_SITES: Final = (b"same-origin", b"none")


class Origins:
    """The setting `cors`: origins of pages that may call, or `*` for all origins."""

    def __init__(self, allowed: Iterable[str] = (), *, public_url: str | None = None) -> None:
        given = [origin.lower().rstrip("/").encode() for origin in allowed]
        self._all = b"*" in given
        self._allowed = frozenset(given)
        self.any = bool(given)
        """True if an origin is allowed."""
        self._public = urlsplit(public_url).netloc.lower().encode() if public_url else b""

    def allows(self, origin: bytes) -> bool:
        return self._all or origin.lower() in self._allowed

    def forbids(self, request: Request, *, open_to_all: bool) -> bool:
        """Tell whether a page of an origin that is not allowed sent this request without own credentials.

        `open_to_all`: the route accepts requests without credentials. With `*`, a page of any origin may send
        those, but the credentials that a browser has stored serve only pages of origins that are listed.
        """
        headers = request.headers
        if _MARKS.isdisjoint(headers):
            return False
        return self._is_cross_origin(headers) and _has_only_ambient_credentials(
            headers, open_to_all=open_to_all and not self._all
        )

    def _is_cross_origin(self, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a page of an origin that is not listed made the browser send this request."""
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
        if site is None and origin is None:
            # Over plain HTTP to other machines, browsers send neither with a request for an image or a link.
            page = headers.get(b"referer")
            return page is not None and not self._is_own(page, headers)
        if origin is not None and origin.lower() in self._allowed:
            return False
        if site is not None:
            return site not in _OWN_SITES
        return origin is not None and not self._is_own(origin, headers)

    def _is_own(self, url: bytes, headers: Mapping[bytes, bytes]) -> bool:
        host = _host(url)
        return bool(host) and host in (headers.get(b"host", b"").lower(), self._public)

    def preflight(self, request: Request) -> Response:
        """Return the response to a preflight request for a page of an allowed origin."""
        headers = request.headers
        asked = headers.get(b"access-control-request-headers", b"")
        granted = [
            *self.permission(headers[b"origin"]),
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-max-age", _PREFLIGHT_S),
        ]
        if asked and _NAMES.fullmatch(asked):
            granted.append((b"access-control-allow-headers", asked))
        if headers.get(b"access-control-request-private-network") == b"true":
            granted.append((b"access-control-allow-private-network", b"true"))
        return Response(204, b"", granted)

    def permission(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        """Return the CORS headers that let a page of an allowed origin read a response."""
        if self._all:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _READABLE)]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _READABLE),
            (b"vary", b"Origin"),
        ]

    def permitting(self, send: Send, origin: bytes) -> Send:
        """Return a `send` that adds the headers of `permission` to the response."""
        more = self.permission(origin)

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        return sending


def _has_only_ambient_credentials(headers: Mapping[bytes, bytes], *, open_to_all: bool) -> bool:
    """Tell whether a request of any origin has only credentials that a browser adds by itself."""
    scheme = headers.get(b"authorization", b"")[:6].lower()
    if scheme == b"basic ":
        return True
    return open_to_all and not scheme and b"token" not in headers and b"user" not in headers


def is_navigation(request: Request) -> bool:
    """Tell whether a browser navigates to the response as a page, which any origin may cause by a link."""
    headers = request.headers
    return headers.get(b"sec-fetch-dest") == b"document" and headers.get(b"sec-fetch-mode") == b"navigate"


def _host(url: bytes) -> bytes:
    scheme, colon, rest = url.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https"):
        return b""
    host = rest.partition(b"/")[0].partition(b"?")[0].lower()
    return host.removesuffix(b":80" if scheme.lower() == b"http" else b":443")
