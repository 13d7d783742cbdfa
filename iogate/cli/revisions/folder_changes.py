"""Changes of the project's files, for `up --watch` and `watch`: detection, and publication after each."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.cli.documents.bundle import compile_or_fail, save_lock
from iogate.cli.revisions.folder_publication import publish_folder, read_origin, summarize
from iogate.errors import IogateError, Unreachable
from iogate.store.connection.failures import CommandFailed

if TYPE_CHECKING:
    from iogate.cli.render import Screen
    from iogate.settings import Settings
    from iogate.store.store import Store

POLL_S = 0.5
IGNORED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv"})
MAX_FILES = 20_000

Stamp = frozenset[tuple[str, int, int]]


async def watch(
    screen: Screen, store: Store, read_settings: Callable[[], Settings], *, settings: Settings, seen: Stamp
) -> None:
    """Publish the project's files for `up --watch` again after each change, until cancelled.

    Invalid files cause only a warning. `settings` are those of the gateways and workers, except for
    variables. `seen` is the stamp of the files before they were published, so that no later change is missed.
    A change that the store does not take now is published when it does.
    """
    from iogate.reconcile.apply import NotConverged

    tried = seen
    while True:
        await asyncio.sleep(POLL_S)
        now = await asyncio.to_thread(stamp, Path.cwd())
        if now == seen:
            continue
        is_repeated, tried = now == tried, now
        try:
            fresh = read_settings()
            # Variables are part of the revision.
            settings = replace(settings, vars=fresh.vars)
            if fresh != settings and not is_repeated:
                # Gateways and workers keep their settings until a restart: do not apply new ones in part.
                screen.warn("the settings have changed: restart to apply them")
            checked = await asyncio.to_thread(compile_or_fail, settings, purpose="apply")
            save_lock(screen, checked)
            origin = await asyncio.to_thread(read_origin, settings)
            applied = await publish_folder(store, checked, origin=origin)
        except (Unreachable, CommandFailed) as error:
            if not is_repeated:
                screen.warn(f"{error}; the change is not live yet, and its publication is tried again")
            continue
        except NotConverged as late:
            applied = late.applied
            screen.warn(late.message)
        except IogateError as error:
            screen.warn(f"{error.message}; the live revision is unchanged")
            seen = now
            continue
        seen = now
        if applied.changed:
            screen.note(summarize(applied), style="green")


def stamp(root: Path) -> Stamp:
    """Return names, times and sizes of the project's files, so that `up --watch` detects changes."""
    found: set[tuple[str, int, int]] = set()
    own = _output_files()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in IGNORED_FOLDERS]
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


def _output_files() -> frozenset[tuple[int, int]]:
    """Return stdout and stderr as device and inode; `up --watch` ignores changes of these files."""
    found = set()
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            status = os.fstat(descriptor)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
