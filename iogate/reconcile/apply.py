"""Apply of a bundle: compare, guard, publish, and wait until the running gateways have loaded it.

    read live ──► difference ──► guard ──► publish if live is still the one read ──► wait for gateways
        ▲                                        │ moved, and the caller named no revision
        └────────────────────────────────────────┘ at most ATTEMPTS times

Invariant: only the revision that the guard has checked is replaced; a revision that goes live in between is
never overwritten unchecked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from iogate.compiler.revision import Bundle, Revision
from iogate.errors import NotTaken, Refused, WrongStore
from iogate.reconcile import guard
from iogate.reconcile.diff import Difference, difference
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import Conflict
from iogate.store.store import Store

ATTEMPTS = 5
"""Maximum number of attempts; after each conflict the difference and the guard are evaluated again."""
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
    difference: Difference

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
            **self.difference.to_json(),
        }


class LateGateways(NotTaken):
    """Error of a published revision that some gateways have not loaded in time; it stays live."""

    def __init__(self, applied: Applied, gateways: tuple[str, ...], wait_s: float) -> None:
        noun = "gateway" if len(gateways) == 1 else "gateways"
        has = "has" if len(gateways) == 1 else "have"
        super().__init__(
            f"revision {applied.number} is live, but {noun} {', '.join(gateways)} {has} not loaded it "
            f"after {wait_s:g} s",
            code=LATE,
            hint="a gateway loads it as soon as it reaches the store; see `iogate status`",
        )
        self.applied = applied
        self.gateways = gateways


async def apply(
    store: Store,
    bundle: Bundle,
    *,
    expected: int | None = None,
    allow_empty: bool = False,
    wait_s: float = WAIT_S,
    origin: Origin | None = None,
) -> Applied:
    """Make the bundle live and wait up to `wait_s` until every running gateway has loaded it.

    `origin` is stored with a new revision, together with a summary of its changes. With `expected`, only that
    revision is replaced (0: there must be none). Raises Refused (guard, stale `expected`), LateGateways,
    StoreUnavailable.
    """
    applied = await _publish(store, bundle, expected=expected, allow_empty=allow_empty, origin=origin)
    late = await store.revisions.wait_taken(applied.number, wait_s)
    if late:
        raise LateGateways(applied, tuple(late), wait_s)
    return applied


async def live(store: Store) -> tuple[int, Revision] | None:
    """Return the live revision with its number; None if nothing was ever applied.

    Raises WrongStore if another release wrote it, NotAuthentic if it is forged.
    """
    found = await store.revisions.live()
    if found is None:
        return None
    number, _ = found
    try:
        return number, await store.revisions.load(number)
    except msgspec.ValidationError as error:
        raise WrongStore(
            f"revision {number} in the store was written by another release of iogate: {error}",
            code="IOG634",
            hint="use the release that wrote it, or a newer one",
        ) from error


async def _publish(
    store: Store, bundle: Bundle, *, expected: int | None, allow_empty: bool, origin: Origin | None
) -> Applied:
    conflict: Conflict | None = None
    for _ in range(ATTEMPTS):
        before = await live(store)
        number, revision = before if before is not None else (0, None)
        if expected is not None and number != expected:
            raise Conflict(number, expected)
        guard.check(revision, bundle.revision, allow_empty=allow_empty)
        changes = difference(revision, bundle.revision)
        described = None if origin is None else msgspec.structs.replace(origin, changes=changes.summary())
        try:
            published = await store.revisions.publish(bundle, expected=number, origin=described)
        except Conflict as error:
            conflict = error
            continue
        return Applied(
            number=published,
            digest=bundle.revision.digest,
            previous=number or None,
            difference=changes,
        )
    raise Refused(
        f"the live revision changed {ATTEMPTS} times while this apply was under way",
        code=BUSY,
        hint="apply from one place only, or pass the revision that this apply is to replace",
    ) from conflict
