"""Files of the embedded store: incomplete ones are refused, damaged ones repaired, copies complete."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iogate.errors import Unreachable, WrongStore
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed
from iogate.store.embedded import data_folder
from iogate.store.embedded.binaries import Server
from iogate.store.embedded.readiness import client
from iogate.store.embedded.server import EmbeddedServer, start_embedded
from iogate.store.embedded.server_socket import is_locked
from iogate.store.store import open_store
from tests.keys import RING
from tests.store.builders import accepted, publish


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[EmbeddedServer]:
    started = start_embedded(folder)
    try:
        yield started
    finally:
        started.stop()


def fill(folder: Path) -> Path:
    """Write a key into the store of `folder`, and return the folder of its append-only files."""
    with opened(folder) as started, client(started.url, 60) as plain:
        plain.set("kept", "1")
    return folder / "redis/appendonlydir"


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        ("no manifest", "{manifest} is missing, but append-only files exist beside it"),
        ("empty manifest", "{manifest} is empty, but append-only files exist beside it"),
        ("no increment", "{logs} lacks appendonly.aof.1.incr.aof, which appendonly.aof.manifest names"),
        ("no folder", "{folder} was in use, but its append-only files are missing"),
    ],
)
def test_a_folder_without_its_append_only_files_is_refused_not_opened_empty(
    tmp_path: Path, harm: str, expected: str
) -> None:
    logs = fill(tmp_path)
    manifest = logs / "appendonly.aof.manifest"
    match harm:
        case "no manifest":
            manifest.unlink()
        case "empty manifest":
            manifest.write_text("")
        case "no increment":
            (logs / "appendonly.aof.1.incr.aof").unlink()
        case _:
            shutil.rmtree(logs)
    with pytest.raises(WrongStore) as caught:
        start_embedded(tmp_path)
    problem = expected.format(manifest=manifest, logs=logs, folder=logs.parent)
    assert caught.value.message == f"{problem}: a server would start without their runs"
    assert caught.value.hint == "restore the folder from a backup; to begin without any run, move it away"
    assert (caught.value.code, caught.value.exit_code) == ("IOG626", 6)


def test_a_manifest_of_a_newer_server_may_say_more_of_each_file(tmp_path: Path) -> None:
    logs = tmp_path / "appendonlydir"
    logs.mkdir()
    (logs / "appendonly.aof.1.base.rdb").touch()
    increment = logs / "appendonly.aof.1.incr.aof"
    increment.touch()
    (logs / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\n"
        "file appendonly.aof.1.incr.aof seq 1 type i startoffset 85\n"
        "file appendonly.aof.0.incr.aof seq 0 type h startoffset 0 endoffset 85\n"
    )
    record = data_folder.Record(server=Server(kind="redis", version="99.0.0", path="x"), opened=True)
    data_folder.check_files(tmp_path, record)
    increment.unlink()
    with pytest.raises(WrongStore, match=f"{logs} lacks appendonly.aof.1.incr.aof, which"):
        data_folder.check_files(tmp_path, record)


@pytest.mark.parametrize("place", ["a/redis", "a/redis/lock"])
def test_a_folder_that_is_not_writable_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Root may write everywhere, so `os.access` is patched to its result for another user."""
    fill(tmp_path / "a")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / place and access(path, mode))
    with pytest.raises(Unreachable) as caught:
        start_embedded(tmp_path / "a")
    assert caught.value.message == f"{tmp_path / place} is not writable: Permission denied"
    assert caught.value.hint == ("run as the owner of this path, or set data_dir")
    assert (caught.value.code, caught.value.exit_code) == ("IOG628", 6)


def test_a_first_start_that_cannot_write_is_reported(tmp_path: Path) -> None:
    in_the_way = tmp_path / f"redis/.server.json.{os.getpid()}"
    in_the_way.mkdir(parents=True)
    with pytest.raises(Unreachable) as caught:
        start_embedded(tmp_path)
    said = f"the store in {tmp_path / 'redis'} cannot be started: {in_the_way}: Is a directory"
    assert caught.value.message == said
    assert caught.value.hint == "make room there, run as the owner of this path, or set data_dir"
    assert (caught.value.code, caught.value.exit_code) == ("IOG629", 6)


