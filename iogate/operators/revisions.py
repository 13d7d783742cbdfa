"""The published revisions: history, content, and the difference between two.

Used by `history`, `show` and `diff`, and by the routes of revisions. Invariant: a revision that is not
authentic is an entry of the history with its fault, and its content is never shown.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iogate.auth.description import describe
from iogate.compiler.revision import Bundle, Revision
from iogate.errors import Misused
from iogate.operators import apis
from iogate.operators.live_revision import live_number
from iogate.store.revisions.origin import Origin, Published
from iogate.store.revisions.revision_errors import NotAuthentic
from iogate.store.runs.presentation import rfc3339
from iogate.store.store import Store

if TYPE_CHECKING:
    from iogate.reconcile.plan import Plan


async def page(store: Store, *, limit: int = 20, cursor: str | None = None) -> dict[str, Any]:
    """Return kept revisions, newest first, the number of the live one, and the cursor of the next page.

    The cursor is None after the last page. If the record of the live revision is refused, no revision is
    live. Raises Misused for an invalid cursor.
    """
    live = await _live(store)
    if cursor is None:
        found = await store.revisions.history(limit + 1, content=True)
    elif cursor.isascii() and cursor.isdigit() and len(cursor) < 16:
        found = [e for e in await store.revisions.history(content=True) if e.number < int(cursor)]
    else:
        raise Misused("the cursor is not one that a page of revisions has returned")
    entries = found[:limit]
    return {
        "live": live,
        "revisions": [entry_json(entry, live=entry.number == live) for entry in entries],
        "nextCursor": str(entries[-1].number) if len(found) > len(entries) else None,
    }


async def show(store: Store, number: int | None = None) -> dict[str, Any]:
    """Return the origin and the content of a revision, by default of the live one.

    Raises NotFound if the store does not keep the revision, or none was applied yet, NotAuthentic if it was
    not signed with the key, or without a number if the record of the live one is refused.
    """
    if number is None:
        number = await live_number(store)
    live = await _live(store)
    content = await store.revisions.load(number)
    entry = await store.revisions.published(number)
    return {
        **entry_json(entry, live=number == live),
        # A thousand APIs take a second, in which a gateway accepts calls.
        **await asyncio.to_thread(_content_json, content),
    }


async def _live(store: Store) -> int | None:
    """Return the number of the live revision; None without one, or if its record is refused.

    An operator who has to replace such a record chooses one of the listed revisions; `status` says why it is
    refused.
    """
    try:
        found = await store.revisions.live()
    except NotAuthentic:
        return None
    return None if found is None else found[0]


async def earlier(store: Store, number: int) -> int | None:
    """Return the number of the revision of the project before another one; None if none is kept."""
    return next((each.number for each in await store.revisions.history() if each.number < number), None)


def entry_json(entry: Published, *, live: bool) -> dict[str, Any]:
    """Return an entry of the history of revisions as JSON, for operators."""
    origin = entry.origin or Origin()
    return {
        "revision": entry.number,
        "live": live,
        "digest": entry.digest,
        "publishedAt": rfc3339(entry.published_at_ms),
        "project": origin.project,
        "author": origin.author,
        "commit": origin.commit,
        "dirty": origin.dirty,
        "action": origin.action,
        "restores": origin.restores,
        "changes": origin.changes,
        "message": origin.message,
        "version": origin.version,
        "fault": entry.fault,
    }


def _content_json(revision: Revision) -> dict[str, Any]:
    return {
        "apis": [
            {
                "api": api.id,
                "verbs": list(api.verbs),
                "auth": describe(api.auth),
                "enabled": api.enabled,
                "workflow": api.workflow,
                "description": api.description,
                "tags": list(api.tags),
                "digest": api.digest,
                "source": api.source,
                **apis.details(api),
            }
            for _, api in sorted(revision.apis.items())
        ],
        "workflows": [
            {
                "workflow": name,
                "title": workflow.title,
                "summary": workflow.summary,
                "program": workflow.program,
                "source": workflow.source,
            }
            for name, workflow in sorted(revision.workflows.items())
        ],
        "schedules": [
            {"workflow": name, "when": str(schedule), "missed": schedule.missed}
            for _, (name, schedule) in sorted(revision.scheduled.items())
        ],
        "resources": dict(sorted(revision.resources.items())),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One side of a difference: the content of a revision or, without a number, of files."""

    number: int | None
    bundle: Bundle
    commit: str = ""
    """Git commit of a published revision; empty if unknown."""

    def to_json(self) -> dict[str, Any]:
        return {"revision": self.number, "digest": self.bundle.revision.digest}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference between two versions, with the meaning of each change."""

    before: Version
    after: Version
    plan: Plan
    needs: list[str]
    """Options that permit the deletions of a publication of `after` over `before`."""

    def to_json(self) -> dict[str, Any]:
        return {
            "from": self.before.to_json(),
            "to": self.after.to_json(),
            "needs": self.needs,
            **self.plan.to_json(),
        }


async def version(store: Store, number: int | None = None) -> Version:
    """Return a kept revision, by default the live one, as a side of a difference.

    Raises NotFound if the store does not keep it, or none was applied yet, NotAuthentic if it is forged.
    """
    if number is None:
        number = await live_number(store)
    bundle, origin = await store.revisions.bundle(number), await store.revisions.origin(number)
    return Version(number=number, bundle=bundle, commit=origin.commit if origin is not None else "")


def compare(before: Version, after: Version) -> Difference:
    """Return the difference between versions of revisions or files, without facts about the live system."""
    # The meanings of changes are not needed for a history.
    from iogate.reconcile import deletion_guard  # noqa: PLC0415
    from iogate.reconcile.plan import Side, plan  # noqa: PLC0415
    from iogate.reconcile.plan_facts import NO_FACTS  # noqa: PLC0415

    return Difference(
        before=before,
        after=after,
        plan=plan(Side.of(before.bundle), Side.of(after.bundle), NO_FACTS),
        needs=deletion_guard.needed(before.bundle.revision, after.bundle.revision),
    )


async def diff(store: Store, before: int | None, after: int | None) -> dict[str, Any]:
    """Return the difference between two kept revisions; None is the live one.

    Raises NotFound and NotAuthentic as `version` does.
    """
    sides = await version(store, before), await version(store, after)
    return await asyncio.to_thread(lambda: compare(*sides).to_json())
