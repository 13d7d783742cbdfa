"""Errors of the store: temporary ones are a store that cannot be used now."""

from __future__ import annotations

import pytest

from iogate.store import keys
from iogate.store.connection.failures import Unsaved
from iogate.store.embedded.server import temporary_server
from iogate.store.store import open_store
from tests.conftest import KINDS
from tests.failed_saves import fail_saves, repair_saves
from tests.keys import RING
from tests.store.builders import publish


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_cannot_save_is_unavailable_for_writes_until_it_can(kind: str) -> None:
    with temporary_server(KINDS[kind]) as server:
        fail_saves(server)
        store = await open_store(server.url, client_name="test", keyring=RING)
        try:
            assert await store.revisions.live() is None, "reads work"
            assert await store.call("EXISTS", keys.KEYS) == 0, "the first process could not write its name"
            with pytest.raises(Unsaved, match="MISCONF") as command:
                await store.call("SET", "one", "1")
            assert "free space on the disk of the server" in command.value.hint
            with pytest.raises(Unsaved, match="MISCONF") as script:
                await publish(store)
            assert script.value.hint == command.value.hint
            repair_saves(server)
            assert await publish(store) == 1
        finally:
            await store.close()
