"""Fixtures of the tests of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from iogate.store.embedded.server import EmbeddedServer
from iogate.testing.memory_store import MemoryStore
from tests.conftest import KINDS, Servers, opened_store
from tests.store.builders import RunStore


@pytest.fixture(params=[*KINDS, "memory"])
async def run_store(request: pytest.FixtureRequest, redis_servers: Servers) -> AsyncIterator[RunStore]:
    """Return an empty store of runs: on each server in turn, then in memory."""
    if request.param == "memory":
        yield MemoryStore()
        return
    async with opened_store(redis_servers[request.param].url) as opened:
        yield opened


@pytest.fixture
def plain(each_redis: EmbeddedServer) -> Iterator[Redis]:
    client = Redis.from_url(each_redis.url)
    yield client
    client.close()
