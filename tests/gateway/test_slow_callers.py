"""Callers that read large responses slowly from a real gateway lose their connection, and delay no other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from iogate.compiler.revision import Limits
from iogate.store.store import Store
from tests.faults import raw_http
from tests.gateway.driver import Gateway, announced, api, connected, listening, publish, spawn, until
from tests.store.builders import accepted

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for connections in /proc")

BIG = api("big/x", limits=Limits(body=64 * 1024 * 1024))
SIZE = 1_500_000
SLOW = 3


@pytest.fixture
async def gateway(redis_url: str, store: Store, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with the least budget, which gives callers two seconds for a chunk."""
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, response_budget="1MiB", write_timeout="2s")
        try:
            await publish(store, BIG)
            await until(lambda: announced(store, gateway))
            yield gateway
        finally:
            gateway.stop()


class Slow:
    """A caller that reads two bytes every fifth of a second."""

    def __init__(self, gateway: Gateway, path: str) -> None:
        self._port, self._path = gateway.port, path
        self.is_cut = False

    async def read(self) -> None:
        while not await self._cut():
            await asyncio.sleep(0.3)
        self.is_cut = True

    async def _cut(self) -> bool:
        """Read until the connection is lost; return whether the response was the run."""
        loop = asyncio.get_running_loop()
        with socket.socket() as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            ours.setblocking(False)
            await loop.sock_connect(ours, ("127.0.0.1", self._port))
            await loop.sock_sendall(ours, raw_http.request("GET", self._path, [("host", "localhost")]))
            with contextlib.suppress(ConnectionError):
                if b" 503 " in await loop.sock_recv(ours, 20):
                    return False
                while connected(self._port, ours.getsockname()[1]):
                    await loop.sock_recv(ours, 2)
                    await asyncio.sleep(0.2)
            return True


async def test_slow_callers_are_cut_off_and_let_quick_ones_in(gateway: Gateway, store: Store) -> None:
    uid = await accepted(store.intake(), BIG, input=b'"' + b"a" * SIZE + b'"')
    path = f"/v1/runs/{uid}"
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:

        async def got() -> bool:
            try:
                reply = await client.get(path)
            except httpx.TransportError:
                return False  # a busy machine has stalled this caller for longer than a chunk may take
            assert reply.status_code in {200, 503}, reply
            if reply.status_code == 503:
                assert reply.headers["retry-after"] == "1"
                return False
            assert len(reply.json()["response"]["input"]) == SIZE
            return True

        await until(got)
        slow = [Slow(gateway, path) for _ in range(SLOW)]
        reading = [asyncio.create_task(each.read()) for each in slow]
        await until(got)

        async def all_cut() -> bool:
            return all(each.is_cut for each in slow)

        await until(all_cut, 60)
        await asyncio.gather(*reading)
        await until(got)
