"""Folders of processes and functions are removed without a pause, also after a worker was killed."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iogate.effects import Effects
from iogate.launcher import folder_removal
from iogate.settings import Settings
from tests.effects.conftest import do, shell, until

NOBODY = 65534

WORKER = """
import sys
from iogate.effects.processes.workspace import Workspace
with Workspace().file_folder() as folder:
    (folder() / "photo.png").write_bytes(b"private")
    print(folder(), flush=True)
    sys.stdin.read()
"""


def test_the_files_of_a_function_are_removed_after_its_worker_was_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        shared = Path(worker.stdout.readline().strip()).parent
        assert [each.name for each in shared.rglob("*.png")] == ["photo.png"]
        worker.kill()
    end_s = time.monotonic() + 20
    while shared.exists() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not shared.exists()


def exists(path: str) -> bool:
    return Path(path).exists()


def parent(path: str) -> str:
    return str(Path(path).parent)


async def test_a_folder_with_folders_is_removed_in_a_thread(
    effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the ended process is gone at once, and the event loop does not wait for the rest."""
    go = threading.Event()
    real = folder_removal.remove
    removed: list[str] = []

    def waiting(folder: str) -> bool:
        go.wait(60)
        removed.append(folder)
        return real(folder)

    monkeypatch.setattr(folder_removal, "remove", waiting)
    try:
        home = (
            await do(effects, shell('mkdir "$HOME/a"; echo x > "$HOME/a/b"; echo "$HOME"'))
        ).output.strip()
        assert removed == []
        assert not exists(home)
    finally:
        go.set()
    await until(lambda: removed and not exists(removed[0]))
    assert parent(removed[0]) == parent(home)


async def test_the_folder_of_a_cancelled_process_is_gone_when_its_worker_has_ended(tmp_path: Path) -> None:
    told = tmp_path / "home"
    code = f'mkdir "$HOME/a"; echo x > "$HOME/a/b"; echo "$HOME" > {told}; sleep 60'
    async with Effects(settings=Settings(allow_run=("shell",))) as effects:
        task = asyncio.create_task(do(effects, shell(code)))
        await until(lambda: told.exists() and told.read_text().endswith("\n"))
        home = told.read_text().strip()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not exists(home)
    assert not exists(parent(home))


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """Give up the rights of the superuser, to whom permissions do not apply, in a folder of another user."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_with_read_only_folders_is_removed() -> None:
    place = Path(tempfile.mkdtemp())
    own, outside = place / "own", place / "outside"
    with without_privileges(place):
        (own / "sealed/inner").mkdir(parents=True)
        outside.mkdir()
        (own / "sealed/photo.png").write_bytes(b"private")
        (own / "sealed/link").symlink_to(outside)
        outside.chmod(0o555)
        (own / "sealed/inner").chmod(0)
        (own / "sealed").chmod(0o555)
        own.chmod(0o555)
        assert folder_removal.remove(str(own))
        assert not own.exists()
        assert outside.stat().st_mode & 0o777 == 0o555, "a link is not followed"
        own.mkdir()
        place.chmod(0o555)
        assert not folder_removal.remove(str(own)), "the folder around it is read-only"
        place.chmod(0o700)
        own.rmdir()
        outside.rmdir()
    place.rmdir()


async def test_a_folder_that_cannot_be_removed_is_logged_once(
    effects: Effects, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "iogate")
    tried: list[str] = []

    def refused(folder: str) -> bool:
        tried.append(folder)
        return False

    monkeypatch.setattr(folder_removal, "remove", refused)
    for _ in range(2):
        await do(effects, shell('mkdir "$HOME/a"'))
    await until(lambda: len(tried) == 2)
    await effects.close()
    said = f"{tried[0]}, a folder of ended processes, cannot be removed completely; remove it"
    assert caplog.messages == [said]
