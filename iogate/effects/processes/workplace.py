"""Place of the processes of one worker: a folder for each, and the launcher that starts them.

Used by `scripts` and `containers`. The launcher outlives the worker and ends what a killed one leaves behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from iogate.effects.processes.launch import Launcher


@dataclass(frozen=True, kw_only=True)
class Room:
    """Folders of one process."""

    folder: Path
    """Its own; it goes when the process ends."""
    home: Path
    """That of all processes of the worker."""


class Workplace:
    """The processes' place; `here` is where the worker was started, the project's directory."""

    def __init__(self, *, user: tuple[int, int] | None = None) -> None:
        """`user`: user and group of the processes, if they are not the worker's."""
        self.here = Path.cwd()
        self.launcher = Launcher()
        self._user = user
        self._folder: Path | None = None

    @contextmanager
    def room(self, *, owned: bool = True) -> Iterator[Room]:
        """Make a folder for one process; `owned`: its user may write there."""
        home = self._home()
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=home))
        if self._user is not None and owned:
            os.chown(folder, *self._user)
        try:
            yield Room(folder=folder, home=home)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the launcher and remove the folders; cancelled tasks have ended every process."""
        self.launcher.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _home(self) -> Path:
        """Return the folder of this worker's processes; a cleaner of temporary files may have taken it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="iogate-"))
        elif not self._folder.is_dir():
            self._folder.mkdir(mode=0o700)  # at the same place: the launcher removes it at the end
        if self._user is not None:
            self._folder.chmod(0o711)
        return self._folder
