"""Publication of the project's files as the live revision, for `up`; parts for `apply`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iogate.errors import Misused
from iogate.messages import counted, quoted
from iogate.version import __version__

if TYPE_CHECKING:
    from iogate.cli.documents.bundle import CheckResult
    from iogate.reconcile.apply import Applied
    from iogate.reconcile.live_plan import LivePlan
    from iogate.settings import Settings
    from iogate.store.revisions.convergence import Convergence
    from iogate.store.revisions.origin import Origin
    from iogate.store.store import Store

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")


async def publish_folder(
    store: Store, checked: CheckResult, *, origin: Origin, wait_s: float = 5.0
) -> Applied:
    """Publish compiled documents for `up`, and delete APIs that the folder no longer has, without a question.

    Raises Refused with the code TAKEN_BACK if the live revision is a rollback of this content, and as
    `iogate.reconcile.apply.apply` does.
    """
    from iogate.operators.publications import recorded_publication
    from iogate.operators.roles import command_actor
    from iogate.reconcile.apply import apply
    from iogate.reconcile.deletion_guard import FOLDER

    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    actor, digest = command_actor(origin.author), checked.bundle.revision.digest

    @asynccontextmanager
    async def recording(found: LivePlan) -> AsyncIterator[Callable[[Applied], None]]:
        # For each attempt, since a rollback may come in between.
        await _check_rollback(store, digest)
        async with recorded_publication(store, actor, found, origin) as note:
            yield note

    return await apply(
        store,
        checked.bundle,
        allowed=FOLDER,
        wait_s=wait_s,
        origin=origin,
        recording=recording,
    )


async def _check_rollback(store: Store, digest: str) -> None:
    """Raise Refused if the live revision is a rollback that took back the content of this digest."""
    from iogate.operators import revisions
    from iogate.reconcile import deletion_guard

    live = await store.revisions.live()
    origin = await store.revisions.origin(live[0]) if live is not None else None
    if origin is not None and origin.restores is not None:
        history = await revisions.page(store, limit=deletion_guard.WHOLE_HISTORY)
        deletion_guard.check_rollback(history["revisions"], digest)


def read_origin(settings: Settings, message: str = "", commit: str = "") -> Origin:
    """Return the origin for a publication of the current folder: author, commit and release.

    With `commit`, git is not asked.

    Raises Misused for a message that is too long, and for a commit that is no id of git.
    """
    from iogate.cli.revisions import git_state
    from iogate.cli.revisions.git_state import GitState
    from iogate.cli.session import author
    from iogate.store.revisions.origin import Origin

    check_message(message)
    if commit and not _COMMIT.fullmatch(commit):
        raise Misused(
            f"--commit: expected the id of a git commit, 7 to 64 digits 0-9 and a-f, got {quoted(commit)}",
            hint="`git rev-parse HEAD` prints it",
        )
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
    """Return a one-line summary of a publication of the folder."""
    if not applied.changed:
        repaired = Counter(each.kind for each in applied.repaired)
        counts = [counted(number, kind) for kind, number in repaired.items()]
        return f"revision {applied.number}: no changes" + (
            f", repaired {' and '.join(counts)}" if counts else ""
        )
    return f"revision {applied.number}: {applied.plan.past_counts()}"


def describe_convergence(state: Convergence | None) -> str:
    """Describe on a line how many processes have loaded a publication, and how long that took."""
    if state is None or not state.total:
        return "no gateways or workers are running"
    return f"{state} in {state.took_s:.1f} s" if not state.late else f"{state} after {state.took_s:.1f} s"
