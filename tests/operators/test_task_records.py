"""Recorded input and output of tasks, as operators see them."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.errors import NotFound
from iogate.operators.runs.task_records import add_records, records, records_of_task


def entry(reference: str, at: str, **detail: Any) -> dict[str, Any]:
    return {"at": at, "kind": "task.recorded", "reference": reference, "name": reference, "detail": detail}


def task(reference: str, status: str = "completed") -> dict[str, Any]:
    return {"reference": reference, "name": reference.rpartition("/")[2], "status": status}


JOURNAL = [
    {"at": "0", "kind": "workflow.started"},
    entry("/do/0/a", "1", input={"n": 1}, output={"n": 2}),
    entry("/do/1/l/for/do/0/b", "2", iteration="/do/1/l/for/0/do/0/b", input=1, error={"status": 500}),
    entry(
        "/do/1/l/for/do/0/b", "3", iteration="/do/1/l/for/1/do/0/b", input='"x', truncated={"input": 9_000}
    ),
]


def test_a_task_has_the_data_of_its_last_execution() -> None:
    tasks = [task("/do/0/a"), task("/do/1/l/for/do/0/b"), task("/do/2/c")]
    add_records(tasks, JOURNAL)
    first, second, third = tasks
    assert (first["input"], first["output"], first["error"]) == ({"n": 1}, {"n": 2}, None)
    assert (first["recorded"], first["recordedAt"], first["truncated"]) == (1, "1", None)
    assert (second["input"], second["truncated"]) == ('"x', {"input": 9_000})
    assert (second["iteration"], second["recorded"]) == ("/do/1/l/for/1/do/0/b", 2)
    assert (third["input"], third["recorded"], third["recordedAt"]) == (None, 0, None)


def test_a_failed_task_has_the_data_of_the_execution_that_failed() -> None:
    tasks = [task("/do/1/l/for/do/0/b", "faulted")]
    add_records(tasks, JOURNAL)
    assert (tasks[0]["error"], tasks[0]["iteration"]) == ({"status": 500}, "/do/1/l/for/0/do/0/b")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/do/0/a", ["1"]),
        ("a", ["1"]),
        ("/do/1/l/for/do/0/b", ["2", "3"]),
        ("/do/1/l/for/1/do/0/b", ["3"]),
        ("c", []),
    ],
)
def test_a_task_is_named_by_reference_iteration_or_name(name: str, found: list[str]) -> None:
    tasks = [task("/do/0/a"), task("/do/1/l/for/do/0/b"), task("/do/2/c")]
    assert [each["at"] for each in records_of_task(tasks, JOURNAL, name)] == found


def test_all_records_are_in_the_order_of_the_journal() -> None:
    assert [each["at"] for each in records(JOURNAL)] == ["1", "2", "3"]


def test_an_unknown_or_ambiguous_task_is_named() -> None:
    tasks = [task("/do/0/charge"), task("/do/1/charge"), task("/do/2/ship")]
    with pytest.raises(NotFound, match='several tasks are named "charge": /do/0/charge, /do/1/charge'):
        records_of_task(tasks, [], "charge")
    with pytest.raises(NotFound, match='the run has no task "shipp"; did you mean "ship"'):
        records_of_task(tasks, [], "shipp")
