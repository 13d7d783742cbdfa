"""Values of the page of a run: its error, waits, timeline, data, relations and journal.

Used by `run_pages`. Pure: the run and its journal come in the form of `iogate runs show` and `runs logs`, but
for the input and output, which are encoded.
Invariant: the page of a run is bounded, however large its data and its journal are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from iogate.gateway.console import task_selection, timeline
from iogate.gateway.console.formatting import between, duration, to_ms
from iogate.gateway.console.json_tree import encoded_tree
from iogate.gateway.console.timeline import Row
from iogate.store import keys

Json = Mapping[str, Any]

ENTRIES: Final = 100
"""Newest journal entries that the page shows at first."""
RETRY_FROM: Final = 30
"""Most tasks that the form of a retry offers."""
_DETAIL: Final = 2_000
_UNSEEN: Final = frozenset({"task.created", "task.recorded"})
"""Entries that the journal of the page leaves out: each created task starts at once or is skipped."""

_WAITS: Final = {
    "queue": "Waits for a worker",
    "limit": "Waits for its turn: the API has as many running runs as limits.running allows",
    "hold": "Waits until an operator releases the hold of its API",
    "key": "Waits for its concurrency key, which other runs have:",
    "coalesce": "Waits for further calls to coalesce with",
    "timer": "Waits for its time",
    "event": "Waits for an event",
    "retry": "Waits for the next attempt",
    "child": "Waits for a child run",
}
_LEGEND: Final = {
    "queue": "queue",
    "ok": "done",
    "run": "at work",
    "live": "running",
    "wait": "wait",
    "retry": "retry delay",
    "hold": "suspended",
    "bad": "faulted",
}
_TONES: Final = {
    "faulted": "k-bad",
    "interrupted": "k-bad",
    "retried": "k-bad",
    "restarted": "k-bad",
    "completed": "k-good",
    "waiting": "k-wait",
    "suspended": "k-wait",
}


def values(
    run: Json, journal: Sequence[Json], *, first: int, now_ms: int, whole_journal: bool, all_tasks: bool
) -> dict[str, Any]:
    """Return the values of the template for the page of a run.

    `first` is the number of the oldest of the journal entries. `whole_journal` and `all_tasks`: the page has
    all entries and tasks, not only those that it shows at first.
    """
    run = {"onFault": None, "callback": None, **run}
    created = to_ms(run["createdAt"]) or now_ms
    shown = [(number, each) for number, each in enumerate(journal, first) if each.get("kind") not in _UNSEEN]
    earlier = 0 if whole_journal else max(0, len(shown) - ENTRIES)
    found = timeline.build(run, journal, now_ms)
    shown_rows = list(found.rows) if all_tasks else task_selection.select(found.rows)
    kinds = {bar.kind for bar in found.whole}
    for row in shown_rows:
        if isinstance(row, Row):
            row.bars = task_selection.join_bars(row.bars)
            kinds |= {bar.kind for bar in row.bars}
    is_live = run["endedAt"] is None
    retries = [
        (number, each) for number, each in enumerate(journal, first) if each.get("kind") == timeline.RETRIED
    ]
    retry, retried_at = (retries[-1][0], retries[-1][1].get("at")) if retries else (0, None)
    return {
        "run": run,
        "is_live": is_live,
        "created_ms": created,
        "timeline": found,
        "shown_rows": shown_rows,
        "all_tasks": all_tasks,
        "all_tasks_url": f"?tasks=all{'&journal=all' if whole_journal else ''}",
        "whole_journal_url": f"?journal=all{'&tasks=all' if all_tasks else ''}",
        "executions": keys.JOURNAL_ENTRIES if all_tasks else task_selection.EXECUTIONS,
        "legend": [
            (kind, text) for kind, text in _LEGEND.items() if kind in kinds or (is_live and kind in "ok bad")
        ],
        "took": _took(run, retried_at),
        "fault": _fault(run, found.rows, retried_at) if run["status"] == "faulted" else None,
        "waiting": _waiting(run),
        "facts": [*_facts(run), *_last_retry(retries)],
        "input": encoded_tree(run["input"]),
        "output": encoded_tree(run["output"]),
        "journal": [
            _entry(each, number, created, is_past=number < retry) for number, each in shown[earlier:]
        ],
        "earlier": earlier,
        "last_entry": first + len(journal) - 1,
        "blank_row": Row(
            name="", reference="", anchor="", status="running", depth=0, count=1, failed=0, took=""
        ),
        "blank_entry": {
            "number": "",
            "at": None,
            "offset": "",
            "kind": "",
            "tone": "",
            "reference": "",
            "detail": "",
        },
        "tasks_to_retry_from": _retry_from(run, found.rows),
    }


def _retry_from(run: Json, rows: Sequence[Row]) -> list[Row]:
    """Return the tasks before the fault from which a retry on the page of a run may continue."""
    if run["status"] != "faulted":
        return []
    return [row for row in rows if row.depth == 0][-RETRY_FROM:]


def _took(run: Json, retried_at: str | None) -> list[tuple[str, float]]:
    """Return names and milliseconds of the times that an ended run took, for its page.

    `retried_at` is the beginning of its last attempt, if the journal still has it.
    """
    whole, last = between(run["startedAt"], run["endedAt"]), between(retried_at, run["endedAt"])
    if whole is None:
        return []
    if run["attempt"] == 1:
        return [("Took", whole)]
    since_first = ("Since the first start", whole)
    return [since_first] if last is None else [("Took, last attempt", last), since_first]


def _fault(run: Json, rows: Sequence[Row], retried_at: str | None) -> dict[str, Any]:
    """Return the error of a run for its page: message, place, kind, and output or response behind it."""
    error = run["error"] or {}
    reference = str(error.get("instance") or "")
    row = next((each for each in rows if each.reference == reference), None)
    name = row.name if row is not None else reference.rpartition("/")[2]
    process = error.get("process") or {}
    outputs = [(stream, str(process[stream])) for stream in ("stderr", "stdout") if process.get(stream)]
    if error.get("responseExcerpt"):
        outputs.insert(0, ("Response", str(error["responseExcerpt"])))
    after = between(retried_at or run["startedAt"], run["endedAt"])
    return {
        "heading": f"Faulted at {name}" if name else "Faulted",
        "message": str(error.get("message", "")),
        "title": str(error.get("title") or error.get("code") or "Error"),
        "status": error.get("status", 500),
        "type": str(error.get("type", "")),
        "reference": reference,
        "task": name,
        "after": "" if after is None else duration(after),
        "sent_to": error.get("sentTo"),
        "outputs": outputs,
    }


def _waiting(run: Json) -> dict[str, Any] | None:
    waiting = run.get("waitingFor")
    if run["status"] == "suspended" and not waiting:
        return {"text": "Suspended until an operator resumes it", "reference": "", "until": None, "runs": []}
    if not waiting:
        return None
    text = _WAITS.get(waiting["kind"], f"Waits: {waiting['kind']}")
    if run["status"] == "suspended":
        text = f"Suspended until an operator resumes it; then: {text}"
    return {
        "text": text,
        "reference": waiting.get("task") or "",
        "until": waiting.get("until"),
        "runs": waiting.get("runs") or [],
    }


def _facts(run: Json) -> list[tuple[str, str]]:
    facts = [("Caller", run.get("caller"))]
    for name, label in (("concurrencyKey", "Concurrency key"), ("coalesceKey", "Coalesced by")):
        if key := run.get(name):
            facts.append((label, f"{key['value']} ({key['pointer']})"))
    if run.get("mergedCalls"):
        facts.append(("Further calls", str(run["mergedCalls"])))
    facts += [(name, str(value)) for name, value in (run.get("attributes") or {}).items()]
    if run.get("traceId"):
        facts.append(("Trace", run["traceId"]))
    return [(name, text) for name, text in facts if text]


def _entry(entry: Json, number: int, created: int, *, is_past: bool) -> dict[str, Any]:
    """Return a journal entry for the page of a run; `is_past`: of an earlier attempt of the run."""
    kind = str(entry.get("kind"))
    tone = "" if kind == timeline.RETRIED else _TONES.get(kind.rpartition(".")[2], "")
    at = to_ms(entry.get("at"))
    return {
        "number": number,
        "at": entry.get("at"),
        "offset": "" if at is None else f"+{duration(max(0, at - created))}",
        "kind": kind,
        "tone": "past" if is_past and tone == "k-bad" else tone,
        "reference": str(entry.get("reference", "")),
        "detail": _detail(kind, entry.get("detail")),
    }


def _detail(kind: str, detail: Any) -> str:
    """Return the detail of a journal entry as text for the page of a run."""
    if not isinstance(detail, dict) or not detail:
        return ""
    if kind == "process.output":
        return f"{detail.get('stream')} | {str(detail.get('text', '')).rstrip()}"[:_DETAIL]
    error = detail.get("error")
    if isinstance(error, dict):
        rest = {name: value for name, value in detail.items() if name != "error"}
        message = str(error.get("detail") or error.get("title") or error.get("type") or "")
        return (message + (f" {_json(rest)}" if rest else ""))[:_DETAIL]
    return "; ".join(
        f"{name}: {value if isinstance(value, str) else _json(value)}" for name, value in detail.items()
    )[:_DETAIL]


def _last_retry(retries: Sequence[tuple[int, Json]]) -> list[tuple[str, str]]:
    """Return the author and the reason of the last retry in the journal, for the page of a run."""
    detail = retries[-1][1].get("detail") if retries else None
    if not isinstance(detail, dict) or not detail.get("by"):
        return []
    reason = f": {detail['reason']}" if detail.get("reason") else ""
    return [("Retried by", f"{detail['by']}{reason}")]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
