"""Activity: each change by an operator, with its author, reason and outcome.

Used by the HTTP API, the console and each command that changes the live system. Invariants: a change is made
only after its beginning was recorded, so that a change without a record is impossible; a change whose outcome
is missing was cut off, and is shown as `started`; no entry contains a secret.

    async with recorded(store, actor, "runs.cancel", target("run", [uid]), reason) as record:
        ...                       # raises an IogateError: recorded as refused or failed
        record.note = "3 cancelled, 1 refused"
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from iogate.errors import IogateError, Misused, Unreachable
from iogate.messages import did_you_mean, listed, quoted, shorten
from iogate.security.redaction_patterns import redact_text
from iogate.store.connection.connection import CommandFailed
from iogate.store.connection.failures import StoreFull
from iogate.store.operators.activity import Beginning, End, Entry, Outcome
from iogate.store.runs.presentation import rfc3339

if TYPE_CHECKING:
    from iogate.operators.roles import Actor
    from iogate.store.store import Store

ACTIONS: Final = (
    *("apis.debug", "apis.override", "apis.restore"),
    *("batches.continue", "batches.create", "batches.stop"),
    *("revisions.publish", "revisions.rollback"),
    *("runs.cancel", "runs.prune", "runs.redeliver", "runs.resume", "runs.retry", "runs.suspend"),
    *("schedules.disable", "schedules.enable", "schedules.run"),
    *("store.drain", "store.resume"),
)
"""Names of all changes."""
REASON_MOST: Final = 500
"""Characters of a reason."""
_BEFORE_PAIR: Final = re.compile(r" +(?=[A-Za-z][\w.-]{1,63} ?[:=])")
"""Blanks before a name with a value, at which the value before ends."""
NAMED: Final = 100
"""Objects of one change that its entry names."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Objects of a change: their type, the first of their ids, and their number."""

    type: str
    ids: tuple[str, ...] = ()
    count: int = 0


def target(type_: str, ids: Sequence[str] = ()) -> Target:
    """Return the target of a change for the activity: type, first ids and number of these objects."""
    return Target(type=type_, ids=tuple(ids[:NAMED]), count=len(ids))


@dataclass(kw_only=True)
class Record:
    """Outcome of a change in progress; the change fills it in."""

    note: str = ""
    """What the change did, if the action does not tell."""
    outcome: Outcome = "done"
    """Outcome of a change that raises no error."""
    revision: int | None = None
    """Number of the revision that the change made or used."""
    count: int | None = None
    """Number of changed objects, if it differs from that of the target."""
    ids: Sequence[str] = ()
    """The changed objects, if the target does not name them."""
    number: int | None = None
    """Number of the entry, as soon as the beginning is recorded."""
    ends_later: bool = False
    """Whether the change goes on after the block, and its outcome is recorded at its end."""


