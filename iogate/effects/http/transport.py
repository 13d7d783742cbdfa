"""Sends one request and reads its whole answer: connections, the setting `endpoints`, the address policy.

Called by `calls` for each hop of a call and by `authentication` for tokens. Invariant: every request is
admitted by the address policy before a byte leaves, and no more of an answer than a cap is ever in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from iogate.effects.http import responses
from iogate.effects.http.addresses import AddressPolicy, CheckedResolver, Trust
from iogate.effects.http.endpoints import Endpoints
from iogate.effects.http.request import Request

TIMEOUTS: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
"""How long a silent peer is waited for; how long a whole call may take is the task's `timeout`."""

_DRAINED: Final = 64 * 1024
"""Bytes of an answer that nobody wants which are read, so that its connection can serve again."""
_DRAIN_S: Final = 1.0
_START: Final = 2 * responses.REFUSAL_BYTES
"""Bytes of the answer that refuses a call which are read: twice what is kept, to see secrets at the cut."""
_START_S: Final = 5.0

Wanted = Callable[[int, Mapping[str, str]], bool]
"""Judges by status and headers whether the body of an answer is read."""

_CAUTION: Final = [Trust.REVIEWED, Trust.REDIRECTED, Trust.COMPUTED]


def more_cautious(one: Trust, other: Trust) -> Trust:
    return max(one, other, key=_CAUTION.index)


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where a request really goes, and how far its address is trusted."""

    url: URL
    trust: Trust


class Transport:
    """Two connection pools that never share a connection.

    The guarded pool serves URLs whose host came from data or from another server; a connection that a
    reviewed call opened into a private network must not be there to be reused.
    """

    def __init__(
        self,
        *,
        allow_hosts: Sequence[str] = (),
        endpoints: Mapping[str, str] | None = None,
        redis_url: str | None = None,
    ) -> None:
        self._policy = AddressPolicy(allow_hosts=allow_hosts, redis_url=redis_url)
        self._endpoints = Endpoints(endpoints or {})
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def covers(self, url: str) -> bool:
        """Say whether the setting `endpoints` sends this URL elsewhere."""
        try:
            return self._endpoints.rewrite(URL(url)) is not None
        except ValueError:
            return False

    def route(self, url: URL, trust: Trust) -> Route:
        """Apply the setting `endpoints`; what it names is reviewed."""
        target = self._endpoints.rewrite(url)
        return Route(url=url, trust=trust) if target is None else Route(url=target, trust=Trust.REVIEWED)

    async def exchange(
        self, request: Request, route: Route, *, wanted: Wanted, cap: int
    ) -> responses.Received:
        """Send the request and read the answer; of an error's body, unless it is `wanted`, the beginning.

        Raises what `failures` knows; a cancelled exchange closes its connection.
        """
        await self._policy.admit(route.url, route.trust)
        async with self._session(guarded=route.trust is not Trust.REVIEWED).request(
            request.method,
            route.url,
            headers=request.headers,
            data=_stream(request.body),
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
        ) as response:
            if wanted(response.status, response.headers):
                body = await responses.read(response, cap=cap)
            else:
                body = await _start(response) if response.status >= 400 else b""
                await _drain(response)
            return responses.Received(
                status=response.status,
                headers=CIMultiDict(response.headers),
                charset=response.charset,
                body=body,
            )

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        """Give the pool, opened on first use: a process that makes no calls opens none."""
        if guarded not in self._sessions:
            connector = aiohttp.TCPConnector(
                resolver=CheckedResolver(self._policy, guarded=guarded),
                limit=0,  # as many as there are runs; their number is limited where they are taken
                keepalive_timeout=10,  # below what servers use, so that few calls meet a closed connection
                ttl_dns_cache=30,
            )
            self._sessions[guarded] = aiohttp.ClientSession(
                connector=connector,
                timeout=TIMEOUTS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # `responses` does it, within bounds
                trust_env=False,
                max_line_size=32 * 1024,
                max_field_size=32 * 1024,
            )
        return self._sessions[guarded]


def _stream(body: bytes | None) -> bytes | BytesIO | None:
    """Hand a large body over as a file: it is then written in pieces, and others have their turn."""
    return BytesIO(body) if body is not None and len(body) > 2**16 else body


async def _start(response: aiohttp.ClientResponse) -> bytes:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(_START_S):
            return await responses.read_start(response, cap=_START)
    return b""


async def _drain(response: aiohttp.ClientResponse) -> None:
    left = _DRAINED
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while left > 0 and (chunk := await response.content.read(left)):
                left -= len(chunk)
