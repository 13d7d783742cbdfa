"""Workspace of the processes of one worker: a folder for each, and the launcher that starts them.

Used by `scripts` and `containers`. The launcher outlives the worker and ends the processes of a killed one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from iogate.effects.processes.launcher_client import LauncherClient


@dataclass(frozen=True, kw_only=True)
class ProcessFolders:
    """Folders of one process."""

    own: Path
    """Folder of the process, removed at its end."""
    shared: Path
    """Folder of all processes of the worker."""


class Workspace:
    """Folders and launcher of processes; `working_directory` is that of the worker, the project's."""

    def __init__(self, *, user: tuple[int, int] | None = None) -> None:
        """Prepare the workspace; `user`: user and group of the processes, if they are not the worker's."""
        self.working_directory = Path.cwd()
        self.launcher = LauncherClient()
        self._user = user
        self._folder: Path | None = None

    @contextmanager
    def process_folders(self, *, owned: bool = True) -> Iterator[ProcessFolders]:
        """Create a folder for one process in the workspace; `owned`: its user may write there."""
        shared = self._shared_folder()
        # Files of callers are written before a process starts, and for functions without any process.
        self.launcher.watch(shared)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=shared))
        if self._user is not None and owned:
            os.chown(folder, *self._user)
        try:
            yield ProcessFolders(own=folder, shared=shared)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def file_folder(self) -> Iterator[Callable[[], Path]]:
        """Yield a function that returns a folder of the workspace for files, created when first called."""
        with ExitStack() as stack:
            made: list[Path] = []

            def folder() -> Path:
                if not made:
                    made.append(stack.enter_context(self.process_folders(owned=False)).own)
                return made[0]

            yield folder

    def close(self) -> None:
        """Close the launcher and remove the folders of the workspace; every process has ended."""
        self.launcher.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _shared_folder(self) -> Path:
        """Return the folder of the workspace, recreated if a cleaner of files removed it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="iogate-"))
        elif not self._folder.is_dir():
            self._folder.mkdir(mode=0o700)  # the same path, which the launcher removes at the end
        if self._user is not None:
            self._folder.chmod(0o711)
        return self._folder
