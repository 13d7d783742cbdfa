"""The standard's lifecycle events: what becomes of workflows and tasks, as CloudEvents for the sinks.

Used by `run`, only where a sink wants them: made from the same notes as the journal, they leave with the
same commit. Used by `delivery` for what the store did to a run without a worker. Invariants: what is told has
happened, and has one id however often it is sent; no event holds a secret.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec

from iogate.engine import errors
from iogate.engine.commands import Note
from iogate.engine.scope import describe_time
from iogate.store.events.outbox import Entry
from iogate.worker.events.sinks import OutgoingEvent
from iogate.worker.runs.codec import encode
from iogate.worker.secrets.redaction import Redaction

PREFIX = "io.serverlessworkflow."

_Described = tuple[str, dict[str, Any], int]
"""Type of an event, its data, and when it happened."""

_EVENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    # a note's kind: types of events, each with the member that says when
    "workflow.started": (("workflow.started", "startedAt"),),
    "workflow.correlation-started": (("workflow.correlation-started", "startedAt"),),
    "workflow.correlation-completed": (("workflow.correlation-completed", "completedAt"),),
    "workflow.suspended": (("workflow.suspended", "suspendedAt"),),
    "workflow.resumed": (("workflow.resumed", "resumedAt"),),
    "workflow.cancelled": (("workflow.cancelled", "cancelledAt"),),
    "workflow.faulted": (("workflow.faulted", "faultedAt"),),
    "workflow.completed": (("workflow.completed", "completedAt"),),
    "task.started": (("task.created", "createdAt"), ("task.started", "startedAt")),
    "task.suspended": (("task.suspended", "suspendedAt"),),
    "task.resumed": (("task.resumed", "resumedAt"),),
    "task.retried": (("task.retried", "retriedAt"),),
    "task.cancelled": (("task.cancelled", "cancelledAt"),),
    "task.faulted": (("task.faulted", "faultedAt"),),
    "task.completed": (("task.completed", "completedAt"),),
}


_STATUSES: Mapping[str, str] = {
    # a note's kind: the status that it brings
    "workflow.started": "running",
    "workflow.suspended": "suspended",
    "workflow.resumed": "running",
    "workflow.cancelled": "cancelled",
    "workflow.faulted": "faulted",
    "workflow.completed": "completed",
    "task.started": "running",
    "task.waiting": "waiting",
    "task.suspended": "suspended",
    "task.resumed": "running",
    "task.cancelled": "cancelled",
    "task.faulted": "faulted",
    "task.completed": "completed",
}

LAST_MS = 253_402_300_799_999
"""The end of the year 9999, beyond which no event can say when it happened."""


class _JournalEntry(msgspec.Struct):
    """A line of a journal as the store writes it, held against what others may write there."""

    at: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
    kind: str
    reference: str = ""
    name: str = ""
    detail: dict[str, Any] | None = None


_journal_entry = msgspec.json.Decoder(_JournalEntry)


class LifecycleEvents:
    """Tells of one run, by its uid and the full name of its workflow.

    `statuses`: a sink also wants the events of changed statuses, which repeat what the others say.
    """

    def __init__(self, uid: str, workflow: str, *, statuses: bool = False) -> None:
        full, _, version = workflow.rpartition(":")
        namespace, _, name = full.partition("/")
        self._uid = uid
        self._statuses = statuses
        self._name = f"{name}-{uid}.{namespace}"
        self._definition = {"name": name, "namespace": namespace, "version": version}
        self._source = f"/{namespace}/{name}/{version}"

    def build(
        self, notes: Sequence[Note], step: str, redaction: Redaction, *, before: str = "", after: str = ""
    ) -> list[OutgoingEvent]:
        """The events of the notes of one step of the run, which is stored once.

        The step, and an event's place in it, name the event. `before` and `after`: the run's status.
        """
        leaving: list[OutgoingEvent] = []
        told = self._with_statuses(notes, redaction, before, after)
        for kind, data, at_ms in told if self._statuses else self._events(notes, redaction):
            key = f"{self._uid}/lifecycle/{step}/{len(leaving)}"
            event = {
                "specversion": "1.0",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, key)),
                "source": self._source,
                "type": kind,
                "subject": self._name,
                "time": describe_time(at_ms)["iso8601"],
                "datacontenttype": "application/json",
                "data": data,
            }
            leaving.append(OutgoingEvent(type=kind, data=encode(event), lifecycle=True))
        return leaving

    def _events(self, notes: Sequence[Note], redaction: Redaction) -> Iterator[_Described]:
        for note in notes:
            for kind, when in _EVENTS.get(note.kind, ()):
                data = self._about(kind, note) | {when: describe_time(note.at_ms)["iso8601"]}
                if kind == "workflow.started":
                    data["definition"] = self._definition
                if note.detail and "error" in note.detail and kind.endswith(".faulted"):
                    data["error"] = redaction.scrub(errors.strip_extensions(note.detail["error"]))
                if note.detail and note.detail.get("correlationKeys"):
                    data["correlationKeys"] = redaction.scrub(note.detail["correlationKeys"])
                yield f"{PREFIX}{kind}.v1", data, note.at_ms

    def _about(self, kind: str, note: Note) -> dict[str, Any]:
        if kind.startswith("workflow."):
            return {"name": self._name}
        return {"workflow": self._name, "task": note.reference}

    def _with_statuses(
        self, notes: Sequence[Note], redaction: Redaction, before: str, after: str
    ) -> Iterator[_Described]:
        """Each event, and after it the status that it brought."""
        for note in notes:
            if before == "waiting" and note.kind.startswith("task.") and note.kind != "task.cancelled":
                # What it waited for has come.
                before = "running"
                yield self._status("workflow.status-changed", note, before)
            for told in self._events([note], redaction):
                yield told
                if told[0] == f"{PREFIX}task.created.v1":
                    yield self._status("task.status-changed", note, "pending")
            status = _STATUSES.get(note.kind)
            if status is None:
                continue
            if note.kind.endswith(".resumed"):
                status = note.detail.get("status", status)
            if note.kind.startswith("task."):
                yield self._status("task.status-changed", note, status)
            elif status != before:
                before = status
                yield self._status("workflow.status-changed", note, before)
        if notes and after and after != before:
            yield self._status("workflow.status-changed", notes[-1], after)

    def _status(self, kind: str, note: Note, status: str) -> _Described:
        at = describe_time(note.at_ms)["iso8601"]
        return f"{PREFIX}{kind}.v1", self._about(kind, note) | {"updatedAt": at, "status": status}, note.at_ms


def build_from_entry(entry: Entry, redaction: Redaction, *, statuses: bool) -> list[OutgoingEvent]:
    """The events of what the store did to a run.

    Raises msgspec.DecodeError for what the store did not write.
    """
    line = _journal_entry.decode(entry.line)
    note = Note(
        kind=cast("Any", line.kind),
        at_ms=line.at,
        reference=line.reference,
        name=line.name,
        detail=line.detail or {},
    )
    lifecycle_events = LifecycleEvents(entry.uid, entry.workflow, statuses=statuses)
    return lifecycle_events.build([note], f"line/{entry.number}", redaction)
