"""Publication of a plan that was checked, and rollback to an earlier revision.

Used by `apply` and `rollback`, and by the routes that publish. Invariant: exactly the compared revision is
replaced; a repair replaces whatever is live.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from iogate.compiler.revision import Bundle
from iogate.errors import IogateError, NotFound
from iogate.messages import counted, shorten
from iogate.operators.activity import recorded, target
from iogate.operators.roles import Actor
from iogate.operators.secrets import missing_secrets
from iogate.reconcile import apply
from iogate.reconcile.apply import Applied, NotConverged
from iogate.reconcile.deletion_guard import NOTHING_ALLOWED, Allowed
from iogate.reconcile.drift import Drift
from iogate.reconcile.live_plan import LivePlan, against_live
from iogate.reconcile.plan import Plan
from iogate.reconcile.wanted_revision import EVERYTHING, Scope
from iogate.store.revisions.convergence import Convergence, read_convergence
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revision_errors import Conflict
from iogate.store.store import Store
from iogate.version import __version__

NONE_EARLIER: Final = "IOG712"
MESSAGE_CHARACTERS: Final = 1000
"""Longest message of a revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """Publication of the content before, after processes have not loaded a revision."""

    number: int
    convergence: Convergence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Result of a publication."""

    applied: Applied
    missing: list[dict[str, Any]]
    """Secrets that running processes lack: see `missing_secrets.of_revision`."""
    closed: list[str]
    """New APIs that are not enabled."""
    late: NotConverged | None = None
    """Error of the processes that have not loaded the revision in time."""
    undone: Undone | None = None
    not_undone: str = ""
    """Why the content before was not published again, although it was to be."""

    def to_json(self) -> dict[str, Any]:
        undone = self.undone
        state = undone.convergence if undone is not None else None
        return {
            **self.applied.to_json(),
            "rolledBack": undone.number if undone is not None else None,
            "rolledBackProcesses": None if state is None else state.to_json(),
            "notRolledBack": self.not_undone or None,
            "missing": self.missing,
            "notEnabled": self.closed,
        }


def read_publication(value: Mapping[str, Any], plan: Plan) -> Publication:
    """Return a publication from its JSON without the plan, which the caller has."""
    number, undone = value["revision"], value["rolledBack"]
    state = read_convergence(number, value["processes"])
    applied = Applied(
        number=number,
        digest=value["digest"],
        previous=value["previous"],
        plan=plan,
        repaired=tuple(Drift(**each) for each in value["repaired"]),
        faults=tuple(value["faults"]),
        convergence=state,
    )
    return Publication(
        applied=applied,
        missing=value["missing"],
        closed=value["notEnabled"],
        late=NotConverged(applied, state) if state.late else None,
        undone=None
        if undone is None
        else Undone(number=undone, convergence=read_convergence(undone, value["rolledBackProcesses"])),
        not_undone=value["notRolledBack"] or "",
    )


@asynccontextmanager
async def recorded_publication(
    store: Store, actor: Actor, found: LivePlan, origin: Origin, *, clear_overrides: bool = False
) -> AsyncIterator[Callable[[Applied], None]]:
    """Record the publication of a plan in the activity, if it changes anything or ends an override.

    The block calls what this yields with the result. Raises Unreachable if the beginning cannot be recorded.
    """
    if not found.changes and not (clear_overrides and found.overridden):
        yield lambda _: None
        return
    restores = origin.restores
    about = target("project", [store.revisions.project])
    if restores is not None:
        about = target("revision", [str(restores)])
    action = "revisions.publish" if restores is None else "revisions.rollback"
    async with recorded(store, actor, action, about, origin.message) as record:

        def note(applied: Applied) -> None:
            record.revision, record.note = applied.number, describe(applied)

        yield note


def describe(applied: Applied) -> str:
    """Return a publication as one line for the activity.

    It has the changes, what was repaired, the overrides that ended, the processes that are late, and the
    revision that has taken it back.
    """
    text = applied.plan.past_counts() if applied.changed else "no changes"
    if applied.repaired:
        text += f"; {counted(len(applied.repaired), 'difference')} of the store repaired"
    if applied.ended:
        text += f"; {counted(applied.ended, 'override')} ended"
    state = applied.convergence
    if state is not None and state.late:
        text += f"; {len(state.late)} of {state.total} processes late"
    if applied.undone_by is not None:
        text += f"; taken back in revision {applied.undone_by}"
    return text


async def publish(
    store: Store,
    found: LivePlan,
    origin: Origin,
    *,
    wait_s: float = apply.WAIT_S,
    clear_overrides: bool = False,
    rollback_on_failure: bool = False,
    undo_wait_s: float = math.inf,
) -> Publication:
    """Publish a plan that the caller has checked, and wait up to `wait_s` for gateways and workers.

    `clear_overrides` ends the overrides of the APIs in the same step. `rollback_on_failure`: if a process has
    not loaded the revision in time, publish the content before again, and wait for that as long, but at most
    `undo_wait_s`. Raises Conflict if another revision went live since, Owned, PathTaken, Misused without a
    key to sign with, StoreUnavailable.
    """
    late: NotConverged | None = None
    undone, not_undone = None, ""
    try:
        applied = await apply.publish(
            store, found, wait_s=wait_s, origin=origin, clear_overrides=clear_overrides
        )
    except NotConverged as error:
        late, applied = error, error.applied
        if rollback_on_failure:
            undone, not_undone = await _undo(store, late, origin, min(wait_s, undo_wait_s))
            if undone is not None:
                applied = replace(applied, undone_by=undone.number)
    added = applied.plan.ids("add", "api")
    gates = await store.gates.states() if added else {}
    return Publication(
        applied=applied,
        missing=await missing_secrets.of_revision(store, found.settled.revision, found.bundle.programs),
        closed=[api for api in added if api in gates and not gates[api].enabled],
        late=late,
        undone=undone,
        not_undone=not_undone,
    )


async def _undo(
    store: Store, failed: NotConverged, origin: Origin, wait_s: float
) -> tuple[Undone | None, str]:
    """Publish the content before a publication again; return the result, or why that failed."""
    applied = failed.applied
    if applied.previous is None or not applied.changed:
        return None, "this apply has replaced no revision"
    late = ", ".join(f"{each.kind} {each.id}" for each in failed.convergence.late)
    message = shorten(f"revision {applied.number} was not loaded by {late}", MESSAGE_CHARACTERS)
    described = Origin(
        author=origin.author,
        commit=origin.commit,
        dirty=origin.dirty,
        message=message,
        version=origin.version,
    )
    try:
        again = await apply.undo(store, applied, described, wait_s=wait_s)
    except NotConverged as error:
        again = error.applied
    except IogateError as error:
        return None, error.message
    return Undone(number=again.number, convergence=again.convergence), ""


async def previous(store: Store) -> int:
    """Return the number of the revision that a rollback publishes again: the one before live.

    Raises NotFound if there is none, or the store does not keep it.
    """
    live = await store.revisions.live()
    return newest_before(
        live[0] if live is not None else 0, [entry.number for entry in await store.revisions.history()]
    )


def newest_before(live: int, kept: Iterable[int]) -> int:
    """Return the number of the newest kept revision before the live one. Raises NotFound without one."""
    earlier = [number for number in kept if number < live]
    if not earlier:
        raise NotFound(
            "there is no earlier revision to restore",
            code=NONE_EARLIER,
            hint="`iogate history` lists the revisions that the store keeps",
        )
    return max(earlier)


async def plan_rollback(store: Store, number: int, *, repair: bool = False) -> LivePlan:
    """Return the plan that publishes the content of an earlier revision again.

    `repair`: as in `against_live`. Raises NotFound if the store does not keep the revision, NotAuthentic if
    it or the live one is forged.
    """
    bundle = await store.revisions.bundle(number)
    return await against_live(store, bundle, restores=True, repair=repair)


async def rollback_origin(store: Store, number: int, *, author: str, message: str = "") -> Origin:
    """Return the origin of a rollback to a revision: its author, and the commit of that revision.

    Raises NotFound and NotAuthentic as `Revisions.published` does.
    """
    restored = await store.revisions.origin(number)
    return Origin(
        author=author,
        commit=restored.commit if restored is not None else "",
        dirty=restored.dirty if restored is not None else False,
        message=message.strip(),
        version=__version__,
        action="rollback",
        restores=number,
    )


async def rollback(
    store: Store,
    number: int,
    *,
    author: str,
    message: str,
    version: str | None = None,
    allowed: Allowed = NOTHING_ALLOWED,
    wait_s: float = apply.WAIT_S,
) -> Publication:
    """Publish the content of an earlier revision again, and wait up to `wait_s` until it is loaded.

    `version`: number of the live revision to replace, as text; None: any. Processes that have not loaded the
    revision in time are in `processes` of the result. Raises NotFound if the store does not keep the
    revision, Stale if another one than `version` is live, Refused if it deletes more than is allowed,
    NotAuthentic if a revision is forged, Misused without a key to sign with.
    """
    found = await plan_rollback(store, number)
    if version is not None and version != str(found.number):
        raise Conflict(found.number, int(version) if version.isdecimal() and len(version) < 16 else 0)
    found.check(allowed)
    origin = await rollback_origin(store, number, author=author, message=message)
    return await publish(store, found, origin, wait_s=wait_s)


async def plan_bundle(
    store: Store,
    bundle: Bundle,
    *,
    expected: int,
    scope: Scope = EVERYTHING,
    allowed: Allowed = NOTHING_ALLOWED,
) -> LivePlan:
    """Return the plan that publishes a compiled bundle in place of revision `expected`, after its checks.

    `expected` is 0 if nothing was ever applied; `scope` is the part of the bundle that is published. Raises
    Stale if another revision is live, Refused if the publication deletes more than is allowed, NotFound or
    Refused for a scope that cannot be published, NotAuthentic if the live revision is forged.
    """
    live = await store.revisions.live()
    if (number := live[0] if live is not None else 0) != expected:
        raise Conflict(number, expected)
    found = await against_live(store, bundle, scope=scope)
    if found.number != expected:
        raise Conflict(found.number, expected)
    found.check(allowed)
    return found
