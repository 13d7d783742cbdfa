"""Runs for operators: list, show, cancel, retry, suspend, resume, and redeliver the callback of one.

Used by `runs …` of the command line, by the HTTP API of operators, by the console, and by batches. Each
change takes the id of its request, so that a repetition changes nothing twice, and returns `{uid, outcome}`.
Invariant: `cancel` and the others change at most the named run; they are recorded by their callers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from iogate.errors import Refused
from iogate.operators.activity import clean_reason
from iogate.operators.runs.filter_names import require_known_names
from iogate.operators.runs.run_details import (
    add_calls,
    already_ended,
    end_json,
    family_json,
    find_run,
    reasons_to_wait,
    run_json,
    run_not_found,
)
from iogate.operators.runs.task_records import records, records_of_task
from iogate.operators.secrets.missing_secrets import of_callbacks
from iogate.store.maintenance.process_presence import Process
from iogate.store.runs import presentation
from iogate.store.runs.presentation import rfc3339
from iogate.store.runs.run_index import LISTED, LOOKED_AT, LOOKED_FOR_S, RunFilter

if TYPE_CHECKING:
    from iogate.operators.roles import Actor
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store

Redact: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""Redacts the stored JSON of an input or output."""
Find: TypeAlias = Callable[["Store", str], Awaitable["RunView"]]
"""Returns a run by its uid, with its data. Raises NotFound if there is none."""
DECODED: int = 64 * 1024
"""Size of an input in which keys of a run are looked up."""


async def listing(
    store: Store,
    wanted: RunFilter,
    *,
    limit: int = LISTED,
    cursor: str | None = None,
    most: int | None = LOOKED_AT,
    most_s: float = LOOKED_FOR_S,
) -> dict[str, Any]:
    """List runs for operators, newest first, with `nextCursor`, and `lookedBackTo` if the page ended early.

    It looks at about `most` runs (None: all), for about `most_s`. Raises Misused for an invalid cursor, and
    as `require_known_names` does if no run matches on the first page.
    """
    page = await store.runs.page(wanted, limit=limit, cursor=cursor, most=most, most_s=most_s)
    if not page.runs and cursor is None:
        await require_known_names(store, wanted)
    waits = any(each.state == "backlog" for each in page.runs)
    holding = await store.gates.holding() if waits else ()
    return {
        "runs": [presentation.list_item(each, holding) for each in page.runs],
        "lookedBackTo": rfc3339(page.looked_back_to_ms) if len(page.runs) < limit else None,
        "nextCursor": page.next_cursor,
    }


async def show(
    store: Store,
    uid: str,
    *,
    data: bool = False,
    task: str | None = None,
    find: Find = find_run,
    redact: Redact | None = None,
) -> dict[str, Any]:
    """Show a run to operators: return it with its data, error, tasks, children and callback.

    `data` adds `recorded`, all recorded input and output of tasks; `task` only that of one task, by reference
    or name. With `redact`, also the output is redacted, and both stay encoded, since they may be large.

    Raises NotFound if there is no such run, or no such task.
    """
    view = await find(store, uid)
    children = await store.runs.children(uid)
    reasons = await reasons_to_wait(store, view)
    if redact is None:
        run = run_json(view, **reasons, children=children)
        shown_input = run["input"]
    else:
        run, shown_input = await _encoded(view, redact, **reasons)
        run |= family_json(view, children)
    run |= end_json(await store.callbacks.record(uid))
    journal = await add_calls(store, view, run, shown_input)
    if task is not None:
        run["recorded"] = records_of_task(run["tasks"], journal, task)
    elif data:
        run["recorded"] = records(journal)
    return run


async def _encoded(view: RunView, redact: Redact, *, limited: bool, held: bool) -> tuple[dict[str, Any], Any]:
    """Return a run that is shown, with redacted encoded input and output, and its input if that is small."""
    shown_input = await redact(view.input) if view.input else b""
    shown_output = await redact(view.output) if view.output else None
    run = presentation.describe(
        msgspec.structs.replace(view, output=shown_output),
        limited=limited,
        held=held,
        shown_input=shown_input or None,
        operator=True,
    )
    is_small = shown_input and len(shown_input) <= DECODED
    return run, msgspec.json.decode(shown_input) if is_small else None


