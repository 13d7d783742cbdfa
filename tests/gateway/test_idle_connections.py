"""Idle connections are closed while HTTP/2 is served; others are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from iogate.gateway.idle_connections import IdleConnections

IDLE_S = 0.3


@asynccontextmanager
async def served() -> AsyncIterator[tuple[IdleConnections, int]]:
    """A server that reads, and never closes a connection itself."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(100):
                pass
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    idle = IdleConnections(port, idle_s=IDLE_S, look_s=0.05)
    looking = asyncio.create_task(idle.run())
    try:
        async with server:
            yield idle, port
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_a_connection_without_a_request_is_closed_though_it_sends_bytes() -> None:
    async with served() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        closed = asyncio.create_task(reader.read())
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                while not closed.done():
                    writer.write(b"P")
                    await writer.drain()
                    await asyncio.sleep(0.02)
            with contextlib.suppress(ConnectionError):
                assert await closed == b""
        writer.close()


async def test_a_request_in_progress_keeps_its_connection() -> None:
    async with served() as (idle, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ended = asyncio.Event()

        async def app(scope: object, receive: object, send: object) -> None:
            await ended.wait()

        async def counted(scope: Any) -> None:
            await idle.counting(app)(scope, None, None)

        host, local = writer.get_extra_info("sockname")
        scope = {"type": "http", "client": (host, str(local))}
        request: asyncio.Task[None] = asyncio.create_task(counted(scope))
        closed = asyncio.create_task(reader.read())
        await asyncio.sleep(IDLE_S * 3)
        assert not closed.done()
        ended.set()
        await request
        async with asyncio.timeout(30):
            assert await closed == b""
        writer.close()
