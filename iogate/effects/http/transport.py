"""Sends one request and reads its response: connections, the setting `endpoints`, the address policy.

Called by `http_calls` for each hop of a call and by `authentication` for tokens. Invariant: the address
policy admits each request before it is sent, and no more of a response than a cap is ever in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from iogate.effects.http import responses
from iogate.effects.http.address_policy import AddressPolicy, CheckedResolver, Trust
from iogate.effects.http.endpoint_rewrites import Endpoints
from iogate.effects.http.request import Request

TIMEOUTS: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
"""Timeouts for a silent peer; the task's `timeout` limits the whole call."""

_MAX_DRAINED: Final = 64 * 1024
"""Maximum bytes of an unwanted body that are read, so that its connection can be reused."""
_DRAIN_S: Final = 1.0
_MAX_ERROR_READ: Final = 2 * responses.MAX_ERROR_BODY
"""Bytes read of the body of an error: twice the kept size, to redact secrets at the cut."""
_ERROR_READ_S: Final = 5.0

Outside = Callable[[str], Awaitable[None]]
"""Awaited with the origin of a request that goes to no target of the setting `endpoints`; may prevent it."""
BodyFilter = Callable[[int, Mapping[str, str]], bool]
"""Tells by status and headers whether the body of a response is read."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Effective URL of a request, and the trust in it."""

    url: URL
    trust: Trust


class Transport:
    """HTTP client with two connection pools that never share a connection.

    The guarded pool serves URLs whose host came from data or from another server; they must not reuse a
    connection that a reviewed call opened into a private network.
    """

    def __init__(
        self,
        *,
        allow_hosts: Sequence[str] = (),
        endpoints: Mapping[str, str] | None = None,
        redis_url: str | None = None,
        outside: Outside | None = None,
    ) -> None:
        self._outside = outside
        self._policy = AddressPolicy(allow_hosts=allow_hosts, redis_url=redis_url)
        self._endpoints = Endpoints(endpoints or {})
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        self._policy.close()

    def rewrites(self, url: str) -> bool:
        """Tell whether the transport rewrites this URL by the setting `endpoints`."""
        try:
            return self._endpoints.rewrite(URL(url)) is not None
        except ValueError:
            return False

    def route(self, url: URL, trust: Trust) -> Route:
        """Return the route of a request; a target from the setting `endpoints` has the trust REVIEWED."""
        target = self._endpoints.rewrite(url)
        return Route(url=url, trust=trust) if target is None else Route(url=target, trust=Trust.REVIEWED)

    async def exchange(
        self, request: Request, route: Route, *, wanted: BodyFilter, cap: int
    ) -> responses.Response:
        """Send a request over the transport and read the response; of an unwanted error only the beginning.

        A request that is not `at_most_once` may be sent twice: aiohttp repeats GET, HEAD, OPTIONS, TRACE, PUT
        and DELETE if the connection breaks before the response.

        Raises the exceptions that `convert_failures` converts; a cancelled exchange closes its connection.
        """
        if self._outside is not None and not self._endpoints.is_target(route.url):
            await self._outside(str(route.url.origin()))
        await self._policy.admit(route.url, route.trust)
        try:
            return await self._exchange(request, route, wanted, cap)
        except _BrokenConnection as broken:
            raise broken.fault from None

    async def _exchange(
        self, request: Request, route: Route, wanted: BodyFilter, cap: int
    ) -> responses.Response:
        async with self._session(guarded=route.trust is not Trust.REVIEWED).request(
            request.method,
            route.url,
            headers=request.headers,
            data=_as_stream(request.body),
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
            middlewares=(_send_once,) if request.at_most_once else None,
        ) as response:
            if wanted(response.status, response.headers):
                body = await responses.read_body(response, cap=cap)
            else:
                body = await _read_error_body(response) if response.status >= 400 else b""
                await _drain(response)
            return responses.Response(
                status=response.status,
                headers=CIMultiDict(response.headers),
                charset=response.charset,
                body=body,
            )

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        """Return the connection pool of the transport, opened on first use."""
        if guarded not in self._sessions:
            connector = aiohttp.TCPConnector(
                resolver=CheckedResolver(self._policy, guarded=guarded),
                limit=0,  # the number of concurrent runs is the limit
                keepalive_timeout=10,  # below that of servers, so that few calls meet a closed connection
                ttl_dns_cache=30,
            )
            self._sessions[guarded] = aiohttp.ClientSession(
                connector=connector,
                timeout=TIMEOUTS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # `responses` decompresses, with a limit
                trust_env=False,
                max_line_size=32 * 1024,
                max_field_size=32 * 1024,
            )
        return self._sessions[guarded]


class _BrokenConnection(Exception):
    """A broken connection in a form that aiohttp does not know, so that it does not repeat the request."""

    def __init__(self, fault: aiohttp.ClientError) -> None:
        super().__init__(str(fault))
        self.fault = fault


async def _send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request, as middleware of aiohttp, which otherwise repeats it by its method.

    Raises _BrokenConnection if the connection breaks before the response.
    """
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as fault:
        raise _BrokenConnection(fault) from None


def _as_stream(body: bytes | None) -> bytes | BytesIO | None:
    """Return a large body for the transport as a file, written in pieces, so that other runs continue."""
    return BytesIO(body) if body is not None and len(body) > 2**16 else body


async def _read_error_body(response: aiohttp.ClientResponse) -> bytes:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(_ERROR_READ_S):
            return await responses.read_body_start(response, cap=_MAX_ERROR_READ)
    return b""


async def _drain(response: aiohttp.ClientResponse) -> None:
    left = _MAX_DRAINED
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while left > 0 and (chunk := await response.content.read(left)):
                left -= len(chunk)
