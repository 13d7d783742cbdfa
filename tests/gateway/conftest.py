"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from iogate.store.store import Store
from tests.gateway.driver import World, opened


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    """A gateway in this process on an empty store."""
    async with opened(store) as found:
        yield found


@pytest.fixture
async def public_world(store: Store) -> AsyncIterator[World]:
    """The same, reachable from elsewhere."""
    async with opened(store, loopback=False) as found:
        yield found