def test_a_server_whose_start_cannot_be_recorded_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = data_folder.write_record

    def write_until_full(folder: Path, server: Server, *, opened: bool) -> None:
        if opened:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(folder, server, opened=opened)

    monkeypatch.setattr(data_folder, "write_record", write_until_full)
    with pytest.raises(Unreachable, match="cannot be started: No space left on device"):
        start_embedded(tmp_path)
    assert not is_locked(tmp_path / "redis/lock"), "the server holds it until it ends"


def test_a_data_dir_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(Unreachable, match="/a is not writable: Not a directory"):
        start_embedded(tmp_path / "a")


@pytest.mark.parametrize("made", ["nothing", "a base without a manifest"])
def test_a_folder_after_a_killed_first_start_counts_as_new(tmp_path: Path, made: str) -> None:
    """The record is written before the server writes anything, and its manifest after its files."""
    logs = fill(tmp_path)
    if made == "nothing":
        shutil.rmtree(logs)
    else:
        (logs / "appendonly.aof.manifest").unlink()
    record = logs.parent / "server.json"
    record.write_text(record.read_text().replace('"opened": true', '"opened": false'))
    with opened(tmp_path) as started, client(started.url, 60) as plain:
        assert plain.dbsize() == 0


def test_the_hint_for_zeros_at_the_end_of_the_log_repairs_it(tmp_path: Path) -> None:
    """After a power failure a file may be longer than its data; its path may hold a space."""
    root = tmp_path / "of mine"
    root.mkdir()
    log = fill(root) / "appendonly.aof.1.incr.aof"
    with log.open("ab") as end:
        end.write(bytes(4096))
    with pytest.raises(Unreachable) as caught:
        start_embedded(root)
    assert caught.value.message.endswith(
        f" cannot read its append-only file: {log} ends in 4096 zero bytes, probably after a power failure"
    )
    assert caught.value.code == "IOG627"
    first, repair = caught.value.hint.split(", then truncate the damaged end: ")
    assert first == f"copy {root / 'redis'} first"
    subprocess.run(["bash", "-c", repair], input="y\n", text=True, check=True, capture_output=True)
    with opened(root) as started, client(started.url, 60) as plain:
        assert plain.get("kept") == "1"


def test_a_damaged_log_without_zeros_is_reported_too(tmp_path: Path) -> None:
    log = fill(tmp_path) / "appendonly.aof.1.incr.aof"
    with log.open("ab") as end:
        end.write(b"no command\r\n")
    with pytest.raises(Unreachable, match=r"appendonly\.aof\.1\.incr\.aof is damaged$") as caught:
        start_embedded(tmp_path)
    loss = "truncate the damaged end, with all calls behind the damaged place; compare with a backup before:"
    assert loss in caught.value.hint


async def test_a_copy_under_load_contains_all_calls_acknowledged_before(tmp_path: Path) -> None:
    """Also while the server rewrites its files: `docs/operations/backup.md` promises it."""
    started = await asyncio.to_thread(start_embedded, tmp_path / "a")
    store = await open_store(started.url, keyring=RING)
    await publish(store)
    intake = store.intake()
    known: list[str] = []

    async def load() -> None:
        while True:
            known.append(await accepted(intake))

    async def rewrite() -> None:
        while True:
            with contextlib.suppress(CommandFailed):  # one is under way
                await store.call("BGREWRITEAOF")
            await asyncio.sleep(0.5)

    tasks = [asyncio.create_task(load()) for _ in range(4)] + [asyncio.create_task(rewrite())]
    try:
        copies = 0
        deadline = time.monotonic() + 80
        while copies < 4:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            before = list(known)
            target = tmp_path / "copy"
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            copied = await asyncio.create_subprocess_exec(
                "cp", "-r", tmp_path / "a/redis", target, stderr=asyncio.subprocess.DEVNULL
            )
            if await copied.wait() != 0:
                continue  # the page: a rewrite took a file away, copy again
            try:
                restored = await asyncio.to_thread(start_embedded, target)
            except WrongStore:
                continue  # the same: it is never opened with less in it
            with client(restored.url, 60) as plain:
                assert all(plain.exists(keys.RUN + uid) for uid in before)
            await asyncio.to_thread(restored.stop)
            copies += 1
        assert len(before) > 10
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
        await asyncio.to_thread(started.stop)
