"""From the engine's notes to what is stored for people: journal lines and rows of the task table.

Used by `active` when it builds a commit. Invariants: no line holds a secret, and a task has one row,
however often it ran.

    line    {"at": epoch ms, "kind": "task.started", "reference": "/do/0/a", "name": "a", "detail": {…}}
            where the last three are left out while empty
"""

from __future__ import annotations

from typing import Any

import msgspec

from iogate.engine.commands import Note
from iogate.store.leases import TaskRow
from iogate.worker.redaction import Redaction


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    at: int
    kind: str
    reference: str = ""
    name: str = ""
    detail: Any = None


_encode = msgspec.json.Encoder().encode

_STATUS = {
    "task.started": "running",
    "task.completed": "completed",
    "task.faulted": "faulted",
    "task.skipped": "skipped",
    "task.cancelled": "cancelled",
    "task.retried": "running",
    "task.waiting": "waiting",
}
_OVER = frozenset({"completed", "faulted", "skipped", "cancelled"})


def lines(notes: list[Note], redaction: Redaction) -> list[bytes]:
    """One JSON object a note."""
    if redaction.idle:
        return [
            _encode(Line(note.at_ms, note.kind, note.reference, note.name, note.detail or None))
            for note in notes
        ]
    return [
        _encode(Line(note.at_ms, note.kind, note.reference, note.name, redaction.scrub(note.detail) or None))
        for note in notes
    ]


def rows(notes: list[Note]) -> list[TaskRow]:
    """One row a task: its latest status, and how often it started since the last commit."""
    latest: dict[str, list[Any]] = {}
    for note in notes:
        status = _STATUS.get(note.kind)
        if status is None:
            continue
        at_ms = note.at_ms
        row = latest.get(note.reference)
        if row is None:
            row = latest[note.reference] = [note.name, status, at_ms, None, 1, 0]
        row[1] = status
        row[3] = at_ms if status in _OVER else None
        if note.kind in {"task.started", "task.skipped"}:
            row[5] += 1
        attempt = note.detail.get("attempt")
        if isinstance(attempt, int):
            row[4] = attempt
    return [
        TaskRow(
            reference=reference,
            name=name,
            status=status,
            started_at_ms=started_ms,
            ended_at_ms=ended_ms,
            attempt=attempt,
            count=count,
        )
        for reference, (name, status, started_ms, ended_ms, attempt, count) in latest.items()
    ]
