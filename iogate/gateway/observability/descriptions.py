"""Descriptions of the enabled APIs: `/openapi.json` and the page `/docs`, with their entity tags.

Used by `observability_routes`. Invariant: both are built once per revision and set of enabled APIs, in a
thread, since a document of a thousand APIs takes a second.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.gateway.http.responses import NO_REVISION, HTTPError, Response
from iogate.gateway.observability import openapi
from iogate.gateway.pages import api_docs, page

if TYPE_CHECKING:
    from iogate.auth.model import StoredAuth
    from iogate.compiler.revision import Api
    from iogate.gateway.state import GatewayState

_CACHE: Final = (b"cache-control", b"no-cache")
"""Caches may store it, and ask each time whether it has changed."""


class Description:
    """One representation of the APIs."""

    def __init__(self, content: bytes, content_type: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.etag = b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()
        shared = [_CACHE, (b"etag", self.etag), *headers]
        self._full = Response(200, content, shared, content_type=content_type, store=True)
        self._unchanged = Response(304, b"", shared, content_type=content_type, store=True)

    def respond(self, if_none_match: str | None) -> Response:
        """Return the description, or a 304 if the client has it (RFC 9110, section 13.1.2)."""
        if if_none_match is None:
            return self._full
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return self._unchanged if "*" in tags or self.etag.decode() in tags else self._full


class Descriptions:
    """Both representations of the APIs that the gateway serves now."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._version: object = None
        self._building: asyncio.Task[tuple[Description, Description]] | None = None

    async def openapi(self) -> Description:
        """Return the OpenAPI description. Raises HTTPError: a 503 without a revision."""
        return (await self._current())[0]

    async def page(self) -> Description:
        """Return the description for readers, `/docs`. Raises HTTPError: a 503 without a revision."""
        return (await self._current())[1]

    async def _current(self) -> tuple[Description, Description]:
        table = self._state.table
        if table is None:
            raise HTTPError(NO_REVISION)
        apis = table.enabled_apis
        version = (table.version, frozenset(apis))
        if self._building is None or self._version != version:
            self._version = version
            self._building = asyncio.create_task(
                asyncio.to_thread(_build, apis, table.number, self._state.public_url, self._state.senders)
            )
        building = self._building
        try:
            return await asyncio.shield(building)
        except Exception:
            if self._building is building:
                self._building = None  # the next request tries again
            raise


def _build(
    apis: dict[str, Api], number: int, url: str, senders: StoredAuth | None
) -> tuple[Description, Description]:
    document: dict[str, Any] = openapi.document(apis, number=number, server=url, senders=senders)
    shown = page.document("APIs", *api_docs.content(document))
    return (
        Description(msgspec.json.encode(document), b"application/json", ()),
        Description(shown, page.CONTENT_TYPE, page.SECURITY),
    )
