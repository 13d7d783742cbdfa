"""One connection to the store that comes back by itself: pipelined, with a deadline on every answer.

Used by every part of the store; only publish/subscribe goes through redis-py, whose asyncio client
costs more a command than the whole accept. A `Connection` never sends twice on its own: who calls a script
that may be repeated says so (`attempts`). Invariants: each connection is to a primary when it is made,
and is closed when the server says that it is none any more, when an idle connection does not answer a
probe, or when the sentinels name another primary; with `replicas`, a script of CONFIRMED has succeeded
only if that many replicas have its writes.
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
from iogate.store.connection.endpoint import Endpoint
from iogate.store.connection.failures import (
    DEMOTED,
    PASSING,
    CommandFailed,
    Drained,
    NotPrimary,
    StoreFull,
    StoreUnavailable,
    Unconfirmed,
    failure,
)
from iogate.store.connection.socket import Argument, Socket, address_of, open_socket, options_of, pack
from iogate.store.embedded.binaries import OLDEST

__all__ = ["Argument", "CommandFailed", "Connection", "StoreFull", "StoreUnavailable", "pack"]

SLOWEST = 4 * 1024**2
"""Bytes a second that a store is given to take in what is asked of it."""
PROBE_S = 5.0
"""An idle connection is probed after this time, and closed if the answer takes as long again."""
SENTINEL_S = 1.0
"""How often the sentinels are asked whether the primary is still the primary."""
AGREE_S = 0.25
"""How often they are asked until they agree."""
CONFIRM_MS = 1_000
"""How long a script waits for its replicas."""
CONFIRMED: Final = frozenset(
    {"take", "commit", "emit", "publish", "enable", "cancel", "retry", "suspend", "resume"}
)
"""Scripts whose answer somebody acts on outside the store. A `take` is one of them: a lease that a failover
loses is given again with the same token, and two workers would pass as one."""
_PROBE = pack("HELLO", 2)


class Connection:
    """See the module. `timeout_s` bounds each call, connecting included; more where much is on the socket."""

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
        """How many replicas must have what a script of CONFIRMED wrote; 0: none."""

    @property
    def address(self) -> str:
        """Where the store is, without credentials."""
        return self._endpoint.address

    @property
    def watched(self) -> bool:
        """Whether sentinels say where the primary is."""
        return self._endpoint.watched

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
        """One command; its error is raised as CommandFailed."""
        (reply,) = await self.send(pack(*arguments), 1)
        return self._checked(reply, str(arguments[0]))

    async def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Several commands in one write."""
        if not commands:
            return []
        replies = await self.send(b"".join(pack(*command) for command in commands), len(commands))
        return [
            self._checked(reply, str(command[0])) for reply, command in zip(replies, commands, strict=True)
        ]

    async def run(self, name: str, *arguments: Argument, attempts: int = 2) -> Any:
        """Call a script. Every script may be repeated, so a lost reply is asked for again, once."""
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
        """Return once `replicas` replicas have everything that the primary has now.

        Raises Unconfirmed if they take too long.
        """
        if self.replicas:
            self.check_confirmation(await self.send(self.confirmation(CONFIRM_MS), 2))

    def confirmation(self, timeout_ms: int) -> bytes:
        """Return the commands that wait for the replicas; they have two replies.

        A repeated script writes nothing, and WAIT looks at what its own connection has last sent to the
        replicas: a message to nobody is sent to them, too, and a full server takes it.
        """
        return pack("PUBLISH", keys.CONFIRM_CHANNEL, "") + pack("WAIT", self.replicas, max(1, timeout_ms))

    def check_confirmation(self, replies: Sequence[Any]) -> None:
        """Look at the replies of `confirmation`.

        Raises Unconfirmed if too few replicas have confirmed, StoreUnavailable if the server is not the
        primary any more.
        """
        for reply, command in zip(replies, ("PUBLISH", "WAIT"), strict=True):
            self._checked(reply, command)
        if replies[-1] < self.replicas:
            raise Unconfirmed(replies[-1], self.replicas)

    async def send(self, packed: bytes, count: int, *, timeout_s: float | None = None) -> list[Any]:
        """Write packed commands and wait for `count` answers; errors among them are returned."""
        limit = self._timeout_s if timeout_s is None else timeout_s
        socket = None
        try:
            async with asyncio.timeout(limit) as bound:
                socket = await self._connected()
                answer = socket.ask(packed, count)
                if timeout_s is None and (at := bound.when()) is not None:
                    bound.reschedule(at + socket.owed / SLOWEST)
                return await answer
        except TimeoutError:
            if socket is not None:
                socket.close("no answer in time")
            raise StoreUnavailable(f"{self.address} gave no answer within {limit:g} s") from None

    async def load(self) -> None:
        """Load every script again."""
        await self.calls([("SCRIPT", "LOAD", scripts.script(name).text) for name in scripts.names()])

    async def check_primary(self) -> None:
        """Ask the server whether it is the primary now.

        Raises StoreUnavailable if not, and closes the connection.
        """
        (reply,) = await self.send(_PROBE, 1)
        self._check_server(self._checked(reply, "HELLO"), self._socket)

    async def settle(self, limit_s: float) -> bool:
        """Connect to the primary that all sentinels name; False if they do not agree in time.

        In the middle of a failover the old primary still says that it is one.
        """
        until = time.monotonic() + limit_s
        while (url := await self._endpoint.agreed()) is None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(AGREE_S)
        if self._socket is not None and self._socket.url != url:
            self._socket.close("the primary has moved")
        socket = await self._connected()
        return not self.watched or socket.url == url

    def failure(self, reply: str, command: str) -> Exception:
        """Return the failure that an error reply means; a server that is no primary any more is left."""
        if DEMOTED.search(reply) and self._socket is not None:
            self._socket.close("the server is not the primary any more")
        return failure(reply, address=self.address, user=self._endpoint.user, command=command.upper())

    def _checked(self, reply: Any, command: str) -> Any:
        if isinstance(reply, hiredis.ReplyError):
            raise self.failure(str(reply), command)
        return reply

    # Connecting.

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
        """Connect to the first of the candidates that is the primary."""
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
        """Log in, name the connection and load the scripts: they are gone after a restart."""
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
        # Apart from the login: a server cuts off who sends much before having logged in.
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
            raise _too_old(address, "before 6.0")
        raise WrongStore(
            f"the store at {address} refused {named}: {reply}",
            code="IOG612",
            hint="check user, password and database in redis_url, and the rights of that user",
        )

    def _check_server(self, reply: Sequence[Any], socket: Socket | None) -> None:
        """Check the reply of HELLO: iogate needs the primary of a store that is no cluster."""
        server = {
            str(name, "utf-8", "replace"): value for name, value in zip(reply[::2], reply[1::2], strict=False)
        }
        address = address_of(socket.url) if socket is not None and socket.url else self.address
        version, mode = _text(server.get("version")), _text(server.get("mode"))
        if version and too_old(version):
            raise _too_old(address, version)
        if mode == "cluster":
            raise WrongStore(
                f"the store at {address} is a cluster: scripts of iogate use keys of several slots",
                code="IOG651",
                hint="set redis_url to a server with `cluster-enabled no`",
            )
        if mode == "sentinel":
            raise WrongStore(
                f"{address} is a sentinel and holds no data",
                code="IOG651",
                hint=f"set redis_url to redis+sentinel://{address}/NAME, with the NAME of `sentinel monitor`",
            )
        if _text(server.get("role")) in {"replica", "slave"}:
            if socket is not None:
                socket.close("the server is a replica")
            raise NotPrimary(address)

    # Keeping.

    async def _watch(self) -> None:
        """Close the connection when it is dead or its server is not the primary any more."""
        while self._socket is not None and self._socket.open:
            socket = self._socket
            await asyncio.sleep(SENTINEL_S if self._endpoint.watched else PROBE_S)
            if self._endpoint.watched:
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
        """Move to the primary that the sentinels name, once it is one."""
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


def too_old(version: str) -> bool:
    """Tell whether a server of this version lacks commands that the store uses."""
    return tuple(int(part) for part in version.split(".")[:2]) < OLDEST


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _too_old(address: str, version: str) -> WrongStore:
    return WrongStore(
        f"the store at {address} is Redis {version}; iogate needs 6.2 or later",
        code="IOG612",
        hint="upgrade it, or set redis_url to a newer server",
    )


def is_missing_script(reply: Any) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    """A hash, as Redis answers it: names and values in turn."""
    items = iter(flat)
    return {name.decode(): value for name, value in zip(items, items, strict=True)}


def time_ms(clock: Sequence[bytes]) -> int:
    """What TIME answered, in milliseconds."""
    return int(clock[0]) * 1000 + int(clock[1]) // 1000
