"""Answers as Litestar sends them, for the routes that are Litestar handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response

if TYPE_CHECKING:
    from iogate.gateway.http.responses import Answer


def as_response(answer: Answer) -> Response[bytes]:
    headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    kind = headers.pop("content-type")
    headers.pop("content-length")
    return Response(answer.content, status_code=answer.status, headers=headers, media_type=kind)