def clean_reason(text: str) -> str:
    """Return the reason of a change as the activity has it: on one line, redacted, without controls."""
    spaced = " ".join(text.split())
    shown = "".join(char for char in spaced if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    return " ".join(redact_text(part) for part in _BEFORE_PAIR.split(shown))


@asynccontextmanager
async def recorded(
    store: Store,
    actor: Actor,
    action: str,
    about: Target,
    reason: str = "",
    *,
    record: Record | None = None,
    frees_memory: bool = False,
) -> AsyncIterator[Record]:
    """Record a change in the activity: its beginning now, its outcome, as in `record`, after the block.

    `frees_memory`: the change is made, unrecorded, also if the store is full. Raises Unreachable if the
    beginning cannot be recorded.
    """
    record = record or Record()
    begun = Beginning(
        actor=actor.name,
        role=str(actor.role),
        via=actor.via,
        origin=actor.origin,
        action=action,
        target=about.type,
        ids=about.ids,
        count=about.count,
        revision=record.revision,
        reason=clean_reason(reason),
    )
    try:
        record.number = await store.activity.begin(begun)
    except StoreFull:
        if not frees_memory:
            raise
    try:
        yield record
    except IogateError as error:
        outcome: Outcome = "failed" if isinstance(error, Unreachable) else "refused"
        said = "; ".join(filter(None, (record.note, error.message)))
        await _end(store, record, outcome, said)
        raise
    except BaseException:
        await _end(store, record, "failed", record.note)
        raise
    if not record.ends_later:
        await _end(store, record, record.outcome, record.note)


async def _end(store: Store, record: Record, outcome: Outcome, message: str) -> None:
    """Record the outcome of a change in the activity; if that fails, the entry visibly stays without one."""
    if record.number is None:
        return
    end = End(
        outcome=outcome,
        message=shorten(redact_text(message), REASON_MOST),
        revision=record.revision,
        count=record.count,
        ids=tuple(record.ids[:NAMED]),
    )
    with contextlib.suppress(IogateError, CommandFailed):
        await store.activity.end(record.number, end)


async def page(
    store: Store,
    *,
    since_ms: int | None = None,
    operator: str | None = None,
    action: str | None = None,
    about: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Return a page of the activity: changes, newest first, and the next cursor, None after the last one.

    `action` is one, such as `runs.retry`, or all of a kind, such as `runs`; `about` is the id of an object.

    Raises Misused for an invalid cursor, and for an unknown action that no entry has.
    """
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
        raise Misused("the cursor is not one that a page of activity has returned")
    found: list[dict[str, Any]] = []
    before = None if cursor is None else int(cursor)
    async with contextlib.aclosing(store.activity.newest_first(before)) as entries:
        async for entry in entries:
            if since_ms is not None and entry.at_ms < since_ms:
                break
            if not _matches(entry, operator, action, about):
                continue
            if len(found) == limit:
                return {"activity": found, "nextCursor": found[-1]["id"]}
            found.append(to_json(entry))
    if not found and action is not None:
        # Entries of other releases may have actions that this one does not know.
        _require_known_action(action)
    return {"activity": found, "nextCursor": None}


def _require_known_action(action: str) -> None:
    """Check the action of an activity filter that no change matches. Raises Misused for an unknown one."""
    kinds = dict.fromkeys(each.partition(".")[0] for each in ACTIONS)
    if action in ACTIONS or action in kinds:
        return
    of_kinds = [each for each in ACTIONS if each.partition(".")[2] == action]
    meant = f"; did you mean {listed(map(quoted, of_kinds))}?" if of_kinds else did_you_mean(action, ACTIONS)
    raise Misused(f"no change has the action {quoted(action)}{meant}", hint=f"actions: {', '.join(ACTIONS)}")


def _matches(entry: Entry, operator: str | None, action: str | None, about: str | None) -> bool:
    begun = entry.begun
    return (
        operator in (None, begun.actor)
        and (action is None or begun.action == action or begun.action.startswith(f"{action}."))
        and (about is None or about in _ids(entry))
    )


def _ids(entry: Entry) -> tuple[str, ...]:
    return entry.begun.ids or (() if entry.end is None else entry.end.ids)


def to_json(entry: Entry) -> dict[str, Any]:
    """Return an entry of the activity as JSON."""
    begun, end = entry.begun, entry.end
    count = begun.count if end is None or end.count is None else end.count
    return {
        "id": str(entry.number),
        "at": rfc3339(entry.at_ms),
        "endedAt": rfc3339(entry.ended_at_ms),
        "operator": begun.actor,
        "role": begun.role,
        "via": begun.via,
        "from": begun.origin,
        "action": begun.action,
        "target": {"type": begun.target, "ids": list(_ids(entry)), "count": count},
        "revision": begun.revision if end is None or end.revision is None else end.revision,
        "reason": begun.reason or None,
        "outcome": "started" if end is None else end.outcome,
        "message": (end.message if end is not None else "") or None,
    }
