"""Atomic replacement of files.

Used for files that other processes read, and for documents of a project. Invariant: a reader finds either the
old or the new content, also after a crash in between.
"""

from __future__ import annotations

import os
from pathlib import Path


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
