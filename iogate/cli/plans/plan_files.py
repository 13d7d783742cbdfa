"""Saved plans on disk: the files of `plan --out`, and their checks before `apply FILE`.

Used by `plan` and `apply`. Invariant: a plan is applied only to the store, the revision and the files that it
was made for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from iogate.errors import Misused, NotFound, Refused
from iogate.version import __version__

if TYPE_CHECKING:
    from iogate.reconcile.live_plan import LivePlan
    from iogate.reconcile.saved_plan import SavedPlan
    from iogate.reconcile.wanted_revision import Scope
    from iogate.settings import Settings
    from iogate.store.store import Store

MAX_BYTES = 64 * 1024 * 1024


def read(file: Path) -> SavedPlan:
    """Read a saved plan from its file.

    Raises:
        NotFound: the file does not exist.
        Misused: the file cannot be read, or is not a saved plan.
    """
    from iogate.reconcile.saved_plan import load

    try:
        with file.open("rb") as stream:
            return load(stream.read(MAX_BYTES), str(file))
    except FileNotFoundError:
        raise NotFound(f"{file}: no such file", hint="`iogate plan --out FILE` writes a plan") from None
    except OSError as error:
        raise Misused(f"{file}: cannot be read: {error.strerror}") from None


async def write(file: Path, store: Store, settings: Settings, found: LivePlan, scope: Scope) -> None:
    """Write a plan to the file of `plan --out`.

    Raises Misused if the file cannot be written.
    """
    from iogate.atomic_files import write_atomically
    from iogate.reconcile.saved_plan import save

    data = save(found, scope, store=await store.identity(), project=settings.project, version=__version__)
    try:
        write_atomically(file, data)
    except OSError as error:
        raise Misused(f"--out {file}: cannot be written: {error.strerror}") from None


async def check_live(store: Store, settings: Settings, saved: SavedPlan) -> None:
    """Check that a saved plan is for this store and project, and that live has not moved since.

    Raises Refused if not.
    """
    from iogate.reconcile.saved_plan import STALE, check_base, check_origin

    check_origin(saved, store=await store.identity(), project=settings.project, version=__version__)
    live = await store.revisions.live()
    number = live[0] if live is not None else 0
    if number != saved.base and live is not None:
        if live[1] == saved.wanted:
            raise Refused(
                f"the plan was applied already: live revision {number} has its content",
                code=STALE,
                hint="nothing is left to do",
            )
        check_base(saved, number, await _moved(store, saved.base, number))


def check_files(saved: SavedPlan, found: LivePlan) -> None:
    """Check before `apply FILE` that the documents are those of the saved plan. Raises Refused if not."""
    from iogate.reconcile import saved_plan

    saved_plan.check_base(saved, found.number, [])
    saved_plan.check_files(saved, found)


async def _moved(store: Store, base: int, number: int) -> list[str]:
    """Return the changes since a saved plan as lines; empty if one of the revisions is not kept."""
    from iogate.cli.plans.plan_text import plan_lines
    from iogate.reconcile.plan import Side, plan
    from iogate.reconcile.plan_facts import Facts
    from iogate.security.control_characters import escape_line

    lines = []
    try:
        origin = await store.revisions.origin(number)
        if origin is not None and origin.author:
            message = f": {origin.message}" if origin.message else ""
            # A line feed could begin a line that looks like one of the plan.
            lines.append(f"revision {number} by {escape_line(origin.author + message)}")
        before, after = [Side.of(await store.revisions.bundle(each)) for each in (base, number)]
    except (NotFound, Refused):
        return lines
    changes = plan(before, after, Facts())
    return [*lines, *filter(None, plan_lines(changes, summary=changes.past_summary()))]
