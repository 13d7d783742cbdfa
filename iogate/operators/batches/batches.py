"""Batches of operators: create, list, show, stop and continue them.

Used by the HTTP API, the console, and `runs retry` and `cancel` with filters. Callers record each change in
the activity. Invariant: the runs of a batch are those that its filter matched when it was created.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

from iogate.errors import Misused, NotAllowed, NotFound, Refused
from iogate.messages import counted
from iogate.operators.activity import clean_reason
from iogate.operators.batches.batch_selection import (
    KINDS,
    BatchRequest,
    filter_json,
    number_of_workers,
    select,
)
from iogate.operators.roles import Role
from iogate.store.operators.activity import End
from iogate.store.operators.batches import Request
from iogate.store.runs.presentation import rfc3339

if TYPE_CHECKING:
    from iogate.operators.activity import Record
    from iogate.operators.roles import Actor
    from iogate.store.operators.batches import Batch
    from iogate.store.store import Store

OPERATE_MOST: Final = 1_000
"""Maximum number of runs of a batch of an operator with the role `operate`."""
STOP_S: Final = 5.0
"""Time to wait for the worker that is at a run of a stopped batch."""
LOOK_S: Final = 0.05
OTHER_COUNT, ROLE_LIMIT, HAS_ENDED, IN_PROGRESS = "IOG780", "IOG782", "IOG783", "IOG784"


def batch_id(operation: str) -> str:
    """Return the id of the batch that a request with this id creates; a repetition creates no other one."""
    return hashlib.sha256(operation.encode()).hexdigest()[:12]


async def create(
    store: Store,
    actor: Actor,
    request: BatchRequest,
    *,
    operation: str,
    reason: str = "",
    expected: int | None = None,
    at_most: int | None = None,
    record: Record | None = None,
) -> dict[str, Any]:
    """Create a batch of the runs that a request selects now, and return it.

    `operation` is the id of the request; a repetition returns the same batch. `expected` is the number of
    runs that the operator has seen, `at_most` its upper bound. `record` is the entry of the change. Raises
    NotFound for an unknown API, NotAllowed if the role allows fewer runs, and Refused if the number differs,
    is too high, or too many batches are in progress.
    """
    id_ = batch_id(operation)
    batch = await store.batches.show(id_)
    if batch is None:
        runs = (await select(store, request)).runs
        _check_count(len(runs), expected, at_most)
        _check_role(actor, len(runs))
        made = Request(
            action=request.action,
            actor=actor.name,
            role=str(actor.role),
            via=actor.via,
            origin=actor.origin,
            reason=clean_reason(reason),
            filter={} if request.filter is None else filter_json(request.filter),
            pointer=request.pointer,
            current=request.current,
            activity=None if record is None else record.number,
        )
        answer = await store.batches.create(id_, made, runs)
        if answer == "many":
            raise Refused(
                "too many batches are in progress", code=IN_PROGRESS, hint="stop some, or wait for their end"
            )
        if record is not None:
            record.ends_later = answer == "created" and bool(runs)
        batch = await _find(store, id_)
    if record is not None:
        record.count, record.note = batch.count, f"batch {id_} of {counted(batch.count, 'run')}"
    return await _shown(store, batch)


def _check_count(count: int, expected: int | None, at_most: int | None) -> None:
    if expected is not None and count != expected:
        raise Refused(
            f"{counted(count, 'run')} match now, and {expected} were expected: nothing was changed",
            code=OTHER_COUNT,
            hint="look at the runs again, and expect their present number",
        )
    if at_most is not None and count > at_most:
        raise Refused(
            f"{counted(count, 'run')} match now, more than the {at_most} before: nothing was changed",
            code=OTHER_COUNT,
            hint="look at the runs again",
        )


def _check_role(actor: Actor, count: int) -> None:
    if count > OPERATE_MOST and actor.role < Role.ADMIN:
        raise NotAllowed(
            f"a batch of {count} runs takes the role {Role.ADMIN}; operator {actor.name} has the role "
            f"{actor.role}, which may change {OPERATE_MOST} at once",
            code=ROLE_LIMIT,
            hint="narrow the filter, and make several batches",
        )


async def listing(store: Store, *, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
    """Return a page of batches as JSON, newest first, and the cursor of the next page.

    Raises Misused for an invalid cursor.
    """
    before: tuple[int, str] | None = None
    if cursor is not None:
        created, _, id_ = cursor.partition("-")
        if not (created.isascii() and created.isdigit() and len(created) < 16 and id_):
            raise Misused("the cursor is not one that a list of batches has returned")
        before = int(created), id_
    found = await store.batches.newest(limit + 1, before)
    page = found[:limit]
    following = f"{page[-1].created_at_ms}-{page[-1].id}" if len(found) > limit else None
    return {"batches": [to_json(each) for each in page], "nextCursor": following}


async def show(store: Store, id_: str) -> dict[str, Any]:
    """Return a batch as JSON, with its progress. Raises NotFound if there is none."""
    return await _shown(store, await _find(store, id_))


async def stop(store: Store, id_: str, *, wait_s: float = STOP_S) -> dict[str, Any]:
    """Stop a batch for an operator before its next run, and return it; one that has ended stays as it is.

    Its state is `stopping` if its worker has not answered within `wait_s`. Raises NotFound if there is none.
    """
    await store.batches.stop(id_)
    until = time.monotonic() + wait_s
    while True:
        batch = await _find(store, id_)
        if batch.state != "stopping" or time.monotonic() > until:
            break
        await asyncio.sleep(LOOK_S)
    if batch.state == "stopped":
        await record_end(store, batch)
    return await _shown(store, batch)


async def proceed(store: Store, actor: Actor, id_: str) -> dict[str, Any]:
    """Continue a stopped batch for an operator with the runs that are left, and return it.

    Raises NotFound if there is none, Refused if it has ended, and NotAllowed if the role allows fewer runs.
    """
    batch = await _find(store, id_)
    _check_role(actor, _left(batch))
    if batch.state in ("done", "failed"):
        raise Refused(
            f"batch {id_} has ended: no run is left"
            if batch.state == "done"
            else f"batch {id_}: {batch.note}",
            code=HAS_ENDED,
            hint="make a new batch",
        )
    await store.batches.proceed(id_)
    return await show(store, id_)


async def _find(store: Store, id_: str) -> Batch:
    batch = await store.batches.show(id_)
    if batch is None:
        raise NotFound(f"no batch {id_}", hint="a batch is deleted seven days after its last change")
    return batch


async def _shown(store: Store, batch: Batch) -> dict[str, Any]:
    return {**to_json(batch), "workers": await number_of_workers(store)}


def _left(batch: Batch) -> int:
    return batch.count - batch.changed - batch.unchanged - batch.refused


async def record_end(store: Store, batch: Batch) -> None:
    """Record the results of a stopped or ended batch in the activity, in the entry of its creation."""
    if batch.request.activity is None:
        return
    is_refused = batch.refused and not (batch.changed or batch.unchanged)
    end = End(outcome="refused" if is_refused else "done", message=summary(batch), count=batch.changed)
    await store.activity.end(batch.request.activity, end)


def summary(batch: Batch) -> str:
    """Return the results of a batch in words, for the activity and the log."""
    text = f"batch {batch.id}: {KINDS[batch.request.action].past} {batch.changed} of {batch.count}"
    text += " and stopped" if batch.state in ("stopping", "stopped") else ""
    text += f", unchanged {batch.unchanged}" if batch.unchanged else ""
    if batch.refused:
        text += f", refused {batch.refused}"
        text += f": {batch.messages.refusals[0].message}" if batch.messages.refusals else ""
    return text


def to_json(batch: Batch) -> dict[str, Any]:
    """Return a batch as JSON."""
    request = batch.request
    return {
        "id": batch.id,
        "action": request.action,
        "state": batch.state,
        "count": batch.count,
        "changed": batch.changed,
        "unchanged": batch.unchanged,
        "refused": batch.refused,
        "left": _left(batch),
        "refusals": [{"uid": each.uid, "message": each.message} for each in batch.messages.refusals],
        "remarks": list(batch.messages.remarks),
        "waiting": (batch.messages.waiting or None) if batch.state == "running" else None,
        "failure": batch.note or None,
        "operator": request.actor,
        "via": request.via,
        "reason": request.reason or None,
        "filter": request.filter or None,
        "from": request.pointer,
        "on": "current" if request.current else None,
        "createdAt": rfc3339(batch.created_at_ms),
        "changedAt": rfc3339(batch.changed_at_ms),
        "endedAt": rfc3339(batch.ended_at_ms),
    }
