"""The standard's lifecycle events: what becomes of workflows and tasks, as CloudEvents for the sinks.

Used by `active`, only where a sink wants them. Made from the same notes as the journal, and they leave with
the same commit: what is told has happened, and is told once. Invariant: no event holds a secret.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from iogate.engine.commands import Note
from iogate.engine.scope import moment
from iogate.store.claims import Claim
from iogate.worker.frames import encode
from iogate.worker.redaction import Redaction
from iogate.worker.sinks import Leaving

PREFIX = "io.serverlessworkflow."

_EVENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    # a note's kind: types of events, each with the member that says when
    "workflow.started": (("workflow.started", "startedAt"),),
    "workflow.correlation-started": (("workflow.correlation-started", "startedAt"),),
    "workflow.correlation-completed": (("workflow.correlation-completed", "completedAt"),),
    "workflow.cancelled": (("workflow.cancelled", "cancelledAt"),),
    "workflow.faulted": (("workflow.faulted", "faultedAt"),),
    "workflow.completed": (("workflow.completed", "completedAt"),),
    "task.started": (("task.created", "createdAt"), ("task.started", "startedAt")),
    "task.skipped": (("task.created", "createdAt"),),
    "task.retried": (("task.retried", "retriedAt"),),
    "task.cancelled": (("task.cancelled", "cancelledAt"),),
    "task.faulted": (("task.faulted", "faultedAt"),),
    "task.completed": (("task.completed", "completedAt"),),
}


class Chronicle:
    """Tells of one run."""

    def __init__(self, claim: Claim) -> None:
        full, _, version = claim.workflow.rpartition(":")
        namespace, _, name = full.partition("/")
        self._uid = claim.uid
        self._name = f"{name}-{claim.uid}.{namespace}"
        self._definition = {"name": name, "namespace": namespace, "version": version}
        self._source = f"/{namespace}/{name}/{version}"

    def tell(self, notes: Sequence[Note], seq: int, redaction: Redaction) -> list[Leaving]:
        """The events of the notes that commit `seq` writes.

        A commit is applied once: its number, and the event's place in it, name the event.
        """
        leaving: list[Leaving] = []
        for kind, data, at_ms in self._events(notes, redaction):
            key = f"{self._uid}/lifecycle/{seq}/{len(leaving)}"
            event = {
                "specversion": "1.0",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, key)),
                "source": self._source,
                "type": kind,
                "subject": self._name,
                "time": moment(at_ms)["iso8601"],
                "datacontenttype": "application/json",
                "data": data,
            }
            leaving.append(Leaving(type=kind, data=encode(event), lifecycle=True))
        return leaving

    def _events(
        self, notes: Sequence[Note], redaction: Redaction
    ) -> Iterator[tuple[str, dict[str, Any], int]]:
        for note in notes:
            for kind, when in _EVENTS.get(note.kind, ()):
                subject: dict[str, Any] = (
                    {"name": self._name}
                    if kind.startswith("workflow.")
                    else {"workflow": self._name, "task": note.reference}
                )
                if kind == "workflow.started":
                    subject["definition"] = self._definition
                data = {**subject, when: moment(note.at_ms)["iso8601"]}
                if note.detail and "error" in note.detail and kind.endswith(".faulted"):
                    data["error"] = redaction.scrub(note.detail["error"])
                if note.detail and note.detail.get("correlationKeys"):
                    data["correlationKeys"] = redaction.scrub(note.detail["correlationKeys"])
                yield f"{PREFIX}{kind}.v1", data, note.at_ms
