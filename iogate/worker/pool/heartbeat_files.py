"""Signs of life: a file in `data_dir` for each worker, locked for as long as the worker lives.

`__main__` holds one, `pool` finds those whose holder is gone. Invariant: the kernel gives up a lock
with the process that holds it, however that ended. So no pid that was given to another process makes a
dead worker look alive, and none in another container makes a living one look dead.

    held (locked) ──worker ends──▶ no file
          └────────worker dies───▶ found (not locked) ──buried──▶ no file

The file holds one line, for who buries the worker: what it left word of last.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = "workers"


class HeartbeatFile:
    """What a living worker shows; without a descriptor, nothing."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    def record_progress(self, line: bytes) -> None:
        """For who buries this worker; the last word counts."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                # One write, so that no death leaves half of it; what a longer one left behind it is not read.
                os.pwrite(self._descriptor, line + b"\n", 0)


@contextlib.contextmanager
def hold(data_dir: Path, worker: str) -> Iterator[HeartbeatFile]:
    """Show that this worker lives, meanwhile; where the folder allows no locks, do without."""
    path = data_dir / FOLDER / worker
    try:
        descriptor = _lock(path)
    except OSError as error:
        log.debug("no sign of life in %s: %s", path.parent, error, extra={"action": "heartbeat.impossible"})
        yield HeartbeatFile()
        return
    try:
        yield HeartbeatFile(descriptor)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def find_abandoned(data_dir: Path) -> list[str]:
    """Workers that died without a word."""
    try:
        paths = sorted((data_dir / FOLDER).iterdir())
    except OSError:
        return []  # no worker was ever here, or none could leave a sign
    return [path.name for path in paths if not path.name.startswith(".") and _is_free(path)]


def read_progress(data_dir: Path, worker: str) -> bytes:
    """What a worker that is gone left word of; empty where it did not."""
    try:
        with (data_dir / FOLDER / worker).open("rb") as file:
            return file.readline().removesuffix(b"\n")
    except OSError:
        return b""


def remove(data_dir: Path, worker: str) -> None:
    """Remove the sign of a worker that is buried."""
    with contextlib.suppress(OSError):
        (data_dir / FOLDER / worker).unlink(missing_ok=True)


def _lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Under its own name only once it is locked: nobody may find it free before.
    unseen = path.with_name(f".{path.name}")
    descriptor = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unseen.rename(path)
    except BaseException:
        unseen.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # gone, or another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
