"""Address of the store: the server of `redis_url`, or the primary that its sentinels name.

Used by `connection`, `pubsub` and the worker's registration in RQ. Invariant: if sentinels
disagree, the answer with the highest configuration epoch wins, because only a majority can raise the epoch.
The caller checks that the server is a primary.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hiredis

from iogate.errors import Misused
from iogate.settings import redis_url
from iogate.settings.redis_url import Host, Sentinels
from iogate.store.connection.failures import StoreUnavailable
from iogate.store.connection.socket import KEEPALIVE, Socket, address_of, open_socket, options_of, pack

if TYPE_CHECKING:
    from redis import Redis

ASK_S = 0.5
"""Timeout of one sentinel; a slower one is ignored."""
FRESH_S = 0.5
"""Time for which the connections of a process share the answers of the sentinels."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """Answer of one sentinel about the primary."""

    epoch: int
    url: str
    moving: bool
    """A failover is in progress."""


class Endpoint:
    """Resolver of the primary, one per process and store; `current` is the primary of the last connection."""

    def __init__(self, url: str) -> None:
        """Read the URL of the endpoint: that of a server, or of sentinels that name the primary.

        Raises Misused for one that is not an address of Redis.
        """
        self._url = url
        self._sentinels = redis_url.sentinels(url)
        self._sockets: dict[Host, Socket] = {}
        self._asking: asyncio.Task[list[str]] | None = None
        self._asked_at = 0.0
        self.current = ""
        self.user = redis_url.username(url)
        try:
            self._options = options_of(self._first)
        except ValueError:
            # Without the reason, which may quote a password with a character that is not encoded.
            raise Misused(
                "redis_url is not a Redis address",
                code="IOG611",
                hint="redis://HOST:PORT/DB, rediss://… or unix:///PATH; "
                "write / ? # @ in a password as %2F %3F %23 %40",
            ) from None

    @property
    def _first(self) -> str:
        return self._url if self._sentinels is None else self._sentinels.server_url(*self._sentinels.hosts[0])

    @property
    def has_sentinels(self) -> bool:
        """True if sentinels name the primary of this endpoint."""
        return self._sentinels is not None

    @property
    def address(self) -> str:
        """Address of the store's endpoint, without credentials."""
        if self._sentinels is None:
            return address_of(self._url)
        return f"{address_of(self.current)} ({self._sentinels})" if self.current else str(self._sentinels)

    async def urls(self) -> list[str]:
        """Return the URLs of Redis servers that may be the primary, the likeliest first.

        Raises StoreUnavailable if no sentinel knows one.
        """
        if self._sentinels is None:
            return [self._url]
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self._asked_at > FRESH_S):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask_all(self._sentinels))
        found = await asyncio.shield(self._asking)
        if not found:
            raise StoreUnavailable(
                f"no sentinel names a primary: {self._sentinels}",
                hint="check hosts, NAME and the sentinels' password in redis_url",
            )
        return found

    def close(self) -> None:
        """Close the connections to the sentinels that name the primary."""
        if self._asking is not None:
            self._asking.cancel()
        for socket in self._sockets.values():
            socket.close("closed")
        self._sockets.clear()

    async def _ask_all(self, sentinels: Sentinels) -> list[str]:
        """Ask sentinels for the primary until a majority has answered; return URLs, newest epoch first."""
        majority = len(sentinels.hosts) // 2 + 1
        asking = {asyncio.create_task(self._ask(sentinels, host)) for host in sentinels.hosts}
        found: list[_Answer] = []
        try:
            for answered in asyncio.as_completed(asking):
                answer = await answered
                found += [answer] if answer is not None else []
                if len(found) >= majority:
                    break
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return list(dict.fromkeys(each.url for each in sorted(found, key=lambda each: -each.epoch)))

    async def agreed(self) -> str | None:
        """Return the URL of the primary on which a majority of sentinels agrees; None during a failover."""
        if self._sentinels is None:
            return self._url
        sentinels = self._sentinels
        answers = await asyncio.gather(*(self._ask(sentinels, host) for host in sentinels.hosts))
        found = [answer for answer in answers if answer is not None]
        if len(found) <= len(sentinels.hosts) // 2 or any(answer.moving for answer in found):
            return None
        urls = {answer.url for answer in found}
        return urls.pop() if len(urls) == 1 else None

    async def _ask(self, sentinels: Sentinels, host: Host) -> _Answer | None:
        """Ask one sentinel for the primary; None if it does not answer or knows none of that name."""
        socket = self._sockets.get(host)
        try:
            async with asyncio.timeout(ASK_S):
                if socket is None or not socket.open:
                    socket = self._sockets[host] = await self._open(sentinels, host)
                (reply,) = await socket.ask(pack("SENTINEL", "MASTER", sentinels.name), 1)
        except (TimeoutError, StoreUnavailable):
            if socket is not None:
                socket.close("no answer in time")
            return None
        except asyncio.CancelledError:
            if socket is not None and socket.owed:
                socket.close("not needed")
            raise
        if isinstance(reply, hiredis.ReplyError):
            socket.close("refused")
            return None
        fields = dict(zip(reply[::2], reply[1::2], strict=False))
        if not {b"ip", b"port"} <= fields.keys():
            return None
        return _Answer(
            epoch=int(fields.get(b"config-epoch", 0)),
            url=sentinels.server_url(fields[b"ip"].decode(), int(fields[b"port"])),
            moving=b"failover_in_progress" in fields.get(b"flags", b"").split(b","),
        )

    @staticmethod
    async def _open(sentinels: Sentinels, host: Host) -> Socket:
        socket = await open_socket(sentinels.sentinel_url(*host))
        try:
            await _authenticate(socket, sentinels, host)
        except BaseException:
            # Also after a timeout or a cancellation: nothing else refers to this socket.
            socket.close("not authenticated")
            raise
        return socket


async def _authenticate(socket: Socket, sentinels: Sentinels, host: Host) -> None:
    """Send the password of the sentinels, if any, over a new socket. Raises StoreUnavailable if refused."""
    if not sentinels.password:
        return
    user = (sentinels.username,) if sentinels.username else ()
    (reply,) = await socket.ask(pack("AUTH", *user, sentinels.password), 1)
    if isinstance(reply, hiredis.ReplyError):
        raise StoreUnavailable(f"the sentinel {host[0]}:{host[1]} refused AUTH: {reply}")


def blocking_client(url: str, **options: Any) -> Redis:
    """Return a redis-py client for the primary; with sentinels, it asks them at each connect."""
    from redis import Redis  # noqa: PLC0415 - slow to import, and only for a connection
    from redis.sentinel import Sentinel  # noqa: PLC0415 - as above

    sentinels = redis_url.sentinels(url)
    if not url.startswith("unix:"):
        options |= {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    if sentinels is None:
        client: Redis = Redis.from_url(url, **options)
        return client
    own = options_of(sentinels.server_url(*sentinels.hosts[0]))
    for name in ("host", "port"):
        own.pop(name, None)
    tls = {name: value for name, value in own.items() if name.startswith("ssl_")} | (
        {"ssl": True} if sentinels.tls else {}
    )
    credentials = {"username": sentinels.username or None, "password": sentinels.password or None}
    manager = Sentinel(  # type: ignore[no-untyped-call] # redis-py is partly typed
        list(sentinels.hosts),
        sentinel_kwargs={**credentials, **tls, "socket_timeout": ASK_S, "socket_connect_timeout": ASK_S},
        **own,
        **tls,
        **options,
    )
    primary: Redis = manager.master_for(sentinels.name)  # type: ignore[no-untyped-call] # as above
    return primary
