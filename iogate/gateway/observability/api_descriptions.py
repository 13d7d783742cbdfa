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

from iogate.errors import IogateError
from iogate.gateway.http.responses import NO_REVISION, HTTPError, Response
from iogate.gateway.links.link_definitions import declares_links
from iogate.gateway.observability import openapi
from iogate.gateway.pages import api_docs, page

if TYPE_CHECKING:
    from iogate.auth.model import StoredAuth
    from iogate.compiler.revision import Api
    from iogate.gateway.audience import Audience
    from iogate.gateway.calls.routing_table import Table
    from iogate.gateway.state import GatewayState

_CACHE: Final = (b"cache-control", b"no-cache")
"""Caches may store it, and ask each time whether it has changed."""
_AT_ONCE: Final = 20
"""Definitions of workflows that are read at once, since their check delays calls."""


class Description:
    """One representation of the APIs."""

    def __init__(self, content: bytes, content_type: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.etag = b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()
        shared = [_CACHE, (b"etag", self.etag), *headers]
        self._full = Response(200, content, shared, content_type=content_type, store=True)
        self._unchanged = Response(304, b"", shared, content_type=content_type, store=True)

    def respond(self, if_none_match: str | None) -> Response:
        """Return the description of APIs, or a 304 if the client has it (RFC 9110, section 13.1.2)."""
        if if_none_match is None:
            return self._full
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return self._unchanged if "*" in tags or self.etag.decode() in tags else self._full


class Descriptions:
    """Both representations of the APIs that the gateway serves now."""

    def __init__(self, state: GatewayState, audience: Audience) -> None:
        self._state, self._audience = state, audience
        self._version: object = None
        self._building: asyncio.Task[tuple[Description, Description]] | None = None
        self._linkless: frozenset[str] = frozenset()
        """Digests of the definitions of live workflows that declare no one-time links, as far as known."""

    async def openapi(self) -> Description:
        """Return the current OpenAPI description of the APIs. Raises HTTPError: a 503 without a revision."""
        return (await self._current())[0]

    async def page(self) -> Description:
        """Return the current description of APIs as `/docs`. Raises HTTPError: a 503 without a revision."""
        return (await self._current())[1]

    async def _current(self) -> tuple[Description, Description]:
        table = self._state.table
        if table is None:
            raise HTTPError(NO_REVISION)
        apis = table.enabled_apis if self._audience.has_callers else {}
        version = (table.version, frozenset(apis))
        if self._building is None or self._version != version:
            self._version = version
            self._building = asyncio.create_task(self._make(table, apis))
        building = self._building
        try:
            return await asyncio.shield(building)
        except Exception:
            if self._building is building:
                self._building = None  # the next request tries again
            raise

    async def _make(self, table: Table, apis: dict[str, Api]) -> tuple[Description, Description]:
        has_links = bool(apis) and await self._have_links(table)
        state = self._state
        return await asyncio.to_thread(
            _build,
            apis,
            table.number,
            # Relative to the document: `public_url` is that of callers.
            state.public_url if self._audience.has_callers else "/",
            state.senders,
            has_links=has_links,
            has_callers=self._audience.has_callers,
            has_operators=self._audience.has_operators and state.operators is not None,
        )

    async def _have_links(self, table: Table) -> bool:
        """Return whether descriptions include links, since a live workflow may declare them."""
        wanted = {
            each.program
            for release in table.releases.values()
            for each in release.revision.workflows.values()
        }
        self._linkless &= wanted
        unknown = sorted(wanted - self._linkless)
        for start in range(0, len(unknown), _AT_ONCE):
            try:
                async with self._state.reach() as store:
                    found = await store.revisions.programs(unknown[start : start + _AT_ONCE])
            except (HTTPError, IogateError):
                return True
            if any(map(declares_links, found.values())):
                return True
            self._linkless |= found.keys()
        return False


def _build(
    apis: dict[str, Api],
    number: int,
    url: str,
    senders: StoredAuth | None,
    *,
    has_links: bool,
    has_callers: bool,
    has_operators: bool,
) -> tuple[Description, Description]:
    document: dict[str, Any] = openapi.document(
        apis, number=number, server=url, senders=senders, has_links=has_links
    )
    # The page is for callers.
    shown = page.document("APIs", *api_docs.content(document))
    if has_operators:
        from iogate.gateway.operators import openapi_operations  # noqa: PLC0415 - a gateway without operators
        from iogate.gateway.operators.operations import OPERATIONS  # noqa: PLC0415 - does not load them

        known = document if has_callers else {**document, "paths": {}}
        document = openapi_operations.add_to(known, OPERATIONS)
    return (
        Description(msgspec.json.encode(document), b"application/json", ()),
        Description(shown, page.CONTENT_TYPE, page.SECURITY),
    )
