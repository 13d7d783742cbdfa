"""Journal entries, task rows, events and children that leave with the next commit of a run.

Used by `run` when it builds a commit. Invariants: no entry contains a secret; a task has one row, even
if it ran several times; memory is bounded, even if a run computes long without a commit.

    entry   {"at": epoch ms, "kind": "task.started", "reference": "/do/0/a", "name": "a", "detail": {…}}
            where empty members are omitted
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from iogate.engine.commands import Emit, Note
from iogate.store import keys
from iogate.store.runs.commits import Child, TaskRow
from iogate.worker.events.sinks import Sinks
from iogate.worker.secrets.redaction import Redaction


class JournalEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Journal entry as it is stored."""

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
"""Largest number of entries of a journal."""
MOST_NOTES: Final = 4_096
"""Largest number of notes of one run in memory."""
MOST_LEAVING: Final = 100
"""Number of events and children from which a run commits before it computes further."""


def encode_entries(notes: list[Note], redaction: Redaction) -> list[bytes]:
    """Encode each note as a journal entry; drop the oldest beyond the limit of the store."""
    if len(notes) > KEPT:
        notes = notes[-KEPT:]
    idle = redaction.idle
    written = []
    for note in notes:
        if note.kind in _STARTS:
            # iogate creates a task when it starts; the standard has an event for each.
            iteration = {"iteration": note.detail["iteration"]} if "iteration" in note.detail else None
            written.append(
                _encode(JournalEntry(note.at_ms, "task.created", note.reference, note.name, iteration))
            )
        detail = note.detail if idle else redaction.scrub(note.detail)
        written.append(
            _encode(JournalEntry(note.at_ms, note.kind, note.reference, note.name, detail or None))
        )
    return written[-KEPT:]


def update_rows(rows: dict[str, TaskRow], notes: list[Note]) -> None:
    """Update the rows of tasks beside the journal by the notes: status, attempt and start count."""
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
    """Buffer of one run, which `clear` empties."""

    __slots__ = ("_counted", "_notes", "_rows", "_sinks", "children", "emits", "recorded")

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks
        self.clear()

    def clear(self) -> None:
        """Empty the buffer of the run's journal, after it was put into a commit or if it cannot be stored."""
        self._notes: list[Note] = []
        self._counted: list[Note] = []
        """Older notes, which the rows include already; only the journal needs them."""
        self._rows: dict[str, TaskRow] = {}
        self.emits: list[Emit] = []
        self.children: list[Child] = []
        self.recorded: list[bytes] = []
        """Results of tasks, for replays."""

    @property
    def full(self) -> bool:
        """Whether the journal's buffer should be committed before the run continues."""
        reported = len(self._notes) if self._sinks.lifecycle else 0
        return len(self.emits) + len(self.children) >= MOST_LEAVING or reported >= KEPT

    def keep(self, recorded: bytes) -> None:
        """Add the recorded result of a task beside the journal; no more than a run may have."""
        if sum(map(len, self.recorded)) <= keys.RECORDED_BYTES:
            self.recorded.append(recorded)

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
