"""A tap between a worker and Redis: counts the commits that go through, and tells when one is at a point.

Requests and answers pass as they are. Invariant: what the store does with a commit is known before anybody
is told of it, so that a kill hits the very point that is named.

    worker ── commit n ──▶ tap ──────────▶ store          `unsent`: here, before it is passed on
    worker ◀────────────── tap ◀── answer ── store        `applied`: here, before the answer is passed on
    worker ◀── answer n ── tap                            `answered`: here, after it was
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

import hiredis

from iogate.store.connection.connection import pack
from iogate.store.connection.scripts import script

Point = Literal["unsent", "applied", "answered"]
POINTS: tuple[Point, ...] = ("unsent", "applied", "answered")


@dataclass
class _Connection:
    sent: int = 0
    answered: int = 0
    watched: int = 0
    """Which of its requests is the commit in question; 0: none."""


@dataclass
class Tap:
    url: str
    """Of the store."""
    commits: int = 0
    """Counted since `set`."""
    _at: int = 0
    _point: Point = "unsent"
    _strike: Callable[[], None] = lambda: None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _port: int = 0

    @property
    def tapped(self) -> str:
        """The store's address through the tap."""
        return f"redis://127.0.0.1:{self._port}/{self._database}"

    def set(self, at: int, point: Point, strike: Callable[[], None]) -> None:
        """Count anew, and call `strike` once at a point of commit `at`; 0: never."""
        self.commits, self._at, self._point, self._strike = 0, at, point, strike

    async def __aenter__(self) -> Self:
        parts = urlsplit(self.url)
        self._parts = parts
        named = parse_qs(parts.query).get("db", [""])[0] if parts.scheme == "unix" else parts.path.strip("/")
        self._database = named or "0"
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        self._sha = script("commit").sha.encode()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._parts.scheme == "unix":
            store = await asyncio.open_unix_connection(self._parts.path)
        else:
            store = await asyncio.open_connection(self._parts.hostname, self._parts.port or 6379)
        connection = _Connection()
        both = {
            asyncio.create_task(self._requests(connection, reader, store[1])),
            asyncio.create_task(self._answers(connection, store[0], writer)),
        }
        self._tasks |= both
        with contextlib.suppress(ConnectionError):
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        self._tasks -= both
        writer.close()
        store[1].close()

    async def _requests(
        self, connection: _Connection, worker: asyncio.StreamReader, store: asyncio.StreamWriter
    ) -> None:
        parser = hiredis.Reader()
        while data := await worker.read(1 << 16):
            parser.feed(data)
            while (request := parser.gets()) is not False:
                if self._is_the_one(connection, request):
                    return
                store.write(pack(*request))
                connection.sent += 1
            await store.drain()

    def _is_the_one(self, connection: _Connection, request: Any) -> bool:
        """Count it; whether it must not be passed on."""
        if request[0].upper() != b"EVALSHA" or request[1] != self._sha:
            return False
        self.commits += 1
        if self.commits != self._at:
            return False
        if self._point == "unsent":
            self._strike()
            return True
        connection.watched = connection.sent + 1
        return False

    async def _answers(
        self, connection: _Connection, store: asyncio.StreamReader, worker: asyncio.StreamWriter
    ) -> None:
        parser = hiredis.Reader(notEnoughData=_MORE)
        while data := await store.read(1 << 16):
            parser.feed(data)
            while parser.gets() is not _MORE:
                connection.answered += 1
            reached = 0 < connection.watched <= connection.answered
            if reached and self._point == "applied":
                self._strike()
                return
            worker.write(data)
            await worker.drain()
            if reached:
                connection.watched = 0
                self._strike()


_MORE = object()
