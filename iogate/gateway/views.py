"""A run as callers see it.

Pure. Invariant: `input` leaves redacted; whoever may not see a run in full sees its status and times.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.gateway.redact import redact

if TYPE_CHECKING:
    from iogate.store.runs import RunView, TaskView

NOTHING = msgspec.Raw(b"null")


def raw(value: bytes | None) -> msgspec.Raw:
    """Stored JSON as it is, without decoding it."""
    return msgspec.Raw(value) if value else NOTHING


def moment(ms: int | None) -> str | None:
    """RFC 3339, UTC, in milliseconds."""
    if ms is None:
        return None
    at = dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def times(run: RunView) -> dict[str, Any]:
    """What anyone may know who has the uid of a run of an open API."""
    return {
        "uid": run.uid,
        "status": run.status,
        "createdAt": moment(run.created_at_ms),
        "startedAt": moment(run.started_at_ms),
        "endedAt": moment(run.ended_at_ms),
    }


def whole(run: RunView, *, limited: bool) -> dict[str, Any]:
    """All of a run. `limited`: its API may have only so many running at once."""
    return {
        "uid": run.uid,
        "status": run.status,
        "api": run.api,
        "workflow": run.workflow,
        "revision": run.revision,
        "createdAt": moment(run.created_at_ms),
        "startedAt": moment(run.started_at_ms),
        "endedAt": moment(run.ended_at_ms),
        "attempt": run.attempt,
        "caller": run.caller or None,
        "input": redact(msgspec.json.decode(run.input)) if run.input else None,
        "output": raw(run.output),
        "error": error(run.error) if run.error else None,
        "waitingFor": _waiting_for(run, limited=limited),
        "tasks": [_task(row) for row in run.tasks],
    }


def error(stored: bytes | None, *, status: int = 500, message: str = "The run faulted") -> dict[str, Any]:
    """RFC 7807 with `code` and `message` beside it."""
    found = msgspec.json.decode(stored) if stored else {}
    problem: dict[str, Any] = found if isinstance(found, dict) else {}
    problem.setdefault("status", status)
    kind = str(problem.get("type") or "")
    problem.setdefault("code", kind.rstrip("/").rpartition("/")[2] or "runtime")
    problem.setdefault("message", problem.get("detail") or problem.get("title") or message)
    return problem


def _waiting_for(run: RunView, *, limited: bool) -> dict[str, Any] | None:
    if run.place in ("queue", "backlog", "woken", "suspect"):
        held = limited and run.place in ("backlog", "woken")
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
        "until": moment(until) if isinstance(until, int) else until,
    }


def _task(row: TaskView) -> dict[str, Any]:
    return {
        "name": row.name,
        "reference": row.reference,
        "status": row.status,
        "startedAt": moment(row.started_at_ms),
        "endedAt": moment(row.ended_at_ms),
        "attempt": row.attempt,
        "count": row.count,
    }
