"""Socket to a Redis server that returns replies in the order of the commands.

Used by `connection` and `primary_endpoint`. Invariant: a reply always belongs to its command; after a
deadline or a protocol error the socket is closed and not read any further.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections import deque
from typing import Any, cast
from urllib.parse import unquote, urlparse

import hiredis

from iogate.store.connection.failures import StoreUnavailable, Unanswered

Argument = bytes | str | int | float

KEEPALIVE_S = 30
"""Idle time before a TCP keepalive probe, shorter than the timeouts of usual middleboxes."""
KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


SLOWEST = 4 * 1024**2
"""Assumed slowest transfer rate in bytes per second; large requests and replies get more time accordingly."""
_STEP = 1024**2
"""Bytes of replies after which the deadlines of waiting commands are extended."""
_INCOMPLETE = object()
_Asked = tuple[asyncio.Future[list[Any]], int, list[Any], int, asyncio.Timeout | None]
"""Future of a command, number of its replies, those that have arrived, its bytes, and its deadline."""


class Socket(asyncio.Protocol):
    """Protocol that parses replies and resolves the futures of their commands in order."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._asked: deque[_Asked] = deque()
        self._arrived = 0
        """Bytes of replies since the last extension of deadlines."""
        self.owed = 0
        """Bytes of commands without a reply; the next command waits for these as well."""
        self.url = ""
        """URL of the server."""
        self.heard_at = time.monotonic()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other event loops, such as uvloop, have transport classes of their own.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                answer, count, replies, size, _ = self._asked[0]
                replies.append(reply)
                if len(replies) == count:
                    self._asked.popleft()
                    self.owed -= size
                    if not answer.done():
                        answer.set_result(replies)
        except (hiredis.ProtocolError, IndexError) as error:
            self.close(f"invalid reply: {error}")
        self._arrived += len(data)
        if self._arrived >= _STEP:
            self._extend_deadlines()

    def _extend_deadlines(self) -> None:
        """Give each waiting command the time that the bytes of replies have taken at most."""
        more_s, self._arrived = self._arrived / SLOWEST, 0
        for answer, *_, deadline in self._asked:
            if deadline is not None and not answer.done() and (at := deadline.when()) is not None:
                deadline.reschedule(at + more_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"connection lost{f': {exc}' if exc else ''}")

    def ask(
        self, packed: bytes, count: int, deadline: asyncio.Timeout | None = None
    ) -> asyncio.Future[list[Any]]:
        """Send packed commands with `count` replies; `deadline` is extended while bytes of replies arrive.

        It has to be entered until the future is done. The future raises StoreUnavailable if nothing was
        sent, Unanswered if the socket is closed before the replies.
        """
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            answer.set_exception(StoreUnavailable("connection lost"))
            return answer
        self._asked.append((answer, count, [], len(packed), deadline))
        self.owed += len(packed)
        self.transport.write(packed)
        return answer

    @property
    def open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def close(self, why: str) -> None:
        if self.transport is not None:
            self.transport.abort()
        while self._asked:
            answer, *_ = self._asked.popleft()
            if not answer.done():
                answer.set_exception(Unanswered(why))


def pack(*arguments: Argument) -> bytes:
    """Encode a command for the socket in the protocol of Redis."""
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type] # its stub means tuple[X, ...]
    return packed


def address_of(url: str) -> str:
    """Return the address of a socket's server without credentials, for messages."""
    where = options_of(url)
    if "path" in where:
        return f"unix://{where['path']}"
    return f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"


def options_of(url: str) -> dict[str, Any]:
    """Return the options of a socket in a URL, as redis-py parses them.

    Raises ValueError for a URL that is not a Redis address.
    """
    if "?" not in url:
        return _plain_options(url)
    from redis.connection import parse_url  # noqa: PLC0415 - slow to import, and only for options in a query

    options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call] # redis-py's own
    options.pop("connection_class", None)
    return options


def _plain_options(url: str) -> dict[str, Any]:
    """Return the options of a socket in a URL without a query: redis-py takes 60 ms to import."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("not a Redis address")
    parts = urlparse(url)
    found: dict[str, Any] = {"username": parts.username, "password": parts.password}
    if parts.scheme == "unix":
        found["path"] = parts.path
    else:
        found["host"] = parts.hostname
    options: dict[str, Any] = {name: unquote(value) for name, value in found.items() if value}
    if parts.scheme == "unix":
        return options
    if parts.port:
        options["port"] = parts.port
    with contextlib.suppress(ValueError):  # a path that is no number is ignored
        if parts.path:
            options["db"] = int(unquote(parts.path).replace("/", ""))
    return options


async def open_socket(url: str) -> Socket:
    """Open a socket to the server at `url`, without a login.

    Raises StoreUnavailable if the connection fails.
    """
    loop = asyncio.get_running_loop()
    where = options_of(url)
    try:
        if "path" in where:
            _, opened = await loop.create_unix_connection(Socket, where["path"])
        else:
            host, port = where.get("host", "localhost"), where.get("port", 6379)
            _, opened = await loop.create_connection(Socket, host, port, ssl=_tls(url, where))
            _keep_alive(opened)
    except OSError as error:
        raise StoreUnavailable(f"{address_of(url)}: {error.strerror or error}") from None
    except UnicodeError:
        # A label of the name is empty or too long.
        raise StoreUnavailable(f"{address_of(url)}: not a valid host name") from None
    opened.url = url
    return opened


def _keep_alive(opened: Socket) -> None:
    found = opened.transport.get_extra_info("socket") if opened.transport is not None else None
    if found is None:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        found.setsockopt(socket.IPPROTO_TCP, option, value)


def _tls(url: str, where: dict[str, Any]) -> ssl.SSLContext | None:
    if not url.startswith("rediss:"):
        return None
    context = ssl.create_default_context(cafile=where.get("ssl_ca_certs"))
    if where.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if where.get("ssl_certfile"):
        context.load_cert_chain(where["ssl_certfile"], where.get("ssl_keyfile"))
    return context