async def cancel(
    store: Store, uid: str, *, actor: Actor, reason: str = "", operation: str = ""
) -> dict[str, Any]:
    """Request the end of a run for an operator; the outcome is `cancelled`, `requested` or `unchanged`.

    It is `unchanged` if the run was cancelled before. Raises NotFound for an unknown run, and Refused for one
    that has completed or faulted.
    """
    shown = clean_reason(reason)
    why = f"{actor.name}: {shown}" if shown else f"{actor.name} asked for it"
    outcome = await store.runs.cancel(uid, why, operation=operation)
    if outcome == "unknown":
        raise run_not_found(uid)
    if outcome == "ended":
        status = (await find_run(store, uid, most=0)).status
        if status != "cancelled":
            raise already_ended(uid, status)
        return {"uid": uid, "outcome": "unchanged"}
    return {"uid": uid, "outcome": "cancelled" if outcome == "cancelled" else "requested"}


async def suspend(store: Store, uid: str, *, operation: str = "") -> dict[str, Any]:
    """Suspend a run for an operator; the outcome is `suspended`, or `requested`: it stops at its next task.

    Raises NotFound for an unknown run, and Refused for one that has ended or is being cancelled.
    """
    outcome = await store.runs.suspend(uid, operation=operation)
    await _check(store, uid, outcome)
    if outcome == "cancelled":
        raise Refused(f"run {uid} is being cancelled")
    return {"uid": uid, "outcome": "requested" if outcome == "asked" else "suspended"}


async def resume(store: Store, uid: str, *, operation: str = "") -> dict[str, Any]:
    """Resume a suspended run for an operator where it stopped; the outcome is `resumed`, or `unchanged`.

    Raises NotFound for an unknown run, and Refused for one that has ended.
    """
    outcome = await store.runs.resume(uid, operation=operation)
    await _check(store, uid, outcome)
    return {"uid": uid, "outcome": "unchanged" if outcome == "not suspended" else "resumed"}


async def _check(store: Store, uid: str, outcome: str) -> None:
    """Raise NotFound or Refused for the outcomes `unknown` and `ended` of an action on a run."""
    match outcome:
        case "unknown":
            raise run_not_found(uid)
        case "ended":
            raise already_ended(uid, (await find_run(store, uid, most=0)).status)


async def retry(
    store: Store,
    uid: str,
    *,
    actor: Actor,
    pointer: str | None = None,
    current: bool = False,
    reason: str = "",
    operation: str = "",
) -> dict[str, Any]:
    """Retry a faulted run for an operator, from the faulted or an earlier task; the outcome is `retried`.

    `pointer` names the earlier task; `current` uses the live definition. `remarks` tell what is unusual. The
    journal has the author and the `reason`.
    Raises NotFound for an unknown run, and Refused for one that cannot be retried.
    """
    from iogate.operators.runs.run_retry import Retrier  # noqa: PLC0415 - the engine takes time to import

    retrier = Retrier(
        store=store,
        pointer=pointer,
        current=current,
        by=actor.name,
        now_ms=await store.timer_now_ms(),
        reason=reason,
        operation=operation,
        compare=True,
    )
    await retrier.retry(uid)
    return {"uid": uid, "outcome": "retried", "remarks": retrier.remarks}


async def redeliver(store: Store, uid: str) -> dict[str, Any]:
    """Send the callback of an ended run again for an operator; the outcome is `requested`.

    `remark` tells when it is sent, and `isSent` whether a worker can do it now.

    Raises NotFound for an unknown run, and Refused if the run has not ended or has no callback.
    """
    outcome = await store.callbacks.redeliver(uid) if uid.isascii() and uid.isdigit() else "unknown"
    view = await find_run(store, uid, most=0)
    if outcome == "live":
        raise Refused(f"run {uid} has not ended: its callback follows its end")
    if outcome == "none":
        raise Refused(
            f"run {uid} has no callback",
            hint="its API has no `callback`, not for this end, or its call had no header Callback-Url",
        )
    remark, is_sent = describe_redelivery(uid, view.api, await store.presence.list("worker"))
    return {"uid": uid, "outcome": "requested", "remark": remark, "isSent": is_sent}


def describe_redelivery(uid: str, api: str, workers: Sequence[Process]) -> tuple[str, bool]:
    """Describe the next attempt of a redelivered callback, and tell whether a worker can send it."""
    due = f"the callback of run {uid} is due now"
    if not workers:
        return f"{due}, and is sent when a worker runs", False
    if lacks := _unsigned(workers, api):
        return f"{due}, but workers cannot sign it: {lacks}", False
    return f"{due}: a worker sends it at once", True


def _unsigned(workers: Sequence[Process], api: str) -> str:
    """Return why workers cannot sign the callbacks of an API, and how many; empty if all can."""
    lacking = [texts for each in workers if (texts := of_callbacks([each]).get(api))]
    reasons = "; ".join(dict.fromkeys(text for texts in lacking for text in texts))
    count = f" on {len(lacking)} of {len(workers)} workers" if 0 < len(lacking) < len(workers) else ""
    return reasons + count
