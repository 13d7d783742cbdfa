"""Primary endpoint: connections to sentinels."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from iogate.store.connection import primary_endpoint
from iogate.store.connection.primary_endpoint import Endpoint
from tests.store.builders import until


class MuteSentinel:
    """Sentinel that reads AUTH and never answers it."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        """Connections that the client has closed."""
        self.received = asyncio.Event()
        """Set once the bytes of AUTH have arrived."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        with contextlib.suppress(OSError):
            if await reader.read(1):
                self.received.set()
            await reader.read()
        self.closed += 1
        writer.close()

    async def has_closed(self, count: int) -> bool:
        return self.opened == self.closed == count


async def test_a_sentinel_that_never_answers_auth_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither after the timeout nor after a cancellation, as when a majority has answered before it."""
    sentinel = MuteSentinel()
    server = await asyncio.start_server(sentinel.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint(f"redis+sentinel://127.0.0.1:{port}/orders?sentinel_password=swordfish")
    try:
        assert await endpoint.agreed() is None, "the only sentinel has not answered in time"
        await until(lambda: sentinel.has_closed(1))
        sentinel.received.clear()
        monkeypatch.setattr(primary_endpoint, "ASK_S", 60.0)
        asking = asyncio.create_task(endpoint.agreed())
        await asyncio.wait_for(sentinel.received.wait(), 20)
        asking.cancel()
        await until(lambda: sentinel.has_closed(2))
        await asyncio.wait({asking})  # it ends after its connections
        assert asking.cancelled()
    finally:
        endpoint.close()
        server.close()
