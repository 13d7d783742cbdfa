"""Conversion of responses to those of Litestar, for the routes that are Litestar handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import litestar

if TYPE_CHECKING:
    from iogate.gateway.http.responses import Response


def to_litestar(response: Response) -> litestar.Response[bytes]:
    """Convert a response to one of Litestar."""
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    kind = headers.pop("content-type").removesuffix("; charset=utf-8")  # Litestar adds it to text
    headers.pop("content-length")
    return litestar.Response(response.content, status_code=response.status, headers=headers, media_type=kind)
