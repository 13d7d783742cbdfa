"""From the engine's notes to what is stored for people: journal lines and rows of the task table.

Used by `run` when it builds a commit. Invariants: no line holds a secret, and a task has one row,
however often it ran.

    line    {"at": epoch ms, "kind": "task.started", "reference": "/do/0/a", "name": "a", "detail": {…}}
            where the last three are left out while empty
"""

from __future__ import annotations

from typing import Any

import msgspec

from iogate.engine.commands import Note
from iogate.store.runs.commits import TaskRow
from iogate.worker.secrets.redaction import Redaction


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
    "task.restarted": "running",
    "task.waiting": "waiting",
}
_OVER = frozenset({"completed", "faulted", "skipped", "cancelled"})
_STARTS = frozenset({"task.started", "task.skipped"})
_COUNTED = _STARTS | {"task.restarted"}
KEPT = 1_000
"""Lines of a journal."""


def lines(notes: list[Note], redaction: Redaction) -> list[bytes]:
    """One JSON object a note; no more than the store keeps."""
    if len(notes) > KEPT:
        notes = notes[-KEPT:]
    idle = redaction.idle
    written = []
    for note in notes:
        if note.kind in _STARTS:
            # With us a task comes into being when its turn comes; the standard tells the two apart.
            written.append(_encode(Line(note.at_ms, "task.created", note.reference, note.name)))
        detail = note.detail if idle else redaction.scrub(note.detail)
        written.append(_encode(Line(note.at_ms, note.kind, note.reference, note.name, detail or None)))
    return written[-KEPT:]


def gather(rows: dict[str, TaskRow], notes: list[Note]) -> None:
    """Bring rows up to date: the latest status of each task, and how often it started."""
    for note in notes:
        status = _STATUS.get(note.kind)
        if status is None:
            continue
        at_ms = note.at_ms
        reference = note.reference
        row = rows.get(reference)
        attempt = note.detail.get("attempt", 1) if note.detail else 1
        rows[reference] = TaskRow(
            reference=reference,
            name=note.name,
            status=status,
            started_at_ms=at_ms if row is None else row.started_at_ms,
            ended_at_ms=at_ms if status in _OVER else None,
            attempt=attempt if row is None or attempt > row.attempt else row.attempt,
            count=(note.kind in _COUNTED) + (0 if row is None else row.count),
        )
