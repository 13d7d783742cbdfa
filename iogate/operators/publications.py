"""Publication of a plan that was checked, and rollback to an earlier revision.

Used by `apply` and `rollback`, and by the routes that publish. Invariant: exactly the compared revision is
replaced; a repair replaces whatever is live.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from iogate.compiler.revision import Bundle
from iogate.errors import IogateError, NotFound
from iogate.messages import counted, shorten
from iogate.operators.access import Actor
from iogate.operators.activity import recorded, target
from iogate.operators.secrets import missing_secrets
from iogate.reconcile import apply
from iogate.reconcile.apply import Applied, NotConverged
from iogate.reconcile.deletion_guard import NOTHING_ALLOWED, Allowed
from iogate.reconcile.live_plan import LivePlan, against_live
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.refused import Conflict
from iogate.store.store import Store
from iogate.version import __version__

NONE_EARLIER: Final = "IOG712"
MESSAGE_CHARACTERS: Final = 1000
"""Longest message of a revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Result of a publication."""

    applied: Applied
    missing: list[dict[str, Any]]
    """Secrets that running processes lack: see `missing_secrets.of_revision`."""
    late: NotConverged | None = None
    """Error of the processes that have not loaded the revision in time."""
    undone: Applied | None = None
    """Publication of the content before, after processes have not loaded the revision."""
    not_undone: str = ""
    """Why the content before was not published again, although it was to be."""

    def to_json(self) -> dict[str, Any]:
        undone = self.undone
        return {
            **self.applied.to_json(),
            "rolledBack": undone.number if undone is not None else None,
            "missing": self.missing,
        }


@asynccontextmanager
async def recorded_publication(
    store: Store, actor: Actor, found: LivePlan, origin: Origin
) -> AsyncIterator[Callable[[Applied], None]]:
    """Record the publication of a plan in the activity, if it changes anything.

    The block calls what this yields with the result. Raises Unreachable if the beginning cannot be recorded.
    """
    if not found.changes:
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
    """Return a publication as one line for the activity: its changes, and the processes that are late."""
    text = applied.plan.past_counts() if applied.changed else "no changes"
    if applied.repaired:
        text += f"; {counted(len(applied.repaired), 'difference')} of the store repaired"
    state = applied.convergence
    if state is not None and state.late:
        text += f"; {len(state.late)} of {state.total} processes late"
    return text


async def publish(
    store: Store,
    found: LivePlan,
    origin: Origin,
    *,
    wait_s: float = apply.WAIT_S,
    clear_overrides: bool = False,
    rollback_on_failure: bool = False,
) -> Publication:
    """Publish a plan that the caller has checked, and wait up to `wait_s` for gateways and workers.

    `clear_overrides` ends the overrides of the APIs in the same step. `rollback_on_failure`: if a process has
    not loaded the revision in time, publish the content before again. Raises Conflict if another revision
    went live since, Owned, PathTaken, Misused without a key to sign with, StoreUnavailable.
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
            undone, not_undone = await _undo(store, late, origin, wait_s)
    missing = await missing_secrets.of_revision(store, found.settled.revision, found.bundle.programs)
    return Publication(applied=applied, missing=missing, late=late, undone=undone, not_undone=not_undone)


async def _undo(
    store: Store, failed: NotConverged, origin: Origin, wait_s: float
) -> tuple[Applied | None, str]:
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
        return await apply.undo(store, applied, described, wait_s=wait_s), ""
    except NotConverged as again:
        return again.applied, ""
    except IogateError as error:
        return None, error.message


async def previous(store: Store) -> int:
    """Return the number of the revision whose publication a rollback repeats: the one before live.

    Raises NotFound if there is none, or the store does not keep it.
    """
    live = await store.revisions.live()
    earlier = [entry.number for entry in await store.revisions.history() if live and entry.number < live[0]]
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


async def publish_bundle(
    store: Store,
    bundle: Bundle,
    origin: Origin,
    *,
    expected: int,
    allowed: Allowed = NOTHING_ALLOWED,
    wait_s: float = apply.WAIT_S,
    clear_overrides: bool = False,
) -> Publication:
    """Publish a compiled bundle in place of revision `expected`, and wait up to `wait_s` until it is loaded.

    `expected` is 0 if nothing was ever applied. Raises Stale if another revision is live, Refused if the
    bundle deletes more than is allowed, Owned and PathTaken for what belongs to another project, NotAuthentic
    if the live revision is forged, Misused without a key to sign with.
    """
    found = await against_live(store, bundle)
    if found.number != expected:
        raise Conflict(found.number, expected)
    found.check(allowed)
    return await publish(store, found, origin, wait_s=wait_s, clear_overrides=clear_overrides)
