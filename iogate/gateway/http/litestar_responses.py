"""Conversion of responses to those of Litestar, for the routes that are Litestar handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litestar

if TYPE_CHECKING:
    from litestar.response.base import ASGIResponse

    from iogate.gateway.http.responses import Response


class _Response(litestar.Response[bytes]):
    """Response of Litestar with any number of `Set-Cookie` headers; other headers have one value each."""

    set_cookies: tuple[str, ...] = ()

    def to_asgi_response(self, *given: Any, **options: Any) -> ASGIResponse:
        made = super().to_asgi_response(*given, **options)
        for each in self.set_cookies:
            made.headers.add("set-cookie", each)
        return made


def to_litestar(response: Response) -> litestar.Response[bytes]:
    """Convert a response to one of Litestar."""
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    kind = headers.pop("content-type").removesuffix("; charset=utf-8")  # Litestar adds it to text
    headers.pop("content-length")
    cookies: tuple[str, ...] = ()
    if headers.pop("set-cookie", None) is not None:
        cookies = tuple(value.decode("latin-1") for name, value in response.headers if name == b"set-cookie")
    converted = _Response(response.content, status_code=response.status, headers=headers, media_type=kind)
    converted.set_cookies = cookies
    return converted
