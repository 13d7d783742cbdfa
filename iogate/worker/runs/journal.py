"""Journal entries, task rows, events and children that leave with the next commit of a run.

Used by `run` when it builds a commit. Invariants: no line holds a secret, and a task has one row,
however often it ran; memory is bounded, however long a run computes without a commit.

    line    {"at": epoch ms, "kind": "task.started", "reference": "/do/0/a", "name": "a", "detail": {…}}
            where the last three are left out while empty
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from iogate.engine.commands import Emit, Note
from iogate.store.runs.commits import Child, TaskRow
from iogate.worker.events.sinks import Sinks
from iogate.worker.secrets.redaction import Redaction


class JournalEntry(msgspec.Struct, frozen=True, omit_defaults=True):
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
"""Entries of a journal."""
MOST_NOTES: Final = 4_096
"""Notes of one run in memory."""
MOST_LEAVING: Final = 100
"""Events and children that wait for a commit, before the run stops computing for it."""


def encode_entries(notes: list[Note], redaction: Redaction) -> list[bytes]:
    """One JSON object a note; no more than the store keeps."""
    if len(notes) > KEPT:
        notes = notes[-KEPT:]
    idle = redaction.idle
    written = []
    for note in notes:
        if note.kind in _STARTS:
            # With us a task comes into being when its turn comes; the standard tells the two apart.
            written.append(_encode(JournalEntry(note.at_ms, "task.created", note.reference, note.name)))
        detail = note.detail if idle else redaction.scrub(note.detail)
        written.append(
            _encode(JournalEntry(note.at_ms, note.kind, note.reference, note.name, detail or None))
        )
    return written[-KEPT:]


def update_rows(rows: dict[str, TaskRow], notes: list[Note]) -> None:
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


class Outgoing:
    """Collects until `clear`."""

    __slots__ = ("_counted", "_notes", "_rows", "_sinks", "children", "emits")

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks
        self.clear()

    def clear(self) -> None:
        """Forget everything, because it was put into a commit or cannot be stored."""
        self._notes: list[Note] = []
        self._counted: list[Note] = []
        """Older notes, which the rows have counted; only the journal needs them."""
        self._rows: dict[str, TaskRow] = {}
        self.emits: list[Emit] = []
        self.children: list[Child] = []

    @property
    def full(self) -> bool:
        """Whether so much is waiting that it should be committed."""
        reported = len(self._notes) if self._sinks.lifecycle else 0
        return len(self.emits) + len(self.children) >= MOST_LEAVING or reported >= KEPT

    def note(self, notes: Sequence[Note]) -> None:
        self._notes.extend(notes)
        if len(self._notes) > MOST_NOTES and not self._sinks.lifecycle:
            update_rows(self._rows, self._notes)
            self._counted, self._notes = self._notes[-KEPT:], []

    def history(self) -> tuple[list[Note], list[TaskRow]]:
        """Return the notes for the journal and the rows of the tasks that they are about."""
        update_rows(self._rows, self._notes)
        notes = [*self._counted, *self._notes] if self._counted else self._notes
        return notes, list(self._rows.values())
