"""Workspace of the processes of one worker: a folder for each, and the launcher that starts them.

Used by `scripts` and `containers`. The launcher outlives the worker and ends the processes of a killed one.
Invariant: while the worker runs, the removal of a folder does not block the event loop, however much a
process has left in it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from iogate.effects.processes.launcher_client import LauncherClient
from iogate.launcher import folder_removal

FEW: Final = 8
SMALL: Final = 1024 * 1024
"""A folder with at most FEW files of at most SMALL bytes is removed at once, any other one in a thread."""

log = logging.getLogger("iogate.effects")


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
        self._removals = ThreadPoolExecutor(1, thread_name_prefix="iogate-removal")
        self._logged = False
        """Whether a folder that cannot be removed was logged."""

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
            self._discard(folder)

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
        self._removals.shutdown(cancel_futures=True)
        self.launcher.close()
        if self._folder is not None:
            self._remove(self._folder)
            self._folder = None

    def _discard(self, folder: Path) -> None:
        """Remove the folder of an ended process from the workspace, a large one in a thread.

        Its path does not exist any more, also while the thread is at work.
        """
        if _remove_at_once(folder):
            return
        with suppress(OSError):
            folder = folder.rename(folder.with_name(f"ended-{folder.name}"))
        try:
            self._removals.submit(self._remove, folder)
        except RuntimeError:  # closed, or no thread can be started
            self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Remove a folder of the workspace; log once if something remains."""
        if not folder_removal.remove(str(folder)) and not self._logged:
            self._logged = True
            log.warning(
                "%s, a folder of ended processes, cannot be removed completely; remove it",
                folder,
                extra={"action": "process.folder_left"},
            )

    def _shared_folder(self) -> Path:
        """Return the folder of the workspace, recreated if a cleaner of files removed it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="iogate-"))
        elif not self._folder.is_dir():
            self._folder.mkdir(mode=0o700)  # the same path, which the launcher removes at the end
        if self._user is not None:
            self._folder.chmod(0o711)
        return self._folder


def _remove_at_once(folder: Path) -> bool:
    """Remove a folder of the workspace with few small files; return False if it has more, or folders."""
    try:
        folder.rmdir()  # most folders are empty, and this needs no descriptor
    except FileNotFoundError:
        return True  # a cleaner of temporary files was here
    except OSError:
        # A process may have put a link in the place of its folder.
        return not folder.is_symlink() and _remove_few_files(folder)
    return True


def _remove_few_files(folder: Path) -> bool:
    with suppress(OSError):
        with os.scandir(folder) as entries:
            found = list(islice(entries, FEW + 1))
        if len(found) <= FEW and all(map(_is_small_file, found)):
            for each in found:
                Path(each.path).unlink()
            folder.rmdir()
            return True
    return False


def _is_small_file(entry: os.DirEntry[str]) -> bool:
    return not entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size <= SMALL
