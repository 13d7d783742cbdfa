"""Changes of the project's files, for `up --watch` and `watch`: detection, and publication after each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.cli.documents.bundle import compile_or_fail, save_lock
from iogate.cli.revisions.folder_publication import publish_folder, read_origin, summarize
from iogate.errors import IogateError, Unreachable, WrongStore
from iogate.store.connection.failures import CommandFailed

if TYPE_CHECKING:
    from iogate.cli.documents.bundle import CheckResult
    from iogate.cli.render import Screen
    from iogate.settings import Settings
    from iogate.store.revisions.origin import Origin
    from iogate.store.store import Store

POLL_S = 0.5
AGAIN_S = 0.5
MAX_AGAIN_S = 15.0
"""First and longest pause before a publication that failed is tried again; it doubles."""
IGNORED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv"})
DOCUMENT_FOLDERS = ("apis.d", "workflows.d")
MAX_FILES = 20_000

Stamp = frozenset[tuple[str, int, int]]


@dataclass(kw_only=True)
class _Change:
    """Compiled change of the files that is to be published."""

    checked: CheckResult
    origin: Origin
    failures: int = 0
    again_at: float = 0.0
    """Time on the clock of `time.monotonic` from which it is published."""

    def fail(self) -> None:
        """Note that the store does not take the change now."""
        self.again_at = time.monotonic() + min(AGAIN_S * 2**self.failures, MAX_AGAIN_S)
        self.failures += 1


async def watch(
    screen: Screen, store: Store, read_settings: Callable[[], Settings], *, settings: Settings, seen: Stamp
) -> None:
    """Publish the project's files for `up --watch` again after each change, until cancelled.

    Invalid files cause only a warning. `settings` are those of the gateways and workers, except for
    variables. `seen` is the stamp of the files before they were published, so that no later change is missed.
    A change that an unreachable store does not take is published when it does.
    """
    change: _Change | None = None
    while True:
        await asyncio.sleep(POLL_S)
        now = await asyncio.to_thread(stamp, Path.cwd(), settings.data_dir)
        try:
            if now != seen:
                seen, change = now, None
                fresh = read_settings()
                # Variables are part of the revision.
                settings = replace(settings, vars=fresh.vars)
                if fresh != settings:
                    # Gateways and workers keep their settings until a restart: do not apply new ones in part.
                    screen.warn("the settings have changed: restart to apply them")
                change = await _compile(screen, settings)
            if change is not None and time.monotonic() >= change.again_at:
                change = await _publish(screen, store, change)
        except (IogateError, CommandFailed) as error:
            screen.warn(f"{error}; the live revision is unchanged")
            change = None


async def _compile(screen: Screen, settings: Settings) -> _Change:
    checked = await asyncio.to_thread(compile_or_fail, settings, purpose="apply")
    save_lock(screen, checked)
    return _Change(checked=checked, origin=await asyncio.to_thread(read_origin, settings))


async def _publish(screen: Screen, store: Store, change: _Change) -> _Change | None:
    """Publish a change of the files for `up --watch`; return it if that is to be tried again.

    Raises as `publish_folder` does, except for an unreachable store.
    """
    from iogate.reconcile.apply import NotConverged

    try:
        applied = await publish_folder(store, change.checked, origin=change.origin)
    except WrongStore:
        raise
    except Unreachable as error:
        if not change.failures:
            screen.warn(f"{error.message}; the publication of the change is tried again")
        change.fail()
        return change
    except NotConverged as late:
        applied = late.applied
        screen.warn(late.message)
    # The store may have taken a change although its answer was lost.
    if applied.changed or change.failures:
        screen.note(summarize(applied), style="green")
    return None


def stamp(root: Path, data_dir: Path) -> Stamp:
    """Return names, times and sizes of the project's files, so that `up --watch` detects changes.

    Files in `data_dir` are not part of the project: each publication changes them. Links to folders, which
    could lead in circles, are followed only if they are those of the documents.
    """
    found: set[tuple[str, int, int]] = set()
    own = _output_files()
    data = _identity(data_dir)
    linked = [root / name for name in DOCUMENT_FOLDERS if (root / name).is_symlink()]
    for folder, folders, files in chain.from_iterable(os.walk(str(top)) for top in (root, *linked)):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in IGNORED_FOLDERS
            and (data is None or _identity(os.path.join(folder, name)) != data)  # noqa: PTH118 — as below
        ]
        for name in files:
            path = os.path.join(folder, name)  # noqa: PTH118 — twice as fast, twice a second
            try:
                status = os.stat(path)  # noqa: PTH116 — as above
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in own:
                continue
            found.add((path, status.st_mtime_ns, status.st_size))
            if len(found) >= MAX_FILES:
                return frozenset(found)
    return frozenset(found)


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return device and inode of a folder that `up --watch` may ignore; None if it is missing."""
    try:
        status = os.stat(path)  # noqa: PTH116 — twice as fast, twice a second
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _output_files() -> frozenset[tuple[int, int]]:
    """Return stdout and stderr as device and inode; `up --watch` ignores changes of these files."""
    found = set()
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            status = os.fstat(descriptor)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
