"""Which workers died without a word can be told from their locks, by anyone who has the folder."""

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


def test_the_dead_are_told_from_the_living_until_they_are_forgotten(tmp_path: Path) -> None:
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


def test_who_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    with heartbeat_files.hold(tmp_path, "host.worker-1.a"):
        assert [path.name for path in (tmp_path / heartbeat_files.FOLDER).iterdir()] == ["host.worker-1.a"]
        assert heartbeat_files.find_abandoned(tmp_path) == []
    assert list((tmp_path / heartbeat_files.FOLDER).iterdir()) == []


def test_the_last_word_of_the_dead_is_read_and_the_longer_one_before_it_is_not(tmp_path: Path) -> None:
    assert heartbeat_files.read_progress(tmp_path, "host.worker-1.a") == b""
    with heartbeat_files.hold(tmp_path, "host.worker-1.a") as heartbeat:
        assert heartbeat_files.read_progress(tmp_path, "host.worker-1.a") == b""
        heartbeat.record_progress(b"a long word")
        heartbeat.record_progress(b"short")
        assert heartbeat_files.read_progress(tmp_path, "host.worker-1.a") == b"short"


def test_a_folder_that_cannot_be_written_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with heartbeat_files.hold(tmp_path / "file", "host.worker-1.a") as heartbeat:
        heartbeat.record_progress(b"unheard")
    assert heartbeat_files.read_progress(tmp_path / "file", "host.worker-1.a") == b""
    heartbeat_files.remove(tmp_path / "file", "host.worker-1.a")
    assert heartbeat_files.find_abandoned(tmp_path / "file") == []
    assert heartbeat_files.find_abandoned(tmp_path / "absent") == []
