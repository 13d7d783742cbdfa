"""Plan of a bundle against the live revision of a store.

Called by the commands that plan and publish, and by apply. Invariant: only programs that differ are read
from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from iogate.compiler.revision import Bundle, Revision
from iogate.reconcile import facts as live_facts
from iogate.reconcile.facts import NO_FACTS, CaseVerdicts, Facts
from iogate.reconcile.plan import NOTHING, Plan, Side, plan, programs_to_compare
from iogate.reconcile.wanted import EVERYTHING, Scope, wanted
from iogate.store.store import Store

CaseReader = Callable[[Revision, Revision], Mapping[str, CaseVerdicts]]
"""Returns how debug cases fare under the schemas of two revisions, by API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """Plan with the revision that it starts from."""

    number: int
    """Number of the live revision; 0 if nothing was ever applied."""
    before: Revision
    """Content of the live revision; empty if nothing was ever applied."""
    bundle: Bundle
    """Revision to publish, with the programs of the files."""
    files: str
    """Digest of the compiled files, of which `bundle` may be a part."""
    facts: Facts
    plan: Plan


async def live(store: Store) -> tuple[int, Revision]:
    """Return the live revision with its number; 0 and an empty one if nothing was ever applied.

    Raises WrongStore if another release wrote it, NotAuthentic if it is forged.
    """
    found = await store.revisions.live()
    if found is None:
        return 0, NOTHING.revision
    return found[0], await store.revisions.load(found[0], project=store.revisions.project)


async def compare(store: Store, before: Revision, bundle: Bundle, facts: Facts = NO_FACTS) -> Plan:
    """Return the plan from a revision of the store to a bundle.

    Raises NotFound for a program that the store has lost, NotAuthentic for a forged one, StoreUnavailable.
    """
    programs = await store.revisions.programs(programs_to_compare(before, bundle.revision))
    return plan(Side(revision=before, programs=programs), Side.of(bundle), facts)


async def against_live(
    store: Store,
    files: Bundle,
    cases: CaseReader | None = None,
    scope: Scope = EVERYTHING,
    *,
    restores: bool = False,
) -> LivePlan:
    """Compare compiled files, or a part of them, with the live revision.

    `restores`: the files are an earlier revision, whose deleted APIs return with their switches.

    Raises NotFound or Refused as `wanted` does, WrongStore or NotAuthentic for a live revision that cannot be
    read, StoreUnavailable.
    """
    number, before = await live(store)
    bundle = wanted(before, files, scope)
    facts = await live_facts.read(store, before, bundle.revision)
    if restores:
        facts = replace(facts, deleted=frozenset())
    if cases is not None:
        facts = replace(facts, cases=cases(before, bundle.revision))
    return LivePlan(
        number=number,
        before=before,
        bundle=bundle,
        files=files.revision.digest,
        facts=facts,
        plan=await compare(store, before, bundle, facts),
    )


def settled(found: LivePlan) -> Bundle:
    """Return the bundle to publish: the live revision itself if the plan is empty.

    Two revisions that behave the same may differ in the names of their files; publishing the live one again
    signs it and makes no new revision.
    """
    if found.plan or not found.number:
        return found.bundle
    return msgspec.structs.replace(found.bundle, revision=found.before)
