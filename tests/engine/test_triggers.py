"""The standing run of a schedule: which sets of events start a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from iogate.compiler.program import load, trigger
from iogate.compiler.schedules import standing
from iogate.engine.tasks import schedule_on
from tests.engine.engine_runs import HEADER
from tests.engine.listeners import Told, event


def standing_run(on: Mapping[str, Any], **schedule: Any) -> Told:
    definition = {"document": HEADER, "schedule": {"on": on, **schedule}, "do": [{"s": {"set": {"n": 1}}}]}
    return Told(load(json.loads(json.dumps(standing(definition)))), stores=True)


def test_each_event_starts_a_run_with_the_array_of_it() -> None:
    run = standing_run({"one": {"with": {"type": "a"}}}).hear(event("a", 1), event("b", 2), event("a", 3))
    assert run.started == [[event("a", 1)], [event("a", 3)]]
    assert {(each.namespace, each.name, each.awaits) for step in run.steps for each in step.children} == {
        ("test", "sample", False)
    }
    assert run.state.status == "waiting"


def test_read_of_a_schedule_chooses_what_the_run_gets() -> None:
    run = standing_run({"any": []}, read="data").hear(event("a", 1), event("b", 2))
    assert run.started == [[1], [2]]


def test_sets_of_events_that_cross_start_a_run_each() -> None:
    on = {
        "all": [
            {"with": {"type": "a"}, "correlate": {"k": {"from": ".data.k"}}},
            {"with": {"type": "b"}, "correlate": {"k": {"from": ".data.k"}}},
        ]
    }
    run = standing_run(on, read="data").hear(
        event("a", {"k": 1}),
        event("a", {"k": 2}),
        event("b", {"k": 2}),
        event("b", {"k": 3}),
        event("b", {"k": 1}),
    )
    assert run.started == [[{"k": 2}, {"k": 2}], [{"k": 1}, {"k": 1}]]
    assert (
        sum(frame.kind == "round" for frame in run.state.frames.values()) == 1
    )  # 3 waits for its other half


def test_events_of_one_kind_wait_for_the_other_without_a_key() -> None:
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on, read="data").hear(event("a", 1), event("a", 2), event("b", 3), event("b", 4))
    assert run.started == [[1, 3], [2, 4]]


def test_a_schedule_gathers_until_its_condition_holds() -> None:
    run = standing_run({"any": [{"with": {"type": "a"}}], "until": "length == 2"}, read="data")
    run.hear(*(event("a", number) for number in range(5)))
    assert run.started == [[0, 1], [2, 3]]


def test_an_event_of_until_starts_a_run_only_where_something_was_gathered() -> None:
    run = standing_run(
        {"any": [{"with": {"type": "a"}}], "until": {"one": {"with": {"type": "stop"}}}}, read="data"
    ).hear(event("stop"), event("a", 1), event("a", 2), event("stop"), event("stop"))
    assert run.started == [[1, 2]]


def test_the_frame_of_a_schedule_is_written_once() -> None:
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on)
    first = run.state.frames[run.frame]
    run.hear(event("a"), event("b"), event("a"))
    assert run.state.frames[run.frame] == first


def test_sets_that_are_never_complete_are_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_on, "MOST", 3)
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on, read="data").hear(*(event("a", number) for number in range(5)))
    run.hear(event("b", "b"))
    assert run.started == [[2, "b"]]


def test_the_program_of_a_schedule_is_one_task() -> None:
    made = trigger({"document": HEADER, "schedule": {"on": {"any": []}}})
    assert list(made.tasks) == ["/do/0/on"]
