"""HTTP client for commands that call a gateway; `http_calls` makes the calls of workflows.

Called by the command line: `api call`, `debug`, and every command that works over the HTTP API of operators.
A person configured the address, so no address is forbidden; the client follows no redirects and keeps no
cookies.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

import iogate
from iogate.errors import Unreachable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    """Look-ups ignore case."""
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """Return the body of a gateway's response as JSON; raises ValueError if it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """One server-sent event."""

    name: str
    data: str
    id: str = ""


def sent_target(path: str) -> str:
    """Return a path with its query as the gateway client sends it, with its own percent-encoding."""
    return URL(path).raw_path_qs


def _trusting(certificate: str) -> aiohttp.TCPConnector:
    """Return a connector of the gateway client that trusts exactly the certificates in a file.

    Raises Unreachable if the file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError as error:
        raise Unreachable(f"cannot read the certificate {certificate}: {error.strerror}") from error
    context.check_hostname = False  # it is the gateway of this machine, under an address of this machine
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return aiohttp.TCPConnector(ssl=context)


SILENCE_S: Final = 60.0
"""Time without a byte, after which a stream of events is given up; a gateway sends heartbeats."""


class NotTrusted(Unreachable):
    """The TLS handshake with a gateway failed, before anything was sent."""


class GatewayClient:
    """HTTP client for one gateway's base URL; an async context manager."""

    def __init__(self, base_url: str, *, timeout_s: float = 30.0, certificate: str | None = None) -> None:
        """`certificate`: PEM file with the only certificates to trust; their host names are not compared."""
        self._base_url = base_url.rstrip("/")
        self._certificate = certificate
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"iogate/{iogate.__version__}"},
        )
        return self

    def _connector(self) -> aiohttp.TCPConnector | None:
        if self._certificate is not None:
            return _trusting(self._certificate)
        if not self._base_url.startswith("https:"):
            return None
        # aiohttp reads SSL_CERT_FILE only when it is imported.
        return aiohttp.TCPConnector(ssl=ssl.create_default_context())

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Send one request to the gateway, to a path or an absolute URL, and read the whole response.

        The default Content-Type of a body is JSON. Raises Unreachable if there is no response, NotTrusted
        without a TLS session.
        """
        try:
            async with self._send(method, path, headers, query, body, timeout_s) as response:
                body_read = await response.read()
                return Response(status=response.status, headers=response.headers.copy(), body=body_read)
        except (aiohttp.ClientError, OSError) as fault:
            raise self._unreachable(fault) from fault

    async def events(
        self, path: str, *, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
    ) -> AsyncIterator[ServerSentEvent]:
        """Follow server-sent events with the client until the gateway ends them.

        Raises Unreachable if the stream breaks off or the path has no events, NotTrusted without a TLS
        session.
        """
        try:
            async with self._send(
                "GET", path, headers, None, None, timeout_s, silence_s=SILENCE_S
            ) as response:
                if response.status != 200:
                    raise Unreachable(f"{self._base_url} responded with {response.status} instead of events")
                name, data, id_ = "message", list[str](), ""
                async for line in _lines(response.content):
                    field, _, value = line.partition(":")
                    value = value.removeprefix(" ")
                    if not line:
                        if data:
                            yield ServerSentEvent(name=name, data="\n".join(data), id=id_)
                        name, data = "message", []
                    elif field == "event":
                        name = value
                    elif field == "data":
                        data.append(value)
                    elif field == "id":
                        id_ = value
        except (aiohttp.ClientError, OSError) as fault:
            raise self._unreachable(fault) from fault

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        body: bytes | None,
        timeout_s: float | None,
        *,
        silence_s: float | None = None,
    ) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        sent = dict(headers or {})
        if body is not None and not any(name.lower() == "content-type" for name in sent):
            sent["Content-Type"] = "application/json"
        total = self._timeout_s if timeout_s is None else timeout_s
        return self._session.request(
            method,
            path if "://" in path else self._base_url + path,
            headers=sent,
            params=query,
            data=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=total, sock_connect=5, sock_read=silence_s),
        )

    def _unreachable(self, fault: Exception) -> Unreachable:
        if isinstance(fault, aiohttp.ClientSSLError | ssl.SSLError):
            return NotTrusted(f"cannot reach the gateway at {self._base_url}: {_tls_reason(fault)}")
        if isinstance(fault, TimeoutError):
            reason = "no response in time"
        elif isinstance(fault, aiohttp.ClientConnectorError) and (fault.os_error.errno or 0) > 0:
            reason = os.strerror(fault.os_error.errno or 0)
        elif isinstance(fault, aiohttp.ServerDisconnectedError):
            reason = "it closed the connection"
        else:
            reason = str(fault) or type(fault).__name__
        return Unreachable(
            f"cannot reach the gateway at {self._base_url}: {reason}",
            hint='is it running? start it with "iogate up", or name it with host, port or public_url',
        )


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    """Yield the lines of a gateway's stream of events, of any length."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for each in ended:
            yield b"".join((*parts, each)).decode("utf-8", errors="replace").removesuffix("\r")
            parts = []
        parts.append(rest)


def _tls_reason(fault: Exception) -> str:
    """Return why the TLS handshake of the client with the gateway failed."""
    cause = getattr(fault, "certificate_error", None) or getattr(fault, "os_error", None) or fault
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"TLS failed: {cause.reason.lower().replace('_', ' ')}"
    return f"TLS failed: {cause}"
