"""One run as JSON for operators: its data, tasks, waits, keys, callback, and recorded data.

Used by `runs`, and by commands that show a run. Invariant: the members are those that
docs/reference/commands.md describes; `input` is redacted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from iogate import json_pointer, trace_context
from iogate.errors import IogateError, NotFound, Refused
from iogate.operators.runs.task_records import add_records
from iogate.store.runs import presentation
from iogate.store.runs.operations import ALL_BYTES
from iogate.store.runs.presentation import rfc3339

if TYPE_CHECKING:
    from iogate.compiler.revision import Api
    from iogate.store.events.due_callbacks import EndRecord
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store


class Reasons(TypedDict):
    """Arguments of `run_json`: why a run is not in the queue."""

    limited: bool
    held: bool


def is_uid(text: str) -> bool:
    return text.isascii() and text.isdigit()


def run_not_found(uid: str) -> NotFound:
    return NotFound(f"no run {uid}", hint="ended runs are deleted after the retention of their API")


async def find_run(store: Store, uid: str, *, most: int = ALL_BYTES) -> RunView:
    """Return a run by its uid for operators; its data only if they have at most `most` stored bytes.

    Raises NotFound if the run does not exist, or its retention is over.
    """
    view = await store.runs.show(uid, most=most) if is_uid(uid) else None
    if view is None:
        raise run_not_found(uid)
    return view


def end_phrase(status: str) -> str:
    return "was cancelled" if status == "cancelled" else status


def already_ended(uid: str, status: str) -> Refused:
    return Refused(f"run {uid} has ended already: it {end_phrase(status)}")


async def reasons_to_wait(store: Store, view: RunView) -> Reasons:
    """Tell whether a run waits for the limit `running` of its API, or on hold, and not for a worker."""
    if view.state not in {"backlog", "woken"}:
        return {"limited": False, "held": False}
    live = await store.revisions.live_for(view.api)
    api = (await store.revisions.load(live[0])).apis.get(view.api) if live is not None else None
    return {
        "limited": api is not None and api.limits.running is not None,
        "held": view.state == "backlog" and view.api in await store.gates.holding(),
    }


def run_json(
    view: RunView, *, limited: bool = False, held: bool = False, children: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the details of a run as JSON, with parent, children, trace and output of a failed process."""
    decoded: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(presentation.describe(view, limited=limited, held=held, operator=True))
    )
    return decoded | family_json(view, children)


def family_json(view: RunView, children: Sequence[str] = ()) -> dict[str, Any]:
    """Return the members `parent`, `children` and `traceId` of the details of a run."""
    trace = {"traceId": found} if (found := trace_context.trace_id(view.trace)) else {}
    return {"parent": view.parent, "children": list(children)} | trace


async def keys_json(store: Store, view: RunView, shown_input: Any) -> dict[str, Any]:
    """Return the members `concurrencyKey`, `coalesceKey` and `mergedCalls` of the details of a run.

    The values of the keys are read from the redacted input, with the pointers of the revision of the run.
    """
    api = await _api(store, view)
    concurrency, coalesce = (None, None) if api is None else (api.limits.of_key, api.coalesces)
    return {
        "concurrencyKey": None if concurrency is None else _key(concurrency.key, shown_input),
        "coalesceKey": None if coalesce is None else _key(coalesce.key, shown_input),
        "mergedCalls": view.merged,
    }


async def _api(store: Store, view: RunView) -> Api | None:
    with suppress(IogateError):  # an older revision may be gone
        return (await store.revisions.load(view.revision)).apis.get(view.api)
    return None


def _key(pointer: str, shown_input: Any) -> dict[str, str] | None:
    try:
        value = json_pointer.find(shown_input, json_pointer.parse(pointer))
    except LookupError:
        return None
    return None if value is None else {"pointer": pointer, "value": str(value)}


def end_json(record: EndRecord | None) -> dict[str, Any]:
    """Return the members `callback` and `onFault` of the details of a run, without those that are absent."""
    if record is None:
        return {}
    found: dict[str, Any] = {}
    if record.id:
        state = "waiting"
        if record.delivered_ms is not None:
            state = "delivered"
        elif record.stopped_ms is not None:
            state = "given up"
        found["callback"] = {
            "id": record.id,
            "state": state,
            "attempts": record.tries,
            "lastStatus": record.status,
            "lastError": record.error,
            "nextAttemptAt": rfc3339(record.due_ms) if state == "waiting" else None,
            "deliveredAt": rfc3339(record.delivered_ms),
            "givenUpAt": rfc3339(record.stopped_ms),
        }
    if record.handler is not None:
        found["onFault"] = record.handler
    return found


async def journal_of(store: Store, uid: str) -> list[dict[str, Any]]:
    """Return the kept journal entries of a run as JSON, for operators."""
    return [presentation.journal_entry(raw) for raw in await store.runs.journal(uid)]


def count_failures(tasks: Sequence[dict[str, Any]], journal: Sequence[Mapping[str, Any]]) -> None:
    """Add `failed` to each displayed task: how many of its executions have faulted, by the journal."""
    failed = Counter(entry.get("reference") for entry in journal if entry["kind"] == "task.faulted")
    for task in tasks:
        task["failed"] = failed[task["reference"]]


async def add_calls(
    store: Store, view: RunView, run: dict[str, Any], shown_input: Any
) -> list[dict[str, Any]]:
    """Add keys, merged calls, failed executions and recorded data to a run's details; return its journal."""
    run |= await keys_json(store, view, shown_input)
    journal = await journal_of(store, view.uid)
    count_failures(run["tasks"], journal)
    add_records(run["tasks"], journal)
    return journal
