"""Lifecycle events carry what their tables say: from the notes of real runs, through what workers send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from iogate.engine.commands import Note
from iogate.worker.events.lifecycle import PREFIX, LifecycleEvents
from iogate.worker.secrets.redaction import Redaction
from tests.conformance.running import DOCUMENT, Case, harness
from tests.conformance.walking import table

FAILING = {"raise": {"error": {"type": "https://e.example/t", "status": 418}}}
PATIENT: dict[str, Any] = {"retry": {"limit": {"attempt": {"count": 1}}}}
RACE = {"fork": {"compete": True, "branches": [{"slow": {"wait": "PT1H"}}, {"fast": {"set": {"n": 1}}}]}}
LISTENING = {"listen": {"to": {"one": {"with": {"type": "t"}, "correlate": {"order": {"from": ".data.n"}}}}}}

TOLD: dict[str, list[dict[str, Any]]] = {
    "workflow.started": [{"a": {"set": {"n": 1}}}],
    "workflow.completed": [{"a": {"set": {"n": 1}}}],
    "workflow.faulted": [{"a": FAILING}],
    "workflow.correlation-started": [{"a": LISTENING}],
    "workflow.correlation-completed": [{"a": LISTENING}],
    "task.created": [{"a": {"set": {"n": 1}}}],
    "task.started": [{"a": {"set": {"n": 1}}}],
    "task.completed": [{"a": {"set": {"n": 1}}}],
    "task.faulted": [{"a": FAILING}],
    "task.retried": [{"a": {"try": [{"b": FAILING}], "catch": PATIENT}}],
    "task.cancelled": [{"a": RACE}],
}
OPTIONAL = {"outputUri"}
Aside = Literal["workflow.suspended", "workflow.resumed", "task.suspended", "task.resumed"]
"""What is told by the store, where a run stands still without a worker."""


@pytest.mark.parametrize("kind", TOLD)
async def test_an_event_carries_the_rows_of_its_table(kind: str, tmp_path: Path) -> None:
    case = Case(property=kind, workflow={"document": DOCUMENT, "do": TOLD[kind]}, result={})
    made = harness(case, tmp_path, {})
    assert not isinstance(made, str), made
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 5}}
    outcome = await made.run("conformance/case", {}, events=[event])
    assert rows(kind) - OPTIONAL <= data(kind, outcome.notes).keys()


def test_a_cancelled_workflow_emits_a_lifecycle_event() -> None:
    note = Note(kind="workflow.cancelled", at_ms=0, detail={"reason": "its caller asked for it"})
    assert rows("workflow.cancelled") <= data("workflow.cancelled", [note]).keys()


@pytest.mark.parametrize("kind", get_args(Aside))
def test_suspended_and_resumed_workflows_emit_lifecycle_events(kind: Aside) -> None:
    note = Note(kind=kind, at_ms=0, reference="/do/0/a", name="a")
    assert rows(kind) == data(kind, [note]).keys()


@pytest.mark.parametrize("kind", ["workflow.status-changed", "task.status-changed"])
def test_changes_of_status_emit_lifecycle_events(kind: str) -> None:
    notes = [
        Note(kind="workflow.started", at_ms=0),
        Note(kind="task.started", at_ms=0, reference="/do/0/a", name="a"),
    ]
    assert rows(kind) == data(kind, notes).keys()


def rows(kind: str) -> frozenset[str]:
    whose, _, what = kind.partition(".")
    section = table()[f"{whose.capitalize()} Lifecycle Events"][f"{PREFIX}{kind}.v1"]
    assert section.startswith(whose.capitalize()), what
    return frozenset(table()[section])


def data(kind: str, notes: Any) -> Mapping[str, Any]:
    """What the first event of the kind carries; its envelope is judged on the way."""
    lifecycle_events = LifecycleEvents("213996969363910656", "conformance/case:1.0.0", statuses=True)
    events = [json.loads(each.data) for each in lifecycle_events.build(notes, "1", Redaction())]
    (event, *_) = [each for each in events if each["type"] == f"{PREFIX}{kind}.v1"]
    assert event.keys() == {
        *("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data")
    }
    assert event["source"] == "/conformance/case/1.0.0"
    found: Mapping[str, Any] = event["data"]
    assert found.get("name", found.get("workflow")) == "case-213996969363910656.conformance"
    if "definition" in found:
        assert found["definition"].keys() == set(table()["Workflow Definition Reference"])
    return found
