"""Workers that died are found by the locks of their heartbeat files, by any process with the folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from iogate.worker.pool import heartbeat_files

HOLDER = (
    "import sys, time\nfrom pathlib import Path\nfrom iogate.worker.pool import heartbeat_files\n"
    "with heartbeat_files.hold(Path(sys.argv[1]), sys.argv[2]):\n"
    "    print('held', flush=True)\n    time.sleep(60)\n"
)


def holder(folder: Path, worker: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), worker], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_dead_workers_are_found_until_they_are_removed(tmp_path: Path) -> None:
    with holder(tmp_path, "host.worker-1.a") as dead, holder(tmp_path, "host.worker-2.b") as alive:
        assert heartbeat_files.find_abandoned(tmp_path) == []
        dead.kill()
        dead.wait()
        assert heartbeat_files.find_abandoned(tmp_path) == ["host.worker-1.a"]
        heartbeat_files.remove(tmp_path, "host.worker-1.a")
        assert heartbeat_files.find_abandoned(tmp_path) == []
        alive.kill()
        alive.wait()
        assert heartbeat_files.find_abandoned(tmp_path) == ["host.worker-2.b"]


def test_a_clean_exit_leaves_no_file(tmp_path: Path) -> None:
    with heartbeat_files.hold(tmp_path, "host.worker-1.a"):
        assert [path.name for path in (tmp_path / heartbeat_files.FOLDER).iterdir()] == ["host.worker-1.a"]
        assert heartbeat_files.find_abandoned(tmp_path) == []
    assert list((tmp_path / heartbeat_files.FOLDER).iterdir()) == []


def test_a_shorter_record_replaces_a_longer_one(tmp_path: Path) -> None:
    assert heartbeat_files.read_progress(tmp_path, "host.worker-1.a") == b""
    with heartbeat_files.hold(tmp_path, "host.worker-1.a") as heartbeat:
        assert heartbeat_files.read_progress(tmp_path, "host.worker-1.a") == b""
        heartbeat.record_progress(b"a long word")
        heartbeat.record_progress(b"short")
        assert heartbeat_files.read_progress(tmp_path, "host.worker-1.a") == b"short"


def test_an_unwritable_folder_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with heartbeat_files.hold(tmp_path / "file", "host.worker-1.a") as heartbeat:
        heartbeat.record_progress(b"unheard")
    assert heartbeat_files.read_progress(tmp_path / "file", "host.worker-1.a") == b""
    heartbeat_files.remove(tmp_path / "file", "host.worker-1.a")
    assert heartbeat_files.find_abandoned(tmp_path / "file") == []
    assert heartbeat_files.find_abandoned(tmp_path / "absent") == []
