"""Apply of a bundle: compare, guard, publish, and wait until the running processes have loaded it.

    read live ──► guard ──► plan ──► publish if live is still the one read ──► wait for processes
        ▲                               │ moved, and the caller named no revision
        └───────────────────────────────┘ at most ATTEMPTS times

Invariant: only the revision that the guard has checked is replaced; a revision that goes live in between is
never overwritten unchecked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from iogate.compiler.revision import Bundle
from iogate.errors import NotTaken, Refused
from iogate.reconcile import guard
from iogate.reconcile.guard import NOTHING_ALLOWED, Allowed
from iogate.reconcile.live_plan import compare, live
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
    convergence: Convergence | None = None
    """State of the gateways and workers after the wait; None before it."""

    @property
    def changed(self) -> bool:
        """False if the live revision was identical, so that nothing was published."""
        return self.number != self.previous

    def to_json(self) -> dict[str, Any]:
        return {
            "revision": self.number,
            "digest": self.digest,
            "previous": self.previous,
            "changed": self.changed,
            "processes": None if self.convergence is None else self.convergence.to_json(),
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
        """Return the error of the same apply after its revision was replaced again."""
        state = self.convergence
        return NotTaken(
            f"revision {self.applied.number} is no longer live: only {state.loaded} of {state.total} "
            f"processes had loaded it after {state.took_s:.1f} s: {state.describe_late()}",
            code=LATE,
        )


async def apply(
    store: Store,
    bundle: Bundle,
    *,
    expected: int | None = None,
    allowed: Allowed = NOTHING_ALLOWED,
    wait_s: float = WAIT_S,
    origin: Origin | None = None,
    clear_overrides: bool = False,
    plan: Plan | None = None,
) -> Applied:
    """Make the bundle live and wait up to `wait_s` until every gateway and worker has loaded it.

    `origin` is stored with a new revision, together with a summary of its changes. With `expected`, only that
    revision is replaced (0: there must be none); `plan` then gives the changes from it, if the caller has
    compared the two already. `clear_overrides` ends the overrides of the APIs in the same step.

    Raises Refused (guard, stale `expected`), NotFound or NotAuthentic for a live revision that cannot be
    compared, NotConverged, StoreUnavailable.
    """
    assert plan is None or expected is not None, "a plan starts from a revision"
    applied = await _publish(
        store,
        bundle,
        expected=expected,
        allowed=allowed,
        origin=origin,
        clear_overrides=clear_overrides,
        plan=plan,
    )
    return await _converge(store, applied, wait_s)


async def undo(store: Store, applied: Applied, origin: Origin, *, wait_s: float = WAIT_S) -> Applied:
    """Publish the content that an apply replaced again, as a revision of its own.

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


async def _publish(
    store: Store,
    bundle: Bundle,
    *,
    expected: int | None,
    allowed: Allowed,
    origin: Origin | None,
    clear_overrides: bool,
    plan: Plan | None,
) -> Applied:
    conflict: Conflict | None = None
    for _ in range(ATTEMPTS):
        number, before = await live(store)
        if expected is not None and number != expected:
            raise Conflict(number, expected)
        guard.check(before, bundle.revision, allowed)
        changes = plan if plan is not None else await compare(store, before, bundle)
        described = None if origin is None else msgspec.structs.replace(origin, changes=changes.past_counts())
        try:
            published = await store.revisions.publish(
                bundle, expected=number, origin=described, clear_overrides=clear_overrides
            )
        except Conflict as error:
            conflict = error
            continue
        return Applied(
            number=published,
            digest=bundle.revision.digest,
            previous=number or None,
            plan=changes,
        )
    raise Refused(
        f"the live revision changed {ATTEMPTS} times while this apply was under way",
        code=BUSY,
        hint="apply from one place only, or pass the revision that this apply is to replace",
    ) from conflict
