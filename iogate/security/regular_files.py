"""Bounded reading of the regular files that documents and settings name, and a check of their permissions.

Used for secrets and for lists of addresses. Invariants: reading never waits, as it would for the writer of a
FIFO; it takes a bounded amount of memory, also of a device without an end.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path


def read_text(path: Path, *, most: int) -> str:
    r"""Return the text of a regular file of at most `most` bytes of UTF-8; each line ends with `\n`.

    Raises ValueError with the reason why the file cannot be used, which contains nothing of its content.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("is not a regular file")
            data = file.read(most + 1)
    except FileNotFoundError:
        raise ValueError("does not exist") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise ValueError(f"is larger than {most} bytes")
    try:
        return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8").read()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def is_exposed(path: Path) -> bool:
    """Tell whether other users may read a regular file; False if this user sees no such file."""
    try:
        return path.stat().st_mode & 0o077 != 0
    except OSError:
        return False


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a FIFO waits for its writer; without O_NOCTTY, a terminal may become that of
    # this process.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
