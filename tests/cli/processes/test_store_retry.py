"""A start survives a store that dies, a port that is still in use, and a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iogate.cli.processes import embedded_store as kept
from iogate.cli.processes import parent_process
from iogate.cli.processes.embedded_store import supervised_store
from iogate.cli.processes.parent_process import Parts, _listen
from iogate.cli.processes.store_retry import retry_until_available
from iogate.errors import Unreachable, WrongStore
from iogate.gateway.sockets import PortTaken
from iogate.settings import Settings
from iogate.store.embedded import server as embedded
from iogate.store.embedded.server import find_embedded, start_embedded
from iogate.store.keys import PROCESSES
from iogate.store.maintenance.process_presence import Process
from iogate.store.store import open_store
from tests.cli.place import started, until, write_project
from tests.keys import RING
from tests.ports import free_port


def kill_store(data_dir: Path) -> bool:
    """SIGKILL the server of the folder, whether it answers or not."""
    folder = data_dir.resolve() / "redis"
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if (entry / "cwd").readlink() == folder and int(entry.name):
                os.kill(int(entry.name), signal.SIGKILL)
                return True
    return False


def test_up_outlasts_a_store_that_is_killed_while_it_starts(tmp_path: Path) -> None:
    """Kill the store repeatedly, as soon as it is up; later requests wait for the next one."""
    write_project(tmp_path)
    with started(tmp_path, "up", "--port", str(free_port())) as process:
        for _ in range(4):
            until(lambda: kill_store(tmp_path / ".iogate") or process.poll() is not None)
        until(lambda: "curl" in (tmp_path / "up.out").read_text() or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "up.err").read_text()


async def test_a_store_that_is_away_is_asked_again_and_one_that_refuses_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "iogate")
    answers: Iterator[Any] = iter([Unreachable("away"), Unreachable("away"), "here"])

    async def ask() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert await retry_until_available(ask) == "here"
    assert [(vars(each)["action"], each.getMessage()) for each in caplog.records] == [
        ("store.unreachable", "away; retrying"),
        ("store.reachable", "the store is reachable"),
    ]
    answers = iter([WrongStore("not ours"), "here"])
    with pytest.raises(WrongStore, match="not ours"):
        await retry_until_available(ask)
    answers = iter([Unreachable("away for long"), "here"])
    with pytest.raises(Unreachable, match="away for long"):
        await retry_until_available(ask, limit_s=-1.0)


async def test_a_port_that_a_dying_gateway_still_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may stall this process between two looks, also for the limit of 3 s.
    monkeypatch.setattr(parent_process, "PORT_S", 60.0)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        settings = Settings(host="127.0.0.1", port=held.getsockname()[1], data_dir=tmp_path)
        asyncio.get_running_loop().call_later(0.2, held.close)
        async with _listen(settings, Parts(gateways=True)) as files:
            assert len(files) == 1
        async with _listen(replace(settings, port=free_port()), Parts(gateways=True)) as files:
            with socket.socket(fileno=os.dup(files[0])) as ours:
                taken = replace(settings, port=ours.getsockname()[1])
            monkeypatch.setattr(parent_process, "PORT_S", 0.1)
            with pytest.raises(PortTaken, match="Address already in use"):
                async with _listen(taken, Parts(gateways=True)):
                    pass


async def test_a_store_that_cannot_be_started_at_first_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full is no error of ours and passes: the keeper goes on."""
    monkeypatch.setattr(kept, "RETRY_S", 0.05)
    settings = Settings(data_dir=tmp_path)
    failed: list[int] = []

    async with supervised_store(settings) as url:
        start = embedded._start

        def full(*arguments: Any, **named: Any) -> Any:
            if len(failed) < 2:
                failed.append(1)
                raise OSError(28, "No space left on device")
            return start(*arguments, **named)

        monkeypatch.setattr(embedded, "_start", full)
        first = find_embedded(tmp_path)
        assert first == url
        assert kill_store(tmp_path)

        async def back() -> None:
            while True:
                with contextlib.suppress(Unreachable):
                    store = await open_store(url, client_name="test", keyring=RING)
                    await store.close()
                    return
                await asyncio.sleep(0.02)

        async with asyncio.timeout(60):
            while len(failed) < 2:
                await asyncio.sleep(0.02)
            await back()
    assert find_embedded(tmp_path) is None


async def test_a_store_that_gets_another_socket_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Gateways and workers know the first one only."""
    deep = tmp_path.joinpath(*["a" * 40] * 3)
    session = tempfile.mkdtemp(prefix="iogate-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", session)
    async with supervised_store(Settings(data_dir=deep)) as url:
        shutil.rmtree(session)
        assert kill_store(deep)
        async with asyncio.timeout(60):
            while not any(getattr(each, "action", "") == "store.moved" for each in caplog.records):
                await asyncio.sleep(0.02)
        found = find_embedded(deep)
        assert found is not None
        assert found != url
    assert find_embedded(deep) is None
    Path(found.removeprefix("unix://")).parent.rmdir()


async def test_announcements_in_a_copied_folder_keep_no_store(tmp_path: Path) -> None:
    """Before: a server that was started for a copy of a folder in use outlived an `up` that was refused."""
    settings = Settings(data_dir=tmp_path)
    server = start_embedded(tmp_path)
    try:
        store = await open_store(server.url, client_name="test")
        user = Process(kind="worker", id="w1", pid=os.getpid(), host=socket.gethostname(), started_at_ms=0)
        await store.presence.announce(user)
        now_s = await store.now_ms() // 1000
        await store.call("ZADD", PROCESSES + "worker", now_s + 2, user.id)
        async with supervised_store(settings):
            pass
        assert server.alive, "another process uses it"
        await store.call("ZADD", PROCESSES + "worker", now_s - 60, user.id)
        await store.close()
        with pytest.raises(WrongStore):
            async with supervised_store(settings):
                raise WrongStore("refused")
        assert not server.alive
    finally:
        server.stop()
