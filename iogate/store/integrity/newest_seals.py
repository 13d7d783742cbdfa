"""Newest seals that this machine has seen: the file `newest_seals` in `data_dir`.

Used by `LiveRecord`, in gateways, workers and commands with the key. Invariants: the counter of a project
never decreases, whichever processes write at the same time; a folder that is missing or cannot be written is
no error: each process then remembers for itself only. A damaged file is one, since it would count as empty:
no process that acts on the live revision starts with it, and none replaces it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

from iogate.atomic_files import locked_folder, write_atomically
from iogate.errors import Refused
from iogate.security.redaction_patterns import redact_url

log = logging.getLogger(__name__)

FILE: Final = "newest_seals"
MOST: Final = 256
"""Projects of stores that are remembered; those that were seen first are dropped."""
_MOST_BYTES: Final = 256 * 1024
_MOST_DIGITS: Final = 15
_DAMAGED: Final = "IOG850"


class Damaged(Refused):
    """Error of a file `newest_seals` that was not written by iogate, or not completely."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} is damaged: {why}; it remembers the newest live revisions, so that nobody can make an "
            "earlier one live again",
            code=_DAMAGED,
            hint="check with `iogate history` that the live revision is the one that you applied last, then "
            "delete the file and start again (`iogate explain IOG850`)",
        )
        self.why = why


class NewestSeals:
    """Newest counters of one store's seals in one `data_dir`; each line is `COUNTER PROJECT STORE`."""

    def __init__(self, data_dir: Path, url: str, *, writes: bool = True) -> None:
        """Without `writes`, the file is only read, as far as it can be."""
        self._path = data_dir / FILE
        self._store = redact_url(url, "***")
        self._writes = writes

    def counters(self) -> dict[str, int]:
        """Return for each project of the store the counter of the newest seal that this machine has seen.

        Raises Damaged for a damaged file, unless it is only read.
        """
        try:
            found = _read(self._path)
        except Damaged:
            if self._writes:
                raise
            return {}
        return {project: counter for (project, store), counter in found.items() if store == self._store}

    def remember(self, project: str, counter: int) -> None:
        """Record the newest seal's counter of a project; a smaller one changes nothing.

        A file that was damaged since the start of the process stays as it is.
        """
        if not self._writes:
            return
        with contextlib.suppress(OSError), locked_folder(self._path.parent):
            try:
                found = _read(self._path)
            except Damaged as damaged:
                extra = {"action": "store.seals", "code": damaged.code}
                log.error("%s (%s)", damaged.message, damaged.hint, extra=extra)  # noqa: TRY400 - for people
                return
            key = project, self._store
            if found.get(key, 0) >= counter:
                return
            found.pop(key, None)
            kept = [*found.items(), (key, counter)][-MOST:]
            lines = "".join(f"{number} {name} {store}\n" for (name, store), number in kept)
            write_atomically(self._path, lines, sync=True, mode=0o600)


def _read(path: Path) -> dict[tuple[str, str], int]:
    """Read the newest seals' counters by project and store; none if there is no file that can be read.

    Raises Damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError:
        return {}
    if not data:
        raise Damaged(path, "it is empty")
    if len(data) > _MOST_BYTES:
        raise Damaged(path, f"it has more than {_MOST_BYTES} bytes")
    if not data.endswith(b"\n"):
        raise Damaged(path, "its last line is incomplete")
    found: dict[tuple[str, str], int] = {}
    for number, line in enumerate(data[:-1].split(b"\n"), 1):
        try:
            counter, project, store = line.decode().split(" ", 2)
        except ValueError:
            counter = project = store = ""
        if not (
            counter.isascii() and counter.isdigit() and len(counter) <= _MOST_DIGITS and project and store
        ):
            raise Damaged(path, f"line {number} is not a counter, a project and a store")
        found[project, store] = int(counter)
    return found


def damage(data_dir: Path) -> Damaged | None:
    """Return the error of a damaged file of newest seals in a `data_dir`."""
    try:
        _read(data_dir / FILE)
    except Damaged as damaged:
        return damaged
    return None


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
