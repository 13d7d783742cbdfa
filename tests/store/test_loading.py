"""A start waits for a store that loads slowly, reports progress, and never kills it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

import pytest

from iogate.store.embedded import readiness, server
from iogate.store.embedded.readiness import Loading, Serving, StartAborted, StartTimeout, client, socket_url
from iogate.store.embedded.server import start_embedded
from iogate.store.embedded.server_socket import socket_path

KEYS = 100_000
FILL = "for number = 1, ARGV[1] do redis.call('LPUSH', 'list', number) end"
TIMEOUT_S = 1.0


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder that loads for over ten seconds: the server sleeps after each key.

    A test sees it loading, however busy the machine is, and then does not wait for the end.
    """
    filled = start_embedded(tmp_path)
    with client(filled.url, 60) as plain:
        plain.eval(FILL, 0, KEYS)
    filled.stop()
    options = server._options
    delay = ["--key-load-delay", "100", "--enable-debug-command", "yes"]
    monkeypatch.setattr(server, "_options", lambda *given: [*options(*given), *delay])
    monkeypatch.setattr(readiness, "LOADING_TOLD_S", 0.2)
    monkeypatch.setattr(readiness, "FIRST_ASK_S", 0.05)  # shorter than between two answers of this server
    return tmp_path


def test_a_store_that_loads_longer_than_the_timeout_starts(
    slow: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spend, ends = StartTimeout.spend, 0.0

    def shortened(self: StartTimeout, state: Loading | Serving | None) -> None:
        nonlocal ends
        if isinstance(state, Loading) and not ends:
            # Not before: a busy machine may start the server late.
            ends = self._until = time.monotonic() + TIMEOUT_S
            self._timeout_s = TIMEOUT_S
        elif isinstance(state, Loading) and time.monotonic() > ends + 0.5:
            with client(socket_url(socket_path(self._folder)), 60) as plain:
                plain.config_set("key-load-delay", 0)
        spend(self, state)

    monkeypatch.setattr(StartTimeout, "spend", shortened)
    started = start_embedded(slow)
    assert time.monotonic() > ends > 0
    try:
        with client(started.url, 60) as plain:
            assert plain.llen("list") == KEYS
    finally:
        started.stop()
    records = [record for record in caplog.records if getattr(record, "action", "") == "store.loading"]
    assert records
    assert "the store loads its files: " in records[0].getMessage()
    percent = [record.__dict__["percent"] for record in records]
    assert percent == sorted(percent)


async def test_an_aborted_start_ends_the_loading_server_without_damage(
    slow: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    aborted = threading.Event()
    starting = asyncio.create_task(asyncio.to_thread(start_embedded, slow, aborted=aborted))
    async with asyncio.timeout(60):
        while not any(getattr(record, "action", "") == "store.loading" for record in caplog.records):
            assert not starting.done()
            await asyncio.sleep(0.01)
    aborted.set()
    with pytest.raises(StartAborted):
        await asyncio.wait_for(starting, 60)
    monkeypatch.undo()
    again = await asyncio.to_thread(start_embedded, slow)
    assert not again.adopted
    with client(again.url, 60) as plain:
        assert plain.llen("list") == KEYS
    await asyncio.to_thread(again.stop)
