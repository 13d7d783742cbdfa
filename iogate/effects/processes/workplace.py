"""Where the processes of one worker live: a folder for each, a mark to find them by, a watch over all.

Used by `scripts` and `containers`. The watch outlives the worker and ends what a killed one leaves behind.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

from iogate.effects.processes import orphans


@dataclass(frozen=True, kw_only=True)
class Room:
    """What one process has of its own."""

    folder: Path
    """It goes when the process ends."""
    mark: str
    """Stands in its environment, and in that of its children."""


class Workplace:
    """The processes' place; `here` is where the worker was started, the project's directory."""

    def __init__(self) -> None:
        self.here = Path.cwd()
        self._instance = uuid4().hex
        self._numbers = count(1)
        self._folder: Path | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    @contextmanager
    def room(self) -> Iterator[Room]:
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self._home()))
        try:
            yield Room(folder=folder, mark=f"{self._instance}.{next(self._numbers)}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the watch and remove the folders; every process has been ended by its cancelled task."""
        if self._watch is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                self._watch.communicate(b"farewell", timeout=5)
            self._watch = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _home(self) -> Path:
        """Give the folder of this worker's processes; the first call also starts the watch over them."""
        if self._folder is None or not self._folder.is_dir():
            # A cleaner of temporary files takes folders that have long lain idle.
            self._folder = Path(tempfile.mkdtemp(prefix="iogate-"))
        if self._watch is None or self._watch.poll() is not None:
            self._watch = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                [sys.executable, "-I", "-S", orphans.__file__, f"{self._instance}.", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={},
            )
        return self._folder
