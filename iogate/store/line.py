"""One connection to Redis that comes back by itself: pipelined, with a deadline on every answer.

Used by every part of the store; only publish/subscribe goes through redis-py, whose asyncio client
costs more a command than the whole accept. A `Line` never sends twice on its own: who calls a script
that may be repeated says so (`attempts`). Invariant: an answer always belongs to the command that
asked for it; after a deadline or a broken reply the connection is closed, never read on.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.connection import parse_url

from iogate.errors import Misused, Unreachable, WrongStore
from iogate.store import scripts

Argument = bytes | str | int | float


class StoreUnavailable(Unreachable):
    """The store did not answer; whether it did what was asked is unknown."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the store is out of reach: {detail}",
            code="IOG610",
            hint="start one with `iogate up`, or check redis_url",
        )


class StoreFull(Unreachable):
    """The store takes nothing in: what is under way needs the rest of its memory, or there is none left."""

    def __init__(self) -> None:
        super().__init__(
            "the store is full: its memory is at its limit, or so near that it takes nothing in",
            code="IOG617",
            hint="delete ended runs with `iogate runs prune`, or raise the server's maxmemory",
        )


SLOWEST = 4 * 1024**2
"""Bytes a second that a store is given to take in what is asked of it."""


class CommandFailed(Exception):
    """Redis answered with an error: the command had no effect beyond what its script had done."""


_OOM = re.compile(r"\bOOM command not allowed\b")
"""Refusal of a write by a server over its maxmemory, as it is or within a script's error."""
_INCOMPLETE = object()


