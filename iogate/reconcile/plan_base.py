"""Revision that a plan starts from: the live one, or for a repair the newest authentic one that is kept.

Used by `live_plan`. Invariant: without a repair, a live revision that is refused stops the command; with one,
each reason is named, and nothing that is refused is compared or shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from iogate.compiler.revision import Revision
from iogate.errors import NotFound, WrongStore
from iogate.reconcile.plan import NOTHING, programs_to_compare
from iogate.store.connection.connection import CommandFailed
from iogate.store.maintenance.process_presence import Process
from iogate.store.revisions.convergence import loaded_revision
from iogate.store.revisions.origin import Published
from iogate.store.revisions.revision_errors import NotAuthentic
from iogate.store.store import Store

_REFUSED: Final = (NotAuthentic, NotFound, CommandFailed, WrongStore)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Revision that a plan starts from."""

    number: int
    """0 if nothing was ever applied, or nothing that is kept is authentic."""
    revision: Revision
    """Empty without a number."""
    faults: tuple[str, ...] = ()
    """Why the live revision is not the base: a publish then replaces whatever is live."""
    above: int = 0
    """Largest number that a running process has loaded; a repair takes a larger one."""


async def live(store: Store) -> tuple[int, Revision]:
    """Return the live revision as the base of a plan; number 0 and an empty one if nothing was ever applied.

    Raises WrongStore if another release wrote it, NotAuthentic if it or its record is forged.
    """
    found = await store.revisions.live()
    if found is None:
        return 0, NOTHING.revision
    return found[0], await store.revisions.load(found[0], project=store.revisions.project)


async def trusted(store: Store) -> Base:
    """Return the base of a repair: live, or else the newest kept one that is authentic, with the faults.

    Raises StoreUnavailable.
    """
    faults: list[str] = []
    number, revision = 0, NOTHING.revision
    try:
        number, revision = await live(store)
        if number:
            await store.revisions.published(number)
    except _REFUSED as error:
        faults.append(_text(error))
    above, newer = await _loaded(store, number if not faults else None)
    faults += newer
    kept = await _kept(store)
    if not faults and not number and (kept or above):
        faults.append("the store has revisions of the project, and no record of the live one")
    if not faults:
        return Base(number=number, revision=revision, above=above)
    for entry in kept:
        if entry.fault is not None:
            faults.append(f"revision {entry.number} is refused: {entry.fault}")
            continue
        try:
            revision = await store.revisions.load(entry.number, project=store.revisions.project)
        except _REFUSED as error:
            faults.append(_text(error))
            continue
        return Base(number=entry.number, revision=revision, faults=_unique(faults), above=above)
    return Base(number=0, revision=NOTHING.revision, faults=_unique(faults), above=above)


async def without_lost_programs(
    store: Store, before: Revision, after: Revision
) -> tuple[Revision, tuple[str, ...]]:
    """Return the base of a plan without workflows with unreadable programs, and the reasons.

    Only programs that a comparison with `after` needs are read. Raises StoreUnavailable.
    """
    faults: dict[str, str] = {}
    read: set[str] = set()
    # Without a version whose program is lost, a new version is compared with the one before.
    while unread := programs_to_compare(before, after) - read:
        for digest in sorted(unread):
            try:
                await store.revisions.program(digest)
            except _REFUSED as error:
                faults[digest] = _text(error)
        read |= unread
        workflows = {name: each for name, each in before.workflows.items() if each.program not in faults}
        before = Revision(apis=before.apis, workflows=workflows, resources=before.resources)
    return before, tuple(faults.values())


async def _loaded(store: Store, number: int | None) -> tuple[int, list[str]]:
    """Return the largest revision that processes have loaded, and the processes ahead of the base."""
    project = store.revisions.project
    processes: list[Process] = [
        each for kind in ("gateway", "worker") for each in await store.presence.list(kind)
    ]
    largest = max((loaded_revision(each, project) for each in processes), default=0)
    if number is None or largest <= number:
        return largest, []
    ahead = [each for each in processes if loaded_revision(each, project) > number]
    first, more = ahead[0], f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
    text = f"{first.kind} {first.id}{more} has loaded revision {largest}, and the store says {number}"
    return largest, [f"{text}: it was set back, or has lost data"]


async def _kept(store: Store) -> list[Published]:
    try:
        return await store.revisions.history(content=True)
    except CommandFailed:
        return []


def _text(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _unique(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
