"""Newest seals that this machine has seen: the file `newest_seals` in `data_dir`.

Used by `LiveRecord`, in gateways, workers and commands with the key. Invariants: the counter of a project
never decreases, whichever processes write at the same time; a folder that is missing or cannot be written is
no error: each process then remembers for itself only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from iogate.atomic_files import write_atomically
from iogate.security.redaction_patterns import redact_url

FILE: Final = "newest_seals"
MOST: Final = 256
"""Projects of stores that are remembered; those that were seen first are dropped."""
_MOST_BYTES: Final = 256 * 1024
_MOST_DIGITS: Final = 15


class NewestSeals:
    """Newest counters of one store's seals in one `data_dir`; each line is `COUNTER PROJECT STORE`."""

    def __init__(self, data_dir: Path, url: str, *, writes: bool = True) -> None:
        """Without `writes`, the file is only read."""
        self._path = data_dir / FILE
        self._store = redact_url(url, "***")
        self._writes = writes

    def counters(self) -> dict[str, int]:
        """Return the newest counter of each project of the store."""
        return {
            project: counter for (project, store), counter in self._read().items() if store == self._store
        }

    def remember(self, project: str, counter: int) -> None:
        """Record the counter of a project; a smaller one than the recorded one changes nothing."""
        if not self._writes:
            return
        with contextlib.suppress(OSError), self._locked():
            found = self._read()
            key = project, self._store
            if found.get(key, 0) >= counter:
                return
            found.pop(key, None)
            kept = [*found.items(), (key, counter)][-MOST:]
            lines = "".join(f"{number} {name} {store}\n" for (name, store), number in kept)
            write_atomically(self._path, lines, mode=0o600)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder, so that no other process writes meanwhile. Raises OSError if there is none."""
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[tuple[str, str], int]:
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                lines = file.read(_MOST_BYTES).splitlines()
        except OSError:
            return {}
        parts = (line.split(" ", 2) for line in lines)
        return {
            (each[1], each[2]): int(each[0])
            for each in parts
            if len(each) == 3 and each[0].isascii() and each[0].isdigit() and len(each[0]) <= _MOST_DIGITS
        }


def fault(data_dir: Path) -> str:
    """Return why processes with this `data_dir` cannot remember seals; empty if they can."""
    path = data_dir / FILE
    if not data_dir.exists():
        return f"{data_dir} does not exist"
    if not data_dir.is_dir() or not os.access(data_dir, os.W_OK | os.X_OK):
        return f"{data_dir} is not a folder that can be written"
    if path.exists() and not (path.is_file() and os.access(path, os.R_OK)):
        return f"{path} is not a file that can be read"
    return ""
