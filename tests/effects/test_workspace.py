"""Folders of processes and functions are removed, also after a worker was killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

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
