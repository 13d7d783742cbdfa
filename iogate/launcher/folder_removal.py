"""Removal of the folders of ended processes, with all that user code may have left in them.

Used by `server`, and by `effects.processes.workspace` in a thread. Invariant: no link is followed.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress


def remove(folder: str) -> bool:
    """Remove the folder of an ended process, also if it has folders without permission to write.

    Return False if something remains, which another owner or the file system protects, or which is nested too
    deeply.
    """
    _remove(folder)
    # Root needs no permission, and a process that changes the folder meanwhile could lead it away by a link.
    if os.path.lexists(folder) and os.geteuid() != 0:
        _permit_writing(folder)
        _remove(folder)
    return not os.path.lexists(folder)


def _remove(folder: str) -> None:
    with suppress(OSError):
        os.unlink(folder)  # a file or link that a process has put in its place
    with suppress(RecursionError):  # before Python 3.13, which removes a tree of any depth
        shutil.rmtree(folder, ignore_errors=True)


def _permit_writing(folder: str) -> None:
    """Give the owner all rights to a folder of an ended process and to all folders below it."""
    left = [] if os.path.islink(folder) else [folder]
    while left:
        path = left.pop()
        with suppress(OSError):
            os.chmod(path, 0o700)
            with os.scandir(path) as entries:
                left += [each.path for each in entries if each.is_dir(follow_symlinks=False)]
