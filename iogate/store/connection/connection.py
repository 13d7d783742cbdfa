"""Pipelined connection to Redis that reconnects by itself and has a deadline for every reply.

Used by every part of the store; only publish/subscribe goes through redis-py, because one command of its
asyncio client costs more than the whole accept. A `Connection` repeats only scripts, and only as often as
`attempts` allows. Invariants: it connects to a primary only. It is closed when the server is no longer the
primary, when an idle connection does not answer a probe, or when the sentinels name another primary. With
`replicas`, a script of CONFIRMED succeeds only if that many replicas have its writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import hiredis

from iogate.errors import WrongStore
from iogate.store import keys
from iogate.store.connection import scripts
from iogate.store.connection.failures import (
    DEMOTED,
    PASSING,
    CommandFailed,
    Drained,
    NotPrimary,
    StoreFull,
    StoreUnavailable,
    Unanswered,
    Unconfirmed,
    failure,
)
from iogate.store.connection.primary_endpoint import Endpoint
from iogate.store.connection.server_support import check_server, too_old
from iogate.store.connection.socket import (
    SLOWEST,
    Argument,
    Socket,
    address_of,
    open_socket,
    options_of,
    pack,
)

__all__ = ["SLOWEST", "Argument", "CommandFailed", "Connection", "StoreFull", "StoreUnavailable", "pack"]

PROBE_S = 5.0
"""Idle time before a probe, and timeout of that probe."""
SENTINEL_S = 1.0
"""Interval at which the sentinels are asked for the primary."""
AGREE_S = 0.25
"""Interval at which they are asked until they agree."""
CONFIRM_MS = 1_000
"""Timeout of the replicas for the writes of a script."""
CONFIRMED: Final = frozenset(
    {
        "take",
        "commit",
        "emit",
        "publish",
        "enable",
        "restore",
        "cancel",
        "retry",
        "suspend",
        "resume",
        "schedule",
        "use_link",
    }
)
"""Scripts whose result has effects outside the store. `take` is one of them: after a failover that loses a
lease, the same token would be given to a second worker."""
CLOCK: Final = (("TIME",), ("MGET", keys.CLOCK_AHEAD))
"""Commands that read the time of the store; MGET returns nil for a key of another type."""
_PROBE = pack("HELLO", 2)


class Connection:
    """Connection to the primary; `timeout_s` bounds each call, plus time for the bytes of both directions."""

    def __init__(
        self, endpoint: Endpoint | str, *, name: str, timeout_s: float = 5.0, replicas: int = 0
    ) -> None:
        self._own_endpoint = isinstance(endpoint, str)
        self._endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self._name = name.replace(" ", "-")
        self._timeout_s = timeout_s
        self._socket: Socket | None = None
        self._monitor: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self.replicas = replicas
        """Number of replicas that must confirm the writes of a script of CONFIRMED."""

    @property
    def address(self) -> str:
        """Address of the store that this connection is to, without credentials."""
        return self._endpoint.address

    @property
    def has_sentinels(self) -> bool:
        """True if Sentinels name the primary of this connection."""
        return self._endpoint.has_sentinels

    async def close(self) -> None:
        if self._monitor is not None:
            self._monitor.cancel()
        if self._socket is not None:
            self._socket.close("closed")
            self._socket = None
        if self._own_endpoint:
            self._endpoint.close()
        await asyncio.sleep(0)

    async def call(self, *arguments: Argument) -> Any:
        """Send one Redis command over the connection and return its reply.

        Raises CommandFailed for an error reply, StoreUnavailable or StoreFull as `failure` maps it.
        """
        (reply,) = await self.send(pack(*arguments), 1)
        return self._checked(reply, str(arguments[0]))

    async def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send several commands over the connection in one write; return the replies, raise errors."""
        if not commands:
            return []
        replies = await self.send(b"".join(pack(*command) for command in commands), len(commands))
        return [
            self._checked(reply, str(command[0])) for reply, command in zip(replies, commands, strict=True)
        ]

    async def run(self, name: str, *arguments: Argument, attempts: int = 2) -> Any:
        """Call a Lua script over the connection and return its reply.

        All scripts are idempotent, so the call is repeated after a lost reply. Raises StoreUnavailable after
        `attempts` calls, Unconfirmed, Drained, and the errors of `call`.
        """
        script = scripts.script(name)
        confirmed = self.replicas if name in CONFIRMED else 0
        packed = pack("EVALSHA", script.sha, 0, *arguments)
        if confirmed:
            packed += self.confirmation(CONFIRM_MS)
        for attempt in range(1, attempts + 1):
            try:
                reply, *rest = await self.send(packed, 3 if confirmed else 1)
                if is_missing_script(reply):
                    await self.load()
                    reply, *rest = await self.send(packed, 3 if confirmed else 1)
                answer = self._checked(reply, "EVALSHA")
                if confirmed:
                    self.check_confirmation(rest)
            except (Unconfirmed, Drained):
                raise
            except StoreUnavailable:
                if attempt == attempts:
                    raise
            else:
                return answer
        raise AssertionError("attempts is at least 1")

    async def confirm(self) -> None:
        """Wait until `replicas` replicas have everything that the connection's primary has now.

        Raises Unconfirmed if they take too long.
        """
        if self.replicas:
            self.check_confirmation(await self.send(self.confirmation(CONFIRM_MS), 2))

    def confirmation(self, timeout_ms: int) -> bytes:
        """Return the commands of the connection that wait for the replicas; they have two replies.

        WAIT covers the last write of its own connection, and a repeated script writes nothing. The published
        message is replicated as well, and a full server accepts it.
        """
        return pack("PUBLISH", keys.CONFIRM_CHANNEL, "") + pack("WAIT", self.replicas, max(1, timeout_ms))

    def check_confirmation(self, replies: Sequence[Any]) -> None:
        """Check the replies of the connection to `confirmation`: whether enough replicas have confirmed.

        Raises Unconfirmed if too few replicas have confirmed, StoreUnavailable if the server is no longer
        the primary.
        """
        for reply, command in zip(replies, ("PUBLISH", "WAIT"), strict=True):
            self._checked(reply, command)
        if replies[-1] < self.replicas:
            raise Unconfirmed(replies[-1], self.replicas)

    async def send(self, packed: bytes, count: int, *, timeout_s: float | None = None) -> list[Any]:
        """Send packed commands over the connection; return `count` replies, errors included.

        Raises Unanswered if the replies do not arrive in time, StoreUnavailable if nothing was sent.
        """
        limit = self._timeout_s if timeout_s is None else timeout_s
        socket = None
        try:
            async with asyncio.timeout(limit) as bound:
                socket = await self._connected()
                replies = socket.ask(packed, count, bound if timeout_s is None else None)
                if timeout_s is None and (at := bound.when()) is not None:
                    bound.reschedule(at + socket.owed / SLOWEST)
                return await replies
        except TimeoutError:
            late = f"{self.address} gave no answer within {limit:g} s"
            if socket is None:
                raise StoreUnavailable(late) from None
            socket.close("no answer in time")
            raise Unanswered(late) from None

    async def load(self) -> None:
        """Load every Lua script into the server of the connection."""
        await self.calls([("SCRIPT", "LOAD", scripts.script(name).text) for name in scripts.names()])

    async def check_primary(self) -> None:
        """Check that the server is the primary; close the connection if not.

        Raises StoreUnavailable if it is not, WrongStore if iogate cannot use it.
        """
        (reply,) = await self.send(_PROBE, 1)
        self._check_server(self._checked(reply, "HELLO"), self._socket)

    async def settle(self, limit_s: float) -> bool:
        """Settle the connection on the primary that all sentinels name; return False if they do not agree.

        During a failover the old primary still reports that it is one.
        """
        until = time.monotonic() + limit_s
        while (url := await self._endpoint.agreed()) is None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(AGREE_S)
        if self._socket is not None and self._socket.url != url:
            self._socket.close("the primary has moved")
        socket = await self._connected()
        return not self.has_sentinels or socket.url == url

    def failure(self, reply: str, command: str) -> Exception:
        """Return the exception for an error reply over the connection; close it if the server was demoted."""
        if DEMOTED.search(reply) and self._socket is not None:
            self._socket.close("the server is not the primary any more")
        return failure(reply, address=self.address, user=self._endpoint.user, command=command.upper())

    def _checked(self, reply: Any, command: str) -> Any:
        if isinstance(reply, hiredis.ReplyError):
            raise self.failure(str(reply), command)
        return reply

    # Connect.

    async def _connected(self) -> Socket:
        socket = self._socket
        if socket is not None and socket.open:
            return socket
        async with self._connecting:
            if self._socket is not None and self._socket.open:
                return self._socket
            socket = self._socket = await self._connect()
            if self._monitor is not None:
                self._monitor.cancel()
            self._monitor = asyncio.create_task(self._watch(), name="store connection")
            return socket

    async def _connect(self) -> Socket:
        """Open the connection to the first of the candidates that is the primary."""
        refused: StoreUnavailable | None = None
        for url in await self._endpoint.urls():
            try:
                socket = await open_socket(url)
                try:
                    await self._log_in(socket)
                except BaseException:
                    socket.close("not ready")
                    raise
            except StoreUnavailable as error:
                refused = error
                continue
            self._endpoint.current = url
            return socket
        assert refused is not None
        raise refused

    async def _log_in(self, socket: Socket) -> None:
        """Log in, name the connection and load the scripts, which a restart has removed."""
        where = options_of(socket.url)
        commands: list[Sequence[Argument]] = []
        if where.get("password"):
            user = (where["username"],) if where.get("username") else ()
            commands.append(("AUTH", *user, where["password"]))
        commands.append(("HELLO", 2))
        if where.get("db"):
            commands.append(("SELECT", where["db"]))
        commands.append(("CLIENT", "SETNAME", self._name))
        replies = await self._call_all(socket, commands)
        self._check_server(replies[commands.index(("HELLO", 2))], socket)
        # After the login: a server closes a connection that sends much before it is authenticated.
        await self._call_all(
            socket, [("SCRIPT", "LOAD", scripts.script(name).text) for name in scripts.names()]
        )

    async def _call_all(self, socket: Socket, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        packed = b"".join(pack(*command) for command in commands)
        replies = await socket.ask(packed, len(commands))
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                self._raise_refused(address_of(socket.url), command, str(reply))
        return replies

    def _raise_refused(self, address: str, command: Sequence[Argument], reply: str) -> None:
        named = " ".join(str(part) for part in command[: 2 if command[0] in {"CLIENT", "SCRIPT"} else 1])
        if PASSING.search(reply):
            raise StoreUnavailable(f"{address}: {reply}")
        found = failure(reply, address=address, user=self._endpoint.user, command=named)
        if isinstance(found, WrongStore):
            raise found
        if reply.startswith("ERR unknown command") and named == "HELLO":
            raise too_old(address, "before 6.0")
        raise WrongStore(
            f"the store at {address} refused {named}: {reply}",
            code="IOG612",
            hint="check user, password and database in redis_url, and the rights of that user",
        )

    def _check_server(self, reply: Sequence[Any], socket: Socket | None) -> None:
        """Check the reply of HELLO; close the connection to a replica. Raises as `check_server` does."""
        address = address_of(socket.url) if socket is not None and socket.url else self.address
        try:
            check_server(reply, address)
        except NotPrimary:
            if socket is not None:
                socket.close("the server is a replica")
            raise

    # Monitor.

    async def _watch(self) -> None:
        """Close the connection when it is dead or its server is no longer the primary."""
        while self._socket is not None and self._socket.open:
            socket = self._socket
            await asyncio.sleep(SENTINEL_S if self._endpoint.has_sentinels else PROBE_S)
            if self._endpoint.has_sentinels:
                await self._follow(socket)
            if socket.open and not socket.owed and time.monotonic() - socket.heard_at >= PROBE_S:
                await self._probe(socket)

    async def _probe(self, socket: Socket) -> None:
        try:
            async with asyncio.timeout(PROBE_S):
                (reply,) = await socket.ask(_PROBE, 1)
        except (TimeoutError, StoreUnavailable):
            socket.close("an idle connection gave no answer")
            return
        if isinstance(reply, hiredis.ReplyError):
            return
        try:
            self._check_server(reply, socket)
        except (StoreUnavailable, WrongStore):
            socket.close("the server is not the store any more")

    async def _follow(self, socket: Socket) -> None:
        """Move the connection to the primary that the sentinels name, once it is the primary."""
        try:
            if (await self._endpoint.urls())[0] == socket.url:
                return
            async with asyncio.timeout(self._timeout_s):
                found = await self._connect()
        except (TimeoutError, StoreUnavailable, WrongStore):
            return
        if found.url == socket.url or self._socket is not socket:
            found.close("not needed")
            return
        self._socket = found
        socket.close("the primary has moved")


def is_missing_script(reply: Any) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    """Decode a Redis hash from a reply of the connection, alternating names and values."""
    items = iter(flat)
    return {name.decode(): value for name, value in zip(items, items, strict=True)}


def time_ms(clock: Sequence[bytes]) -> int:
    """Convert the reply of the connection to TIME to milliseconds."""
    return int(clock[0]) * 1000 + int(clock[1]) // 1000


def store_time_ms(clock: Sequence[bytes], ahead: Sequence[bytes | None]) -> int:
    """Return the time of the store in ms from the connection's replies to CLOCK, as `time.lua` does."""
    (text,) = ahead
    return time_ms(clock) + (int(text) if text and len(text) < 12 and text.isdigit() else 0)
