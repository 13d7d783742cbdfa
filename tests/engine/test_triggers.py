"""The standing run of a schedule: the sets of events that start a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from iogate.compiler.program import load, load_standing
from iogate.compiler.schedules import standing
from iogate.engine.tasks import schedule_on
from tests.engine.engine_runs import HEADER
from tests.engine.listeners import Listener, event


def standing_run(on: Mapping[str, Any], **schedule: Any) -> Listener:
    definition = {"document": HEADER, "schedule": {"on": on, **schedule}, "do": [{"s": {"set": {"n": 1}}}]}
    return Listener(load(json.loads(json.dumps(standing(definition)))), stores=True)


def test_each_event_starts_a_run_with_an_array_of_it() -> None:
    run = standing_run({"one": {"with": {"type": "a"}}}).receive(event("a", 1), event("b", 2), event("a", 3))
    assert run.started == [[event("a", 1)], [event("a", 3)]]
    assert {(each.namespace, each.name, each.awaits) for step in run.steps for each in step.children} == {
        ("test", "sample", False)
    }
    assert run.state.status == "waiting"


def test_read_of_a_schedule_selects_the_input_of_the_run() -> None:
    run = standing_run({"any": []}, read="data").receive(event("a", 1), event("b", 2))
    assert run.started == [[1], [2]]


def test_interleaved_sets_of_events_start_a_run_each() -> None:
    on = {
        "all": [
            {"with": {"type": "a"}, "correlate": {"k": {"from": ".data.k"}}},
            {"with": {"type": "b"}, "correlate": {"k": {"from": ".data.k"}}},
        ]
    }
    run = standing_run(on, read="data").receive(
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


def test_events_without_a_correlation_key_pair_in_order() -> None:
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on, read="data").receive(event("a", 1), event("a", 2), event("b", 3), event("b", 4))
    assert run.started == [[1, 3], [2, 4]]


def test_a_schedule_collects_until_its_condition_holds() -> None:
    run = standing_run({"any": [{"with": {"type": "a"}}], "until": "length == 2"}, read="data")
    run.receive(*(event("a", number) for number in range(5)))
    assert run.started == [[0, 1], [2, 3]]


def test_an_event_of_until_starts_a_run_only_with_collected_events() -> None:
    run = standing_run(
        {"any": [{"with": {"type": "a"}}], "until": {"one": {"with": {"type": "stop"}}}}, read="data"
    ).receive(event("stop"), event("a", 1), event("a", 2), event("stop"), event("stop"))
    assert run.started == [[1, 2]]


def test_the_frame_of_a_schedule_is_written_once() -> None:
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on)
    first = run.state.frames[run.frame]
    run.receive(event("a"), event("b"), event("a"))
    assert run.state.frames[run.frame] == first


def test_incomplete_sets_are_dropped_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_on, "MOST", 3)
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on, read="data").receive(*(event("a", number) for number in range(5)))
    run.receive(event("b", "b"))
    assert run.started == [[2, "b"]]


def test_the_program_of_a_schedule_is_one_task() -> None:
    made = load_standing({"document": HEADER, "schedule": {"on": {"any": []}}})
    assert list(made.tasks) == ["/do/0/on"]
