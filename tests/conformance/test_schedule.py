"""What `schedule.on` starts: the standing run behind it, fed with events, and the input of each run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from iogate.compiler.revision import canonical
from iogate.compiler.schedules import STANDING
from iogate.testing import Outcome
from tests.conformance.running import DOCUMENT, Case, harness

T = "2026-01-01T00:00:00Z"
A = {"specversion": "1.0", "id": "1", "source": "/s", "type": "a", "time": T, "data": {"n": 1}}
B = {"specversion": "1.0", "id": "2", "source": "/s", "type": "b", "time": T, "data": {"n": 2}}
ONE = {"one": {"with": {"type": "a"}}}


async def started(schedule: dict[str, Any], root: Path, *events: dict[str, Any]) -> list[Any]:
    """The inputs of the runs that the events start."""
    workflow = {"document": DOCUMENT, "schedule": schedule, "do": [{"s": {"set": {"first": "${ .[0] }"}}}]}
    made = harness(Case(property="on", workflow=workflow, result={}), root, {})
    assert not isinstance(made, str), made
    revision = made.bundle.revision
    (standing,) = (msgspec.structs.replace(each, program="standing") for each in revision.workflows.values())
    workflows = {**revision.workflows, "conformance/standing:1.0.0": standing}
    programs = {**made.bundle.programs, "standing": canonical({STANDING: workflow})}
    bundle = msgspec.structs.replace(
        made.bundle, revision=msgspec.structs.replace(revision, workflows=workflows), programs=programs
    )
    outcome: Outcome = await replace(made, bundle=bundle).run("conformance/standing", {}, events=events)
    assert outcome.status == "waiting", outcome.error
    assert all(child.output == {"first": child.input[0]} for child in outcome.children)
    return [child.input for child in outcome.children]


async def test_each_event_starts_a_run_with_an_array_of_it(tmp_path: Path) -> None:
    found = await started({"on": ONE, "read": "data"}, tmp_path, A, B, {**A, "id": "3", "data": 5})
    assert found == [[{"n": 1}], [5]]


async def test_a_filter_of_any_starts_a_run_for_each_of_its_events(tmp_path: Path) -> None:
    on = {"any": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    assert await started({"on": on, "read": "data"}, tmp_path, B, A) == [[{"n": 2}], [{"n": 1}]]


async def test_all_starts_a_run_once_each_of_its_events_has_come(tmp_path: Path) -> None:
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    again = {**A, "id": "3"}
    assert await started({"on": on, "read": "data"}, tmp_path, A, B, again) == [[{"n": 1}, {"n": 2}]]


@pytest.mark.parametrize(
    ("read", "given"), [("data", {"n": 1}), ("envelope", A), ("raw", '{"n":1}'), (None, A)], ids=str
)
async def test_events_are_read_in_the_form_that_the_schedule_names(
    read: str | None, given: Any, tmp_path: Path
) -> None:
    schedule = {"on": ONE} if read is None else {"on": ONE, "read": read}
    assert await started(schedule, tmp_path, A) == [[given]]
