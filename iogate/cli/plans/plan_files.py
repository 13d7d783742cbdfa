"""Saved plans on disk, and the publication of a plan that was shown.

Used by `plan`, `apply` and `rollback`. Invariant: exactly the revision that was shown replaces exactly the
revision that it was compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.cli.render import Output
from iogate.cli.session import Session
from iogate.errors import Misused, NotFound, Refused
from iogate.version import __version__

if TYPE_CHECKING:
    from iogate.reconcile.guard import Allowed
    from iogate.reconcile.live_plan import LivePlan
    from iogate.reconcile.saved_plan import SavedPlan
    from iogate.reconcile.wanted import Scope
    from iogate.settings import Settings
    from iogate.store.revisions.origin import Origin
    from iogate.store.store import Store

MAX_BYTES = 64 * 1024 * 1024
DIRTY = "IOG707"


def read(file: Path) -> SavedPlan:
    """Read a saved plan.

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
    """Write a plan to a file.

    Raises Misused if the file cannot be written.
    """
    from iogate.files import write_atomically
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
    """Check that the files are those of the plan. Raises Refused if not."""
    from iogate.reconcile import saved_plan

    saved_plan.check_base(saved, found.number, [])
    saved_plan.check_files(saved, found)


async def _moved(store: Store, base: int, number: int) -> list[str]:
    """Return the changes between two revisions as lines; empty if one of them is not kept."""
    from iogate.cli.plans.plan_text import plan_lines
    from iogate.reconcile.facts import Facts
    from iogate.reconcile.plan import Side, plan
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


def check_clean(origin: Origin) -> None:
    """Check that the folder is as in its git commit.

    Raises Refused if it is not, or if it is in no repository.
    """
    if not origin.commit:
        raise Refused(
            "--require-clean: this folder has no git commit",
            code=DIRTY,
            hint="apply from a clone of the repository",
        )
    if origin.dirty:
        raise Refused(
            f"--require-clean: the folder has changes that commit {origin.commit[:12]} lacks",
            code=DIRTY,
            hint="`git status` lists them; commit or stash them",
        )


@dataclass(frozen=True, kw_only=True)
class Publication:
    """How a plan that was shown is published."""

    schema: str
    """Name of the command in its JSON."""
    allowed: Allowed
    origin: Origin
    wait_s: float
    """Longest time to wait for gateways and workers."""
    rollback_on_failure: bool = False
    """Whether the content before is published again if a process cannot load it."""
    clear_overrides: bool = False
    """Whether the overrides of the APIs end in the same step."""


async def publish(
    session: Session, store: Store, settings: Settings, found: LivePlan, how: Publication
) -> None:
    """Publish a plan that was shown, wait for gateways and workers, and print the result.

    Raises Conflict if another revision went live since, NotTaken if a process has not loaded it in time.
    """
    from iogate.cli.revisions.publication import describe_convergence, roll_back, summarize
    from iogate.reconcile.apply import NotConverged, apply
    from iogate.reconcile.live_plan import settled

    late: NotConverged | None = None
    rolled_back: int | None = None
    undone = ""
    try:
        applied = await apply(
            store,
            settled(found),
            expected=found.number,
            allowed=how.allowed,
            wait_s=how.wait_s,
            origin=how.origin,
            clear_overrides=how.clear_overrides,
            plan=found.plan,
        )
    except NotConverged as error:
        late, applied = error, error.applied
        if how.rollback_on_failure:
            undone, rolled_back = await roll_back(store, late, settings, how.wait_s)
    gates = await store.gates.states()
    for_programs = session.screen.output is not Output.TEXT  # a large plan takes a while
    session.screen.data(
        how.schema,
        {**applied.to_json(), "rolledBack": rolled_back} if for_programs else {},
        [summarize(applied), describe_convergence(applied)],
    )
    closed = [api for api in applied.plan.ids("add", "api") if api in gates and not gates[api].enabled]
    if closed:
        session.screen.note(f"not enabled yet: iogate enable {' '.join(closed)}")
    if undone:
        session.screen.warn(undone)
    if late is not None:
        raise late if rolled_back is None else late.rolled_back()
