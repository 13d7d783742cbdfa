"""Atomic replacement of files.

Used by the store and the gateway for files that other processes read. Invariant: a reader finds either the
old or the new content, also after a crash in between.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, *, sync: bool = False) -> None:
    """Write a file that gets its name once it is complete; `sync`: once it is on the disk.

    Raises OSError, and then leaves no other file behind.
    """
    written = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    try:
        with written.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
