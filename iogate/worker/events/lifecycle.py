"""Lifecycle events of workflows and tasks, as CloudEvents for the sinks (DSL, "Lifecycle Events").

Used by `commit_builder` if a sink wants them: they are built from the notes of the journal and written in the
same commit. Used by `sink_delivery` for changes that the store made without a worker. Invariants: the id of
an event does not change when it is sent again; no event contains a secret.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec

from iogate.engine import errors
from iogate.engine.commands import Note
from iogate.engine.expression_scope import describe_time
from iogate.store.events.outbox import Entry
from iogate.store.state_codec import encode
from iogate.worker.events.sinks import OutgoingEvent
from iogate.worker.secrets.redaction import Redaction

PREFIX = "io.serverlessworkflow."

_Described = tuple[str, dict[str, Any], int]
"""Type of an event, its data, and when it happened."""

_EVENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    # kind of note: types of events, each with its member for the time
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
    # kind of note: the status after it
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
"""End of the year 9999, the latest time of an event."""


class _JournalEntry(msgspec.Struct):
    """Schema of a journal entry of the store; it rejects entries that another program wrote."""

    at: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
    kind: str
    reference: str = ""
    name: str = ""
    detail: dict[str, Any] | None = None


_journal_entry = msgspec.json.Decoder(_JournalEntry)


class LifecycleEvents:
    """Builder of the lifecycle events of one run.

    `workflow` is the full name. With `statuses`, it also builds the optional events of status changes.
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
        """Return the lifecycle events for the notes of one commit of the run.

        The id of an event is derived from `step` and its index. `before` and `after`: status of the run.
        """
        events: list[OutgoingEvent] = []
        described = self._with_statuses(notes, redaction, before, after)
        for kind, data, at_ms in described if self._statuses else self._events(notes, redaction):
            key = f"{self._uid}/lifecycle/{step}/{len(events)}"
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
            events.append(OutgoingEvent(type=kind, data=encode(event), lifecycle=True))
        return events

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
        """Yield each lifecycle event, followed by the status change that it caused."""
        for note in notes:
            if before == "waiting" and note.kind.startswith("task.") and note.kind != "task.cancelled":
                # The wait of the run is over.
                before = "running"
                yield self._status("workflow.status-changed", note, before)
            for described in self._events([note], redaction):
                yield described
                if described[0] == f"{PREFIX}task.created.v1":
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
    """Return the lifecycle events for a change that the store made to a run.

    Raises msgspec.DecodeError if the entry is not one that the store writes.
    """
    stored = _journal_entry.decode(entry.line)
    note = Note(
        kind=cast("Any", stored.kind),
        at_ms=stored.at,
        reference=stored.reference,
        name=stored.name,
        detail=stored.detail or {},
    )
    lifecycle_events = LifecycleEvents(entry.uid, entry.workflow, statuses=statuses)
    return lifecycle_events.build([note], f"line/{entry.number}", redaction)
