"""JSON representation of runs, shared by HTTP and the command line.

Called by gateway and cli with views of `operations`. Pure. Invariants: `input` is redacted, and every time is
RFC 3339 in UTC; a client without access to the full run gets its status and times; operators also get the
output of processes, targets of the setting `endpoints` and excerpts of responses, callers do not.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.security.redaction_patterns import redact

if TYPE_CHECKING:
    from iogate.store.runs.views import RunView, Summary, TaskView

NOTHING = msgspec.Raw(b"null")


def raw_json(value: bytes | None) -> msgspec.Raw:
    """Return the stored JSON of a run unchanged, without decoding it; `null` for None."""
    return msgspec.Raw(value) if value else NOTHING


def rfc3339(ms: int | None) -> str | None:
    """Format a time of a run for its JSON in RFC 3339, UTC, with milliseconds; None for an invalid one."""
    if ms is None:
        return None
    try:
        seconds, rest = divmod(int(ms), 1000)
        return f"{_second(seconds)}.{rest:03}Z"
    except (ValueError, OverflowError, OSError):
        return None  # a program without the key wrote it


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Format a second for the presentation of runs, cached, since a run of many tasks has few of them."""
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).isoformat()[:-6]


def public_status(run: RunView) -> dict[str, Any]:
    """Return status and times of a run as JSON, which anyone with the uid may see for a public API."""
    return {
        "uid": run.uid,
        "status": run.status,
        "createdAt": rfc3339(run.created_at_ms),
        "startedAt": rfc3339(run.started_at_ms),
        "endedAt": rfc3339(run.ended_at_ms),
    }


def summarize(run: Summary | RunView) -> dict[str, Any]:
    """Return the JSON representation of a run without its data, for a list."""
    return {
        "uid": run.uid,
        "status": run.status,
        "api": run.api,
        "workflow": run.workflow,
        "revision": run.revision,
        "createdAt": rfc3339(run.created_at_ms),
        "startedAt": rfc3339(run.started_at_ms),
        "endedAt": rfc3339(run.ended_at_ms),
        "attempt": run.attempt,
        "caller": run.caller or None,
    }


def redacted(stored: bytes) -> bytes:
    """Return an input of a run as JSON to show, in which members that look like secrets are redacted."""
    return msgspec.json.encode(redact(msgspec.json.decode(stored)))


def describe(
    run: RunView,
    *,
    limited: bool,
    held: bool = False,
    shown_input: bytes | None = None,
    operator: bool = False,
) -> dict[str, Any]:
    """Return the JSON representation of a run with its data.

    `limited`: its API has a limit of running runs. `held`: new runs of its API are on hold. `operator`: see
    `error`. `shown_input`: the input if it is redacted already, which takes a second for a large one.
    """
    if shown_input is None and run.input:
        shown_input = redacted(run.input)
    attributes = {"attributes": run.attributes} if operator else {}
    return (
        summarize(run)
        | attributes
        | {
            "input": raw_json(shown_input),
            "output": raw_json(run.output),
            "error": error(run, operator=operator),
            "waitingFor": _waiting_for(run, limited=limited, held=held, operator=operator),
            "tasks": [_task(row) for row in run.tasks],
        }
    )


def list_item(run: Summary, holding: Collection[str] = ()) -> dict[str, Any]:
    """Return a run for the lists of the command line: `summarize`, with its parent and its error.

    `holding`: APIs whose new runs are on hold.
    """
    return summarize(run) | {
        "held": run.state == "backlog" and run.api in holding,
        "parent": run.parent,
        "attributes": run.attributes,
        "error": error(run, operator=True),
    }


def error(run: Summary | RunView, *, operator: bool = False) -> dict[str, Any] | None:
    """Return the error of a run for its JSON in RFC 7807 with `code` and `message`; None if it has none.

    `operator`: with `process`, the exit code of a process that failed and the end of its output, `sentTo`,
    the origin to which the setting `endpoints` sent a call, and `responseExcerpt`, the beginning of the body
    of the response that refused a call.
    """
    if run.status == "cancelled":
        return _cancelled(run.cancel_reason or "")
    if run.status != "faulted":
        return None
    found = msgspec.json.decode(run.error) if run.error else {}
    problem: dict[str, Any] = found if isinstance(found, dict) else {}
    if not operator:
        problem = _for_callers(problem)
    problem.setdefault("status", 500)
    kind = str(problem.get("type") or "")
    problem.setdefault("code", kind.rstrip("/").rpartition("/")[2] or "runtime")
    problem.setdefault("message", problem.get("detail") or problem.get("title") or "The run faulted")
    return problem


def _cancelled(reason: str) -> dict[str, Any]:
    # The DSL has no error type for it; `about:blank` of RFC 7807 means the same as the status.
    title = "The run was cancelled"
    problem: dict[str, Any] = {"type": "about:blank", "status": 409, "title": title}
    if reason:
        problem["detail"] = reason
    return problem | {"code": "cancelled", "message": f"{title}: {reason}" if reason else title}


def journal_entry(stored: bytes) -> dict[str, Any]:
    """Decode a journal entry, with its times in RFC 3339."""
    found: dict[str, Any] = msgspec.json.decode(stored)
    if isinstance(at := found.get("at"), int):
        found["at"] = rfc3339(at)
    detail = found.get("detail")
    if isinstance(detail, dict) and isinstance(due := detail.pop("due_ms", None), int):
        detail["until"] = rfc3339(due)
    return found


def public_entry(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return a journal entry as callers may see it; None if it is for operators only."""
    match entry:
        case {"kind": "process.output" | "task.recorded"}:
            return None
        case {"kind": "task.restarted" | "task.interrupted"}:
            # The detail is the name of a worker.
            return {name: value for name, value in entry.items() if name != "detail"}
        case {"kind": "workflow.retried", "detail": {"reason": _, **detail}}:
            return {**entry, "detail": detail}
        case {"detail": {"error": dict() as problem, **detail}}:
            return {**entry, "detail": {**detail, "error": _for_callers(problem)}}
        case _:
            return entry


def _for_callers(problem: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in problem.items() if name not in ("process", "sentTo", "responseExcerpt")
    }


def _waiting_for(run: RunView, *, limited: bool, held: bool, operator: bool) -> dict[str, Any] | None:
    if run.state in ("queue", "backlog", "woken", "suspect"):
        behind = limited and run.state in ("backlog", "woken")
        kind = "hold" if held and run.state == "backlog" else "limit" if behind else "queue"
        return {"kind": kind, "task": None, "until": None}
    if run.state == "lane":
        runs = {"runs": list(run.behind)} if operator else {}
        return {"kind": "key", "task": None, "until": None, **runs}
    if not run.waiting_for:
        return None
    found = msgspec.json.decode(run.waiting_for)
    if not isinstance(found, dict):
        return None
    until = found.get("until", found.get("until_ms"))
    return {
        "kind": found.get("kind"),
        "task": found.get("task"),
        "until": rfc3339(until) if isinstance(until, int) else until,
    }


def _task(row: TaskView) -> dict[str, Any]:
    return {
        "name": row.name,
        "reference": row.reference,
        "status": row.status,
        "startedAt": rfc3339(row.started_at_ms),
        "endedAt": rfc3339(row.ended_at_ms),
        "attempt": row.attempt,
        "count": row.count,
    }
