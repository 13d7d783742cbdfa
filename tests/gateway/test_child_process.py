"""Processes of a gateway: messages, and the end of one whose start was cancelled."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from typing import Any

import pytest

from iogate.gateway import child_process


async def test_a_process_whose_start_is_cancelled_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    begun, may_end = threading.Event(), threading.Event()
    spawn = child_process._spawn

    def slow(*given: Any) -> subprocess.Popen[bytes]:
        begun.set()
        may_end.wait(20)
        started.append(spawn(*given))
        return started[0]

    monkeypatch.setattr(child_process, "_spawn", slow)
    starting = asyncio.create_task(
        child_process.start("iogate.gateway.validation.validation_process", stderr=None)
    )
    await asyncio.to_thread(begun.wait, 20)
    starting.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    (process,) = started
    assert process.returncode is not None


async def test_a_process_that_ends_is_an_error_of_the_next_message() -> None:
    process = await child_process.start("iogate.gateway.validation.validation_process", stderr=None)
    process.child.kill()
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await process.receive()
    assert await process.end() == -9
