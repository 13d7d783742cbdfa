"""Heartbeat files: a file in `data_dir` per worker, locked while the worker lives.

`__main__` holds one, `pool` finds those of dead workers. Invariant: the kernel releases the lock when the
process ends in any way. So a reused pid cannot make a dead worker look alive, and a pid of another container
cannot make a live one look dead.

    held (locked) ──worker ends──▶ no file
          └────────worker dies───▶ found (not locked) ──recovered──▶ no file

The file holds one line: the progress that a solitary worker recorded last.
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
    """Heartbeat file of a live worker; does nothing without a descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    def record_progress(self, line: bytes) -> None:
        """Replace the line in the heartbeat file of this worker, for crash recovery."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                # One write, so that a crash leaves no partial line. The rest of an older line is not read.
                os.pwrite(self._descriptor, line + b"\n", 0)


@contextlib.contextmanager
def hold(data_dir: Path, worker: str) -> Iterator[HeartbeatFile]:
    """Hold the heartbeat file of a worker; do without it if the folder does not support locks."""
    path = data_dir / FOLDER / worker
    try:
        descriptor = _lock(path)
    except OSError as error:
        log.debug(
            "cannot create a heartbeat file in %s: %s",
            path.parent,
            error,
            extra={"action": "heartbeat.impossible"},
        )
        yield HeartbeatFile()
        return
    try:
        yield HeartbeatFile(descriptor)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def find_abandoned(data_dir: Path) -> list[str]:
    """Return the names of workers that died without removing their heartbeat file."""
    try:
        paths = sorted((data_dir / FOLDER).iterdir())
    except OSError:
        return []  # no worker has created a heartbeat file
    return [path.name for path in paths if not path.name.startswith(".") and _is_free(path)]


def read_progress(data_dir: Path, worker: str) -> bytes:
    """Return the line that a dead worker recorded in its heartbeat file, or nothing."""
    try:
        with (data_dir / FOLDER / worker).open("rb") as file:
            return file.readline().removesuffix(b"\n")
    except OSError:
        return b""


def remove(data_dir: Path, worker: str) -> None:
    """Remove the heartbeat file of a worker whose runs were recovered."""
    with contextlib.suppress(OSError):
        (data_dir / FOLDER / worker).unlink(missing_ok=True)


def _lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The file gets its name after it is locked, so that no process finds it unlocked.
    hidden = path.with_name(f".{path.name}")
    descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # removed, or owned by another user
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
