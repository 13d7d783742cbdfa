"""Apply of a bundle: compare, guard, publish, and wait until the running processes have loaded it.

    plan against live ──► guard ──► publish if live is still the one compared ──► wait for processes
        ▲                               │ moved
        └───────────────────────────────┘ at most ATTEMPTS times, only in `apply`

Invariant: only the revision that the guard has checked is replaced; a revision that goes live in between is
never overwritten unchecked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import msgspec

from iogate.compiler.revision import Bundle
from iogate.errors import NotTaken, Refused
from iogate.reconcile.deletion_guard import NOTHING_ALLOWED, Allowed
from iogate.reconcile.drift import Drift
from iogate.reconcile.live_plan import LivePlan, against_live, compare
from iogate.reconcile.plan import Plan
from iogate.store.revisions.convergence import Convergence
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import Conflict
from iogate.store.store import Store

ATTEMPTS = 5
"""Maximum number of attempts; after each conflict the guard and the plan are evaluated again."""
WAIT_S = 5.0
BUSY = "IOG632"
LATE = "IOG633"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """Result of an apply."""

    number: int
    digest: str
    previous: int | None
    """The revision that was live before; None if there was none."""
    plan: Plan
    """Changes from that revision, with those facts that the caller has read."""
    repaired: tuple[Drift, ...] = ()
    """Objects of the store that differed from the revision before, and were written again."""
    faults: tuple[str, ...] = ()
    """Why the revision before was refused, and replaced."""
    ended: int = 0
    """Number of overrides that it has ended."""
    undone_by: int | None = None
    """Number of the revision that has taken it back."""
    convergence: Convergence | None = None
    """State of the gateways and workers after the wait; None before it."""

    @property
    def changed(self) -> bool:
        """False if the apply published nothing, since the live revision was identical."""
        return self.number != self.previous

    def to_json(self) -> dict[str, Any]:
        return {
            "revision": self.number,
            "digest": self.digest,
            "previous": self.previous,
            "changed": self.changed,
            "processes": None if self.convergence is None else self.convergence.to_json(),
            "repaired": [each.to_json() for each in self.repaired],
            "faults": list(self.faults),
            "plan": self.plan.to_json(),
        }


class NotConverged(NotTaken):
    """Error of a published revision that some processes have not loaded in time; it stays live."""

    def __init__(self, applied: Applied, convergence: Convergence) -> None:
        super().__init__(
            f"revision {applied.number} is live, but only {convergence.loaded} of {convergence.total} "
            f"processes have loaded it after {convergence.took_s:.1f} s: {convergence.describe_late()}",
            code=LATE,
            hint="a process loads it as soon as it can, and uses its last good revision until then; "
            "`iogate status` shows them",
        )
        self.applied = applied
        self.convergence = convergence

    def rolled_back(self) -> NotTaken:
        """Return the error of an apply after its revision was replaced by the one before."""
        state = self.convergence
        return NotTaken(
            f"revision {self.applied.number} is no longer live: only {state.loaded} of {state.total} "
            f"processes had loaded it after {state.took_s:.1f} s: {state.describe_late()}",
            code=LATE,
        )


Recording: TypeAlias = Callable[[LivePlan], AbstractAsyncContextManager[Callable[[Applied], None]]]
"""Records the publication of a plan in its block, which calls what it yields with the result."""


@asynccontextmanager
async def unrecorded(_: LivePlan) -> AsyncIterator[Callable[[Applied], None]]:
    """Record nothing about an apply: the default of its `recording`."""
    yield lambda _: None


async def apply(
    store: Store,
    bundle: Bundle,
    *,
    expected: int | None = None,
    allowed: Allowed = NOTHING_ALLOWED,
    wait_s: float = WAIT_S,
    origin: Origin | None = None,
    recording: Recording = unrecorded,
) -> Applied:
    """Plan and publish a bundle, and wait up to `wait_s` until every process has loaded it.

    `origin` is stored with a new revision, together with a summary of its changes. With `expected`, only that
    revision is replaced (0: there must be none). `recording` records the publication.

    Raises Refused (guard, stale `expected`), NotFound or NotAuthentic for a live revision that cannot be
    compared, NotConverged, StoreUnavailable.
    """
    conflict: Conflict | None = None
    for _ in range(ATTEMPTS):
        found = await against_live(store, bundle)
        if expected is not None and found.number != expected:
            raise Conflict(found.number, expected)
        found.check(allowed)
        late: NotConverged | None = None
        try:
            async with recording(found) as note:
                try:
                    applied = await publish(store, found, wait_s=wait_s, origin=origin)
                except NotConverged as error:
                    late, applied = error, error.applied
                note(applied)
        except Conflict as error:
            conflict = error
            continue
        if late is not None:
            raise late
        return applied
    raise Refused(
        f"the live revision changed {ATTEMPTS} times while this apply was under way",
        code=BUSY,
        hint="apply from one place only, or pass the revision that this apply is to replace",
    ) from conflict


async def publish(
    store: Store,
    found: LivePlan,
    *,
    wait_s: float = WAIT_S,
    origin: Origin | None = None,
    clear_overrides: bool = False,
) -> Applied:
    """Make a plan live that the caller has checked, and wait as `apply` does.

    Only the revision that it starts from is replaced; a repair replaces whatever is live. Without changes,
    gates and schedules that differ are written again. `clear_overrides` ends the overrides of the APIs in the
    same step.

    Raises Conflict if another revision is live by now, NotConverged, StoreUnavailable.
    """
    described = None if origin is None else msgspec.structs.replace(origin, changes=found.plan.past_counts())
    revisions = store.revisions
    if found.faults:
        number = await revisions.repair(
            found.bundle, described or Origin(), above=found.above, clear_overrides=clear_overrides
        )
    else:
        number = await revisions.publish(
            found.settled,
            expected=found.number,
            origin=described,
            clear_overrides=clear_overrides,
            gates=bool(found.drift),
        )
    applied = Applied(
        number=number,
        digest=found.settled.revision.digest,
        previous=found.number or None,
        plan=found.plan,
        repaired=found.drift,
        faults=found.faults,
        ended=len(found.overridden) if clear_overrides else 0,
    )
    return await _converge(store, applied, wait_s)


async def undo(store: Store, applied: Applied, origin: Origin, *, wait_s: float = WAIT_S) -> Applied:
    """Undo an apply: publish the content that it replaced again, as a revision of its own.

    The guard is not asked: everything that this deletes was added by the same apply. Raises Conflict if
    another revision is live by now, NotFound if the earlier one is not kept, NotConverged, StoreUnavailable.
    """
    assert applied.previous is not None, "the caller checks that there is a revision to return to"
    bundle = await store.revisions.bundle(applied.previous)
    now = await store.revisions.load(applied.number)
    changes = await compare(store, now, bundle)
    described = msgspec.structs.replace(
        origin, action="rollback", restores=applied.previous, changes=changes.past_counts()
    )
    number = await store.revisions.publish(bundle, expected=applied.number, origin=described)
    undone = Applied(number=number, digest=bundle.revision.digest, previous=applied.number, plan=changes)
    return await _converge(store, undone, wait_s)


async def _converge(store: Store, applied: Applied, wait_s: float) -> Applied:
    convergence = await store.convergence.wait(applied.number, wait_s)
    applied = replace(applied, convergence=convergence)
    if convergence.late:
        raise NotConverged(applied, convergence)
    return applied