class _Wire(asyncio.Protocol):
    """Bytes to answers, first asked first answered."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._asked: deque[tuple[asyncio.Future[list[Any]], int, list[Any], int]] = deque()
        self.owed = 0
        """Bytes of what was asked and is not answered: who asks next waits for that, too."""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A loop that is not asyncio's own has classes of its own.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                answer, count, replies, size = self._asked[0]
                replies.append(reply)
                if len(replies) == count:
                    self._asked.popleft()
                    self.owed -= size
                    if not answer.done():
                        answer.set_result(replies)
        except (hiredis.ProtocolError, IndexError) as error:
            self.close(f"not Redis's protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"connection lost{f': {exc}' if exc else ''}")

    def ask(self, packed: bytes, count: int) -> asyncio.Future[list[Any]]:
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            answer.set_exception(StoreUnavailable("connection lost"))
            return answer
        self._asked.append((answer, count, [], len(packed)))
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
                answer.set_exception(StoreUnavailable(why))


def pack(*arguments: Argument) -> bytes:
    """A command as Redis reads it."""
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type] # its stub means tuple[X, ...]
    return packed


class Line:
    """See the module. `timeout_s` bounds each call, connecting included; more where much is on the wire."""

    def __init__(self, url: str, *, name: str, timeout_s: float = 5.0) -> None:
        self._name = name.replace(" ", "-")
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._connecting = asyncio.Lock()
        try:
            self._where: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call] # redis-py's own
        except ValueError as error:
            raise Misused(
                f"redis_url is not a Redis address: {error}",
                code="IOG611",
                hint="redis://HOST:PORT/DB, rediss://… or unix:///PATH",
            ) from None

    @property
    def address(self) -> str:
        """Where the store is, without credentials."""
        if "path" in self._where:
            return f"unix://{self._where['path']}"
        return f"{self._where.get('host', 'localhost')}:{self._where.get('port', 6379)}"

    async def close(self) -> None:
        if self._wire is not None:
            self._wire.close("closed")
            self._wire = None
        await asyncio.sleep(0)

    async def call(self, *arguments: Argument) -> Any:
        """One command; its error is raised as CommandFailed."""
        (reply,) = await self.send(pack(*arguments), 1)
        return _checked(reply)

    async def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Several commands in one write."""
        if not commands:
            return []
        replies = await self.send(b"".join(pack(*command) for command in commands), len(commands))
        return [_checked(reply) for reply in replies]

    async def run(self, name: str, *arguments: Argument, attempts: int = 2) -> Any:
        """Call a script. Every script may be repeated, so a lost reply is asked for again, once."""
        script = scripts.script(name)
        packed = pack("EVALSHA", script.sha, 0, *arguments)
        for attempt in range(1, attempts + 1):
            try:
                (reply,) = await self.send(packed, 1)
                if is_missing_script(reply):
                    await self.load()
                    (reply,) = await self.send(packed, 1)
                return _checked(reply)
            except StoreUnavailable:
                if attempt == attempts:
                    raise
        raise AssertionError("attempts is at least 1")

    async def send(self, packed: bytes, count: int, *, timeout_s: float | None = None) -> list[Any]:
        """Write packed commands and wait for `count` answers; errors among them are returned."""
        limit = self._timeout_s if timeout_s is None else timeout_s
        wire = None
        try:
            async with asyncio.timeout(limit) as bound:
                wire = await self._connected()
                answer = wire.ask(packed, count)
                if timeout_s is None and (at := bound.when()) is not None:
                    bound.reschedule(at + wire.owed / SLOWEST)
                return await answer
        except TimeoutError:
            if wire is not None:
                wire.close("no answer in time")
            raise StoreUnavailable(f"{self.address} gave no answer within {limit:g} s") from None

    async def load(self) -> None:
        """Load every script again."""
        await self.calls([("SCRIPT", "LOAD", scripts.script(name).text) for name in scripts.names()])

    async def _connected(self) -> _Wire:
        wire = self._wire
        if wire is not None and wire.open:
            return wire
        async with self._connecting:
            if self._wire is not None and self._wire.open:
                return self._wire
            wire = await self._connect()
            self._wire = wire
            return wire

    async def _connect(self) -> _Wire:
        loop = asyncio.get_running_loop()
        where = self._where
        try:
            if "path" in where:
                _, wire = await loop.create_unix_connection(_Wire, where["path"])
            else:
                _, wire = await loop.create_connection(
                    _Wire, where.get("host", "localhost"), where.get("port", 6379), ssl=_tls(where)
                )
        except OSError as error:
            raise StoreUnavailable(f"{self.address}: {error.strerror or error}") from None
        try:
            await self._introduce(wire)
        except BaseException:
            wire.close("not ready")
            raise
        return wire

    async def _introduce(self, wire: _Wire) -> None:
        """Log in, name the connection and load the scripts: they are gone after a restart."""
        where = self._where
        commands: list[Sequence[Argument]] = []
        if where.get("password"):
            user = (where["username"],) if where.get("username") else ()
            commands.append(("AUTH", *user, where["password"]))
        if where.get("db"):
            commands.append(("SELECT", where["db"]))
        commands.append(("CLIENT", "SETNAME", self._name))
        await self._insist(wire, commands)
        # Apart from the login: a server cuts off who sends much before having logged in.
        await self._insist(wire, [("SCRIPT", "LOAD", scripts.script(name).text) for name in scripts.names()])

    async def _insist(self, wire: _Wire, commands: Sequence[Sequence[Argument]]) -> None:
        packed = b"".join(pack(*command) for command in commands)
        for command, reply in zip(commands, await wire.ask(packed, len(commands)), strict=True):
            if isinstance(reply, hiredis.ReplyError):
                _refuse(self.address, str(command[0]), str(reply))


def _refuse(address: str, command: str, reply: str) -> None:
    if reply.startswith(("LOADING", "BUSY", "MASTERDOWN")):
        raise StoreUnavailable(f"{address}: {reply}")
    raise WrongStore(
        f"the store at {address} refused {command}: {reply}",
        code="IOG612",
        hint="check user, password and database in redis_url, and the rights of that user",
    )


def _tls(where: dict[str, Any]) -> ssl.SSLContext | None:
    if "SSL" not in getattr(where.get("connection_class"), "__name__", ""):
        return None
    context = ssl.create_default_context(cafile=where.get("ssl_ca_certs"))
    if where.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if where.get("ssl_certfile"):
        context.load_cert_chain(where["ssl_certfile"], where.get("ssl_keyfile"))
    return context


def is_missing_script(reply: Any) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    """A hash, as Redis answers it: names and values in turn."""
    items = iter(flat)
    return {name.decode(): value for name, value in zip(items, items, strict=True)}


def time_ms(clock: Sequence[bytes]) -> int:
    """What TIME answered, in milliseconds."""
    return int(clock[0]) * 1000 + int(clock[1]) // 1000


def _checked(reply: Any) -> Any:
    if isinstance(reply, hiredis.ReplyError):
        text = str(reply)
        if text.startswith(("LOADING", "MASTERDOWN", "BUSY", "READONLY")):
            raise StoreUnavailable(text)
        if _OOM.search(text):
            raise StoreFull
        raise CommandFailed(text)
    return reply
