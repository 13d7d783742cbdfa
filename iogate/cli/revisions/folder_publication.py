"""Publication of the project's files as the live revision, for `up` and `up --watch`; parts for `apply`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.cli.documents.bundle import compile_or_fail, save_lock
from iogate.errors import IogateError, Misused
from iogate.messages import counted
from iogate.version import __version__

if TYPE_CHECKING:
    from iogate.cli.documents.bundle import CheckResult
    from iogate.cli.render import Screen
    from iogate.reconcile.apply import Applied
    from iogate.settings import Settings
    from iogate.store.revisions.convergence import Convergence
    from iogate.store.revisions.origin import Origin
    from iogate.store.store import Store

POLL_S = 0.5
IGNORED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv"})
MAX_FILES = 20_000

Stamp = frozenset[tuple[str, int, int]]


async def publish_folder(
    store: Store, checked: CheckResult, *, origin: Origin, wait_s: float = 5.0
) -> Applied:
    """Publish compiled documents for `up`, and delete APIs that the folder no longer has, without a question.

    Raises as `iogate.reconcile.apply.apply` does.
    """
    from iogate.operators.access import command_actor
    from iogate.operators.publications import recorded_publication
    from iogate.reconcile.apply import apply
    from iogate.reconcile.deletion_guard import FOLDER

    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    actor = command_actor(origin.author)
    return await apply(
        store,
        checked.bundle,
        allowed=FOLDER,
        wait_s=wait_s,
        origin=origin,
        recording=lambda found: recorded_publication(store, actor, found, origin),
    )


def read_origin(settings: Settings, message: str = "", commit: str = "") -> Origin:
    """Return the origin of a revision of the current folder: author, commit and release.

    With `commit`, git is not asked.

    Raises Misused for a message that is too long.
    """
    from iogate.cli.revisions import git_state
    from iogate.cli.revisions.git_state import GitState
    from iogate.cli.session import author
    from iogate.store.revisions.origin import Origin

    check_message(message)
    git = GitState(commit=commit) if commit else git_state.read(Path.cwd(), settings.data_dir)
    return Origin(
        author=author(), commit=git.commit, dirty=git.dirty, message=message.strip(), version=__version__
    )


def check_message(message: str) -> None:
    """Check the length of the message of a publication, `--message`. Raises Misused if it is too long."""
    from iogate.operators.publications import MESSAGE_CHARACTERS

    if len(message) > MESSAGE_CHARACTERS:
        raise Misused(
            f"--message: expected at most {MESSAGE_CHARACTERS} characters, got {len(message)}",
            hint="put the rest into the commit",
        )


def summarize(applied: Applied) -> str:
    """Return a one-line summary of an apply of the folder."""
    if not applied.changed:
        repaired = Counter(each.kind for each in applied.repaired)
        counts = [counted(number, kind) for kind, number in repaired.items()]
        return f"revision {applied.number}: no changes" + (
            f", repaired {' and '.join(counts)}" if counts else ""
        )
    return f"revision {applied.number}: {applied.plan.past_counts()}"


def describe_convergence(state: Convergence | None) -> str:
    """Return how many processes have loaded a publication, and how long that took."""
    if state is None or not state.total:
        return "no gateways or workers are running"
    return f"{state} in {state.took_s:.1f} s" if not state.late else f"{state} after {state.took_s:.1f} s"


async def watch(
    screen: Screen, store: Store, read_settings: Callable[[], Settings], *, settings: Settings, seen: Stamp
) -> None:
    """Publish the files again after each change, until cancelled; only warn of invalid files.

    `settings` are those of the gateways and workers, except for variables. `seen` is the stamp of the files
    before they were published, so that no later change is missed.
    """
    while True:
        await asyncio.sleep(POLL_S)
        now = await asyncio.to_thread(stamp, Path.cwd())
        if now == seen:
            continue
        seen = now
        try:
            fresh = read_settings()
            # Variables are part of the revision.
            settings = replace(settings, vars=fresh.vars)
            if fresh != settings:
                # Gateways and workers keep their settings until a restart: do not apply new ones in part.
                screen.warn("the settings have changed: restart to apply them")
            checked = await asyncio.to_thread(compile_or_fail, settings, purpose="apply")
            save_lock(screen, checked)
            origin = await asyncio.to_thread(read_origin, settings)
            applied = await publish_folder(store, checked, origin=origin)
        except IogateError as error:
            screen.warn(f"{error.message}; the live revision is unchanged")
            continue
        if applied.changed:
            screen.note(summarize(applied), style="green")


def stamp(root: Path) -> Stamp:
    """Return names, times and sizes of the project's files, so that `up --watch` detects changes."""
    found: set[tuple[str, int, int]] = set()
    own = _outputs()
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


def _outputs() -> frozenset[tuple[int, int]]:
    """Return stdout and stderr as device and inode; `up --watch` ignores changes of these files."""
    found = set()
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            status = os.fstat(descriptor)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
