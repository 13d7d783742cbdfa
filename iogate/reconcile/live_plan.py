"""Plan of a bundle against the live revision of a store, for the commands that show, check and publish it.

    against_live ──► LivePlan ──► check (guard) ──► `apply.publish`, which replaces only what was compared

Called by the commands that plan and publish, and by apply. Invariant: only programs that differ are read from
the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from iogate.compiler.revision import Bundle, Revision
from iogate.reconcile import deletion_guard
from iogate.reconcile import drift as drifts
from iogate.reconcile import plan_base as bases
from iogate.reconcile import plan_facts as live_facts
from iogate.reconcile.deletion_guard import Allowed, Deletions
from iogate.reconcile.drift import Drift
from iogate.reconcile.plan import Plan, Side, plan, programs_to_compare
from iogate.reconcile.plan_base import Base, live
from iogate.reconcile.plan_facts import NO_FACTS, CaseVerdicts, Facts
from iogate.reconcile.wanted_revision import EVERYTHING, Scope, wanted
from iogate.store.store import Store

__all__ = ["CaseReader", "LivePlan", "against_live", "compare", "live"]

CaseReader = Callable[[Revision, Revision], Mapping[str, CaseVerdicts]]
"""Returns how debug cases fare under the schemas of two revisions, by API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """Plan with its base revision, the bundle to publish, and the differences of the store to repair."""

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
    drift: tuple[Drift, ...] = ()
    """Gates and schedules that differ from the live revision; a publish writes them again."""
    faults: tuple[str, ...] = ()
    """Why the live revision is refused; only for a repair. `number` and `before` are then of the newest one
    that is authentic, and a publish replaces whatever is live."""
    above: int = 0
    """For a repair: largest number that a running process has loaded."""

    def check(self, allowed: Allowed) -> None:
        """Check that a publish of the live plan deletes no more than the options allow.

        Raises Refused if it does.
        """
        self.deletions.check(allowed)
        deletion_guard.check_unknown(self.unknown, allowed)

    @property
    def deletions(self) -> Deletions:
        """APIs and workflows that a publish of the live plan deletes."""
        return Deletions.between(self.before, self.bundle.revision)

    @property
    def unknown(self) -> tuple[str, ...]:
        """APIs that a repair by the live plan deletes and that only the store names, sorted."""
        if not self.faults or self.number:
            return ()
        known = {name for name, gate in self.facts.gates.items() if gate.digest}
        return tuple(sorted(known - self.bundle.revision.apis.keys()))

    @property
    def overridden(self) -> tuple[str, ...]:
        """APIs of the live plan with an override, sorted; a publish that clears overrides ends these."""
        gates, apis = self.facts.gates, self.bundle.revision.apis
        return tuple(api for api in sorted(gates) if api in apis and gates[api].override is not None)

    @property
    def changes(self) -> bool:
        """Whether a publish of the live plan changes anything, apart from overrides."""
        return bool(self.plan or self.drift or self.faults)

    @property
    def settled(self) -> Bundle:
        """The bundle to publish for the live plan: the live revision itself if the plan is empty.

        Two revisions that behave the same may differ in the names of their files; publishing the live one
        again signs it and makes no new revision.
        """
        if self.plan or not self.number:
            return self.bundle
        return msgspec.structs.replace(self.bundle, revision=self.before)


async def compare(store: Store, before: Revision, bundle: Bundle, facts: Facts = NO_FACTS) -> Plan:
    """Return the plan from the live revision, or another one of the store, to a bundle.

    Raises NotFound for a program that the store has lost, NotAuthentic for a forged one, StoreUnavailable.
    """
    programs = await store.revisions.programs(programs_to_compare(before, bundle.revision))
    # A plan of a thousand APIs takes a second, in which a gateway accepts calls.
    return await asyncio.to_thread(plan, Side(revision=before, programs=programs), Side.of(bundle), facts)


async def against_live(
    store: Store,
    files: Bundle,
    cases: CaseReader | None = None,
    scope: Scope = EVERYTHING,
    *,
    restores: bool = False,
    repair: bool = False,
) -> LivePlan:
    """Plan compiled files, or a part of them, against the live revision.

    `restores`: the files are an earlier revision, whose deleted APIs return with their switches. `repair`: a
    live revision that is refused is a fault of the result, and no error.

    Raises NotFound or Refused as `wanted` does, WrongStore or NotAuthentic for a live revision that cannot be
    read, StoreUnavailable.
    """
    if repair:
        base = await bases.trusted(store)
    else:
        number, revision = await live(store)
        base = Base(number=number, revision=revision)
    bundle = wanted(base.revision, files, scope)
    facts = await live_facts.read(store, base.revision, bundle.revision)
    if restores:
        facts = replace(facts, deleted=frozenset())
    if cases is not None:
        facts = replace(facts, cases=cases(base.revision, bundle.revision))
    comparable, faults = base.revision, base.faults
    if repair:
        comparable, lost = await bases.without_lost_programs(store, base.revision, bundle.revision)
        faults = (*faults, *lost)
    find = drifts.find if repair else drifts.find_gates_and_schedules
    return LivePlan(
        number=base.number,
        before=base.revision,
        bundle=bundle,
        files=files.revision.digest,
        facts=facts,
        plan=await compare(store, comparable, bundle, facts),
        drift=tuple(await find(store, base.revision)) if base.number else (),
        faults=faults,
        above=base.above,
    )
