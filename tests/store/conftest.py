"""Fixtures of the tests of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from iogate.store.embedded.server import EmbeddedServer
from iogate.store.runs import intake


@pytest.fixture
def patient_intake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls wait for the server of a busy machine, in tests that do not test the deadline."""
    monkeypatch.setattr(intake, "DEADLINE_S", 15.0)


@pytest.fixture
def plain(each_redis: EmbeddedServer) -> Iterator[Redis]:
    client = Redis.from_url(each_redis.url)
    yield client
    client.close()
