"""Fetches the key set of a token issuer, for gateways.

Called by the gateway's `key_sets` through `__main__`, under the same rules for addresses as the calls of
workflows: a URL in a document is reviewed, one in the discovery document of an issuer is trusted like a
redirect. Invariant: no response is read beyond MAX_BYTES or TIMEOUT_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from multidict import CIMultiDict
from yarl import URL

import iogate
from iogate import json_values
from iogate.effects.http import target_names
from iogate.effects.http.address_policy import Trust
from iogate.effects.http.failures import CallFailed, UnexpectedStatus, convert_failures
from iogate.effects.http.request import Request, parse_url
from iogate.effects.http.transport import Transport
from iogate.errors import WorkflowError, for_operators

DISCOVERY: Final = "/.well-known/openid-configuration"
MAX_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 10.0


class KeySetUnavailable(Exception):
    """A key set that cannot be fetched; the message says why."""


class KeySetFetcher:
    """HTTP client for key sets, with the settings of the gateway."""

    def __init__(
        self,
        *,
        allow_hosts: Sequence[str] = (),
        endpoints: Mapping[str, str] | None = None,
        redis_url: str | None = None,
    ) -> None:
        self._transport = Transport(allow_hosts=allow_hosts, endpoints=endpoints, redis_url=redis_url)

    async def close(self) -> None:
        await self._transport.close()

    async def fetch(self, *, issuer: str, jwks: str) -> bytes:
        """Fetch a key set by an HTTP request, from the URL `jwks` or as the issuer's configuration says.

        Raises KeySetUnavailable.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if jwks:
                    return await self._get(parse_url(jwks, subject="jwks"), Trust.REVIEWED)
                return await self._discover(issuer)
        except TimeoutError:
            raise KeySetUnavailable(f"no complete response within {TIMEOUT_S:g} s") from None
        except CallFailed as failed:
            error = failed.error
            raise KeySetUnavailable(
                for_operators(error.detail or "the call failed", error.to_json())
            ) from None
        except WorkflowError as error:
            raise KeySetUnavailable(error.detail or "the URL is not valid") from None

    async def _discover(self, issuer: str) -> bytes:
        """Fetch the key set that the issuer's configuration names.

        The configuration is that of OpenID Connect Discovery 1.0, section 4.
        """
        url = parse_url(issuer.rstrip("/") + DISCOVERY, subject="issuer")
        try:
            document = json_values.parse(await self._get(url, Trust.REVIEWED))
        except ValueError as error:
            raise KeySetUnavailable(f"the OpenID configuration is not valid JSON: {error}") from None
        if not isinstance(document, Mapping) or not isinstance(named := document.get("jwks_uri"), str):
            raise KeySetUnavailable("the OpenID configuration names no jwks_uri")
        if document.get("issuer") != issuer:
            # Otherwise the keys of one issuer would verify tokens of another (section 4.3).
            raise KeySetUnavailable(
                "the OpenID configuration is of another issuer; give jwks to use its keys"
            )
        found = parse_url(named, subject="the jwks_uri")
        own = {url.origin(), self._transport.route(url, Trust.REVIEWED).url.origin()}
        return await self._get(found, Trust.REVIEWED if found.origin() in own else Trust.REDIRECTED)

    async def _get(self, url: URL, trust: Trust) -> bytes:
        route = self._transport.route(url, trust)
        target = target_names.name_server("the issuer", url, route.url)
        headers = CIMultiDict({"Accept": "application/json", "User-Agent": f"iogate/{iogate.__version__}"})
        async with convert_failures(target):
            response = await self._transport.exchange(
                Request(method="GET", url=url, headers=headers, body=None),
                route,
                wanted=lambda status, _: status == 200,
                cap=MAX_BYTES,
            )
            if response.status != 200:
                raise UnexpectedStatus(response.status, "200 is expected")
        return response.body
