"""A start waits for a store that loads slowly, reports progress, and never kills it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

import pytest

from iogate.store.embedded import readiness, server
from iogate.store.embedded.readiness import StartAborted, client
from iogate.store.embedded.server import start_embedded

KEYS = 20_000


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder that loads for over two seconds: the server sleeps after each key."""
    filled = start_embedded(tmp_path)
    with client(filled.url, 60) as plain, plain.pipeline(transaction=False) as pipe:
        for number in range(KEYS):
            pipe.lpush("list", number)
        pipe.execute()
    filled.stop()
    options = server._options
    delay = ["--key-load-delay", "100", "--enable-debug-command", "yes"]
    monkeypatch.setattr(server, "_options", lambda *given: [*options(*given), *delay])
    monkeypatch.setattr(readiness, "LOADING_TOLD_S", 0.2)
    monkeypatch.setattr(readiness, "FIRST_ASK_S", 0.05)  # shorter than between two answers of this server
    return tmp_path


def test_a_store_that_loads_longer_than_the_timeout_starts(
    slow: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    started = start_embedded(slow, timeout_s=2.0)
    took_s = time.monotonic() - began
    try:
        with client(started.url, 60) as plain:
            assert plain.llen("list") == KEYS
    finally:
        started.stop()
    assert took_s > 2
    records = [record for record in caplog.records if getattr(record, "action", "") == "store.loading"]
    assert records
    assert "the store loads its files: " in records[0].getMessage()
    percent = [record.__dict__["percent"] for record in records]
    assert percent == sorted(percent)


async def test_an_aborted_start_ends_the_loading_server_without_damage(
    slow: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = server._options
    # It loads for over eight seconds: that it is given up comes first, however busy the machine is.
    monkeypatch.setattr(server, "_options", lambda *given: [*options(*given), "--key-load-delay", "400"])
    aborted = threading.Event()
    starting = asyncio.create_task(asyncio.to_thread(start_embedded, slow, aborted=aborted))
    async with asyncio.timeout(20):
        while not any(getattr(record, "action", "") == "store.loading" for record in caplog.records):
            assert not starting.done()
            await asyncio.sleep(0.01)
    aborted.set()
    with pytest.raises(StartAborted):
        await asyncio.wait_for(starting, 20)
    monkeypatch.undo()
    again = await asyncio.to_thread(start_embedded, slow)
    assert not again.adopted
    with client(again.url, 60) as plain:
        assert plain.llen("list") == KEYS
    await asyncio.to_thread(again.stop)
