"""Atomic replacement of files, the detection of it, and locks between writers.

Used for files that other processes read, and for documents of a project. Invariant: a reader finds either the
old or the new content, also after a crash in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Version: TypeAlias = tuple[int, int, int] | None
"""Inode, size and time of change of a file; None if there is none."""


def version(path: Path) -> Version:
    """Return the version of a file, which differs after an atomic replacement or a write."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        # ValueError: no file has a name with a null character.
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def write_atomically(
    path: Path, content: str | bytes, *, sync: bool = False, mode: int | None = None
) -> None:
    """Write a file that gets its name once it is complete; `sync`: once it is on the disk.

    `mode` has its permissions; without it the process decides. Raises OSError, and then leaves no other file
    behind.
    """
    written = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    try:
        with written.open("wb") as file:
            file.write(data)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[int]:
    """Lock a folder against other writers and yield its descriptor. Raises OSError for a missing folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
