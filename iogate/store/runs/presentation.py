"""A run as people and programs read it: one form for HTTP and the command line.

Called by gateway and cli with what `operations` gives. Pure. Invariants: `input` leaves redacted, and every
time is RFC 3339, UTC; whoever may not see a run in full sees its status and times; callers see no output of a
process, no target of the setting `endpoints` and no response of a server, operators do.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.security.secret_members import redact

if TYPE_CHECKING:
    from iogate.store.runs.views import RunView, Summary, TaskView

NOTHING = msgspec.Raw(b"null")


def raw_json(value: bytes | None) -> msgspec.Raw:
    """Stored JSON as it is, without decoding it."""
    return msgspec.Raw(value) if value else NOTHING


def rfc3339(ms: int | None) -> str | None:
    """RFC 3339, UTC, in milliseconds."""
    if ms is None:
        return None
    try:
        at = dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None  # something without the key wrote it
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def public_status(run: RunView) -> dict[str, Any]:
    """What anyone may know who has the uid of a run of an open API."""
    return {
        "uid": run.uid,
        "status": run.status,
        "createdAt": rfc3339(run.created_at_ms),
        "startedAt": rfc3339(run.started_at_ms),
        "endedAt": rfc3339(run.ended_at_ms),
    }


def summarize(run: Summary | RunView) -> dict[str, Any]:
    """A run as a list shows it: all but its data."""
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
    """Return an input as JSON in which members that look like secrets are redacted."""
    return msgspec.json.encode(redact(msgspec.json.decode(stored)))


def describe(
    run: RunView, *, limited: bool, shown_input: bytes | None = None, operator: bool = False
) -> dict[str, Any]:
    """Return all of a run.

    `limited`: its API may have only so many running at once. `shown_input`: its input if it is redacted
    already, since that takes a second for a large one. `operator`: as `error` takes it.
    """
    if shown_input is None and run.input:
        shown_input = redacted(run.input)
    return summarize(run) | {
        "input": raw_json(shown_input),
        "output": raw_json(run.output),
        "error": error(run, operator=operator),
        "waitingFor": _waiting_for(run, limited=limited),
        "tasks": [_task(row) for row in run.tasks],
    }


def list_item(run: Summary) -> dict[str, Any]:
    """Return a run as the command line lists it: `summarize`, with its parent and its error."""
    return summarize(run) | {"parent": run.parent, "error": error(run, operator=True)}


def error(run: Summary | RunView, *, operator: bool = False) -> dict[str, Any] | None:
    """Return why a run did not complete: RFC 7807 with `code` and `message`; None for one that did.

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
    # The standard has no type for it: RFC 7807's own says what the status says and no more.
    title = "The run was cancelled"
    problem: dict[str, Any] = {"type": "about:blank", "status": 409, "title": title}
    if reason:
        problem["detail"] = reason
    return problem | {"code": "cancelled", "message": f"{title}: {reason}" if reason else title}


def journal_entry(line: bytes) -> dict[str, Any]:
    """A line of the journal."""
    found: dict[str, Any] = msgspec.json.decode(line)
    if isinstance(at := found.get("at"), int):
        found["at"] = rfc3339(at)
    detail = found.get("detail")
    if isinstance(detail, dict) and isinstance(due := detail.pop("due_ms", None), int):
        detail["until"] = rfc3339(due)
    return found


def public_entry(line: dict[str, Any]) -> dict[str, Any] | None:
    """Return a line of the journal as callers see it; None for one that is for operators."""
    match line:
        case {"kind": "process.output"}:
            return None
        case {"kind": "task.restarted" | "task.interrupted"}:
            # Its detail is the name of a worker.
            return {name: value for name, value in line.items() if name != "detail"}
        case {"detail": {"error": dict() as problem, **detail}}:
            return {**line, "detail": {**detail, "error": _for_callers(problem)}}
        case _:
            return line


def _for_callers(problem: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in problem.items() if name not in ("process", "sentTo", "responseExcerpt")
    }


def _waiting_for(run: RunView, *, limited: bool) -> dict[str, Any] | None:
    if run.state in ("queue", "backlog", "woken", "suspect"):
        held = limited and run.state in ("backlog", "woken")
        return {"kind": "limit" if held else "queue", "task": None, "until": None}
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
