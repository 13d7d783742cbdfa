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
    from iogate.cli.system.system import Revisions
    from iogate.operators.publication_plan import PublicationPlan
    from iogate.reconcile.saved_plan import SavedPlan
    from iogate.reconcile.wanted_revision import Scope

MAX_BYTES = 64 * 1024 * 1024


def read(file: Path) -> SavedPlan:
    """Read the file of a saved plan, for `apply FILE`.

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


def write(file: Path, found: PublicationPlan, scope: Scope) -> None:
    """Write a plan to the file of `plan --out`.

    Raises Misused if the file cannot be written.
    """
    from iogate.atomic_files import write_atomically
    from iogate.reconcile.saved_plan import SavedPlan, encode

    saved = SavedPlan(
        version=__version__,
        store=found.identity,
        project=found.project,
        select=scope.select,
        keep_orphans=scope.keep_orphans,
        base=found.number,
        base_digest=found.digest,
        files=found.files,
        wanted=found.wanted,
        plan=found.plan.to_json(),
    )
    try:
        write_atomically(file, encode(saved))
    except OSError as error:
        raise Misused(f"--out {file}: cannot be written: {error.strerror}") from None


async def check(saved: SavedPlan, found: PublicationPlan, revisions: Revisions) -> None:
    """Check before `apply FILE` that a saved plan fits store, project and files, and that live has not moved.

    Raises Refused if not.
    """
    from iogate.reconcile import saved_plan

    saved_plan.check_origin(saved, store=found.identity, project=found.project, version=__version__)
    number = found.number
    if number != saved.base and number:
        if found.digest == saved.wanted:
            raise Refused(
                f"the plan was applied already: live revision {number} has its content",
                code=saved_plan.STALE,
                hint="nothing is left to do",
            )
        saved_plan.check_base(saved, number, await _moved(revisions, saved.base, number))
    saved_plan.check_base(saved, number, [])
    saved_plan.check_files(saved, files=found.files, wanted=found.wanted, plan=found.plan)


async def _moved(revisions: Revisions, base: int, number: int) -> list[str]:
    """Return the changes since the plan in a file as lines; empty if one of the revisions is not kept."""
    from iogate.cli.plans.plan_text import plan_lines
    from iogate.reconcile.plan_reader import read_plan
    from iogate.security.control_characters import escape_line

    lines = []
    try:
        newest = (await revisions.history(1))["revisions"]
        for each in newest:
            if each["revision"] == number and each["author"]:
                message = f": {each['message']}" if each["message"] else ""
                # A line feed could begin a line that looks like one of the plan.
                lines.append(f"revision {number} by {escape_line(each['author'] + message)}")
        changes = read_plan(await revisions.diff(base, number))
    except (NotFound, Refused, Misused):
        return lines
    return [*lines, *filter(None, plan_lines(changes, summary=changes.past_summary()))]
