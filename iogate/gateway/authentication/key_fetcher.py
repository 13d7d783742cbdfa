"""Fetching of key sets with the HTTP client of `iogate.effects`, which is imported on first use.

Built by `__main__` for `key_sets`. Invariant: a gateway whose APIs name no issuer never imports the client.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from iogate.gateway.authentication.jwt_keys import UnusableKeys

if TYPE_CHECKING:
    from iogate.effects.key_set_fetcher import KeySetFetcher
    from iogate.gateway.authentication.key_sets import KeySource
    from iogate.settings import Settings


class KeyFetcher:
    """Client for the key sets of issuers, under the settings for addresses of the gateway."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: KeySetFetcher | None = None

    async def fetch(self, source: KeySource) -> bytes:
        """Fetch the JSON of the key set at a source. Raises UnusableKeys."""
        # In a thread, since the import takes up to half a second.
        await asyncio.to_thread(importlib.import_module, "iogate.effects.key_set_fetcher")
        from iogate.effects.key_set_fetcher import KeySetFetcher, KeySetUnavailable  # noqa: PLC0415

        if self._client is None:
            self._client = KeySetFetcher(
                allow_hosts=self._settings.allow_hosts,
                endpoints=self._settings.endpoints,
                redis_url=self._settings.redis_url,
            )
        try:
            return await self._client.fetch(issuer=source.issuer, jwks=source.jwks)
        except KeySetUnavailable as error:
            raise UnusableKeys(str(error)) from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
