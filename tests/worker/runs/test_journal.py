"""Entries of the journal of a run name the iteration that they are about."""

from __future__ import annotations

import json

import pytest

from iogate.engine.commands import Note
from iogate.worker.runs.journal import encode_entries
from iogate.worker.secrets.redaction import Redaction


@pytest.mark.parametrize("kind", ["task.started", "task.skipped"])
def test_the_creation_of_a_task_in_a_parallel_loop_names_its_iteration(kind: str) -> None:
    detail = {"iteration": "/do/0/each/for/7/do/0/stock", "attempt": 2}
    notes = [
        Note(kind=kind, at_ms=5, reference="/do/0/each/for/do/0/stock", name="stock", detail=detail),  # type: ignore[arg-type]
        Note(kind=kind, at_ms=6, reference="/do/1/after", name="after"),  # type: ignore[arg-type]
    ]
    created = [json.loads(entry) for entry in encode_entries(notes, Redaction())]
    assert [each["kind"] for each in created] == ["task.created", kind] * 2
    assert [each.get("detail") for each in created] == [
        {"iteration": "/do/0/each/for/7/do/0/stock"},
        detail,
        None,
        None,
    ]
