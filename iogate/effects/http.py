"""Performs `call: http`: one request, its redirects where they are wanted, one output or one error.

Called by `perform`. Invariants: every hop is admitted by the address policy before a byte leaves; an error
names method and origin and nothing else of the request, since path, query, headers and body may each hold a
secret (the web hooks of chat services have theirs in the path), and errors are stored. Which call it was, the
error's `instance` says.
"""

from __future__ import annotations

import os
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from iogate.effects import responses
from iogate.effects.addresses import AddressPolicy, CheckedResolver, Forbidden, Trust
from iogate.effects.endpoints import Endpoints
from iogate.effects.request import Request, build
from iogate.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from iogate.engine.commands import CallHttp

MAX_REDIRECTS: Final = 10
FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})

TIMEOUTS: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
"""How long a silent peer is waited for; how long a whole call may take is the task's `timeout`."""

MAX_RESPONSE: Final = 10 * 1024 * 1024
"""Bytes of a response's body after decompression."""


class CallFailed(Exception):
    """How a call ended when not in an output.

    `definite` says whether the receiver gave a whole answer. A refused connection is not one either: an
    earlier try of the same call may have arrived, and a new idempotency key would do its work twice.
    """

    def __init__(self, error: WorkflowError, *, definite: bool) -> None:
        super().__init__(error.detail)
        self.error = error
        self.definite = definite


@dataclass(frozen=True, kw_only=True)
class _Redirect:
    status: int
    url: URL


@dataclass(frozen=True, kw_only=True)
class _Output:
    value: Any


class HttpCalls:
    """The HTTP side of one process: two connection pools that never share a connection.

    The guarded pool serves URLs whose host came from data or from another server; a connection that a
    reviewed call opened into a private network must not be there to be reused.
    """

    def __init__(
        self,
        *,
        allow_hosts: Sequence[str] = (),
        endpoints: Mapping[str, str] | None = None,
        redis_url: str | None = None,
        max_response: int = MAX_RESPONSE,
    ) -> None:
        self._policy = AddressPolicy(allow_hosts=allow_hosts, redis_url=redis_url)
        self._endpoints = Endpoints(endpoints or {})
        self._max_response = max_response
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def covers(self, url: str) -> bool:
        """Say whether the setting `endpoints` sends this URL elsewhere."""
        try:
            return self._endpoints.rewrite(URL(url)) is not None
        except ValueError:
            return False

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def call(self, call: CallHttp, *, idempotency_key: str) -> Any:
        """Make the call and give its output.

        Raises CallFailed, and nothing else but what cancels it; a cancelled call's connection is closed.
        """
        try:
            request = build(call, idempotency_key=idempotency_key)
        except WorkflowError as error:
            raise CallFailed(error, definite=False) from None
        trust = Trust.COMPUTED if call.computed else Trust.REVIEWED
        for _ in range(MAX_REDIRECTS + 1):
            written, target = request.url, self._endpoints.rewrite(request.url)
            hop_trust = Trust.REVIEWED if target is not None else trust
            url = target if target is not None else written
            shown = f"{request.method} {url.origin()}"
            async with _failures(shown):
                outcome = await self._hop(call, request, url, hop_trust)
            match outcome:
                case _Output(value=value):
                    return value
                case _Redirect(status=status, url=location):
                    # A redirect within one origin is the same server speaking: it keeps its trust.
                    same = location.origin() == url.origin()
                    trust = hop_trust if same else max(trust, Trust.REDIRECTED, key=_CAUTION.index)
                    request = request.redirected(location, status=status, same_origin=same)
        raise _failed(f"{shown} was redirected more than {MAX_REDIRECTS} times", definite=True)

    async def _hop(self, call: CallHttp, request: Request, url: URL, trust: Trust) -> _Output | _Redirect:
        await self._policy.admit(url, trust)
        async with self._session(guarded=trust is not Trust.REVIEWED).request(
            request.method,
            url,
            headers=request.headers,
            data=_stream(request.body),
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
        ) as response:
            status = response.status
            location = response.headers.get("Location")
            if call.redirect and status in FOLLOWED and location:
                return _Redirect(status=status, url=_join(url, location))
            if not 200 <= status < (400 if call.redirect else 300):
                raise _Refused(status)
            body = await responses.read(response, cap=self._max_response)
            return _Output(value=responses.output(response, body, mode=call.output, request=request.shown()))

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


_CAUTION: Final = [Trust.REVIEWED, Trust.REDIRECTED, Trust.COMPUTED]


class _Refused(Exception):
    """The receiver answered with a status outside the accepted ones."""

    def __init__(self, status: int) -> None:
        self.status = status


class _BadRedirect(Exception):
    pass


def _stream(body: bytes | None) -> bytes | BytesIO | None:
    """Hand a large body over as a file: it is then written in pieces, and others have their turn."""
    return BytesIO(body) if body is not None and len(body) > 2**16 else body


def _join(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location))
        if target.scheme in {"http", "https"} and target.raw_host:
            return target.with_fragment(None)
    except ValueError:
        pass
    raise _BadRedirect


@asynccontextmanager
async def _failures(shown: str) -> AsyncIterator[None]:
    """Turn what can go wrong on the way into the standard's errors, saying what was called."""
    try:
        yield
    except _Refused as refused:
        status = refused.status
        hint = '; set "redirect: true" to follow it' if status in FOLLOWED else ""
        raise _failed(f"{shown} answered {_phrase(status)}{hint}", status=status, definite=True) from None
    except responses.BadResponse as fault:
        raise _failed(f"{shown} answered, but {fault}", definite=True) from None
    except _BadRedirect:
        raise _failed(f"{shown} redirected to something that is no http(s) URL", definite=True) from None
    except Forbidden as reason:
        error = WorkflowError("authorization", title="HTTP call not allowed", detail=str(reason))
        raise CallFailed(error, definite=False) from None
    except TimeoutError:
        raise _failed(f"{shown} did not answer in time", definite=False) from None
    except aiohttp.ClientConnectorCertificateError:
        raise _failed(f"{shown} failed: its TLS certificate is not valid for it", definite=False) from None
    except aiohttp.ClientConnectorError as fault:
        raise _failed(
            f"{shown} failed: cannot connect: {_os_reason(fault.os_error)}", definite=False
        ) from None
    except aiohttp.ServerDisconnectedError:
        raise _failed(f"{shown} failed: the server closed the connection", definite=False) from None
    except aiohttp.ClientPayloadError:
        raise _failed(f"{shown} failed: the connection broke within the answer", definite=False) from None
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        # Their texts may quote headers or the URL; the name of the fault is all that is safe to show.
        raise _failed(f"{shown} failed: {type(fault).__name__}", definite=False) from None


def _failed(detail: str, *, status: int = 500, definite: bool) -> CallFailed:
    error = WorkflowError("communication", status=status, title="HTTP call failed", detail=detail)
    return CallFailed(error, definite=definite)


def _os_reason(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLError):
        return f"TLS: {(fault.reason or 'unknown').lower().replace('_', ' ')}"
    if fault.errno is not None and fault.errno > 0:
        return os.strerror(fault.errno)
    return fault.strerror or type(fault).__name__


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
