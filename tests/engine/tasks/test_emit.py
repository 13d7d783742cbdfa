"""`emit`: the events of a run, and the listeners that receive them."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.engine.tasks.emit import LONGEST, envelope
from iogate.errors import WorkflowError
from iogate.gateway.events import cloudevents
from tests.engine.engine_runs import program
from tests.engine.listeners import Listener


def test_a_repeated_step_emits_identical_events() -> None:
    made = program("do: [{e: {emit: {event: {with: {type: a}}}}}, {g: {emit: {event: {with: {type: a}}}}}]")
    first, second = Listener(made), Listener(made, budget=1, stores=True)
    assert first.emitted == second.emitted
    assert len({each["id"] for each in first.emitted}) == 2


def test_an_event_states_whether_its_id_is_the_authors() -> None:
    run = Listener(
        program(
            "do: [{e: {emit: {event: {with: {type: a}}}}}, {g: {emit: {event: {with: {id: '1', type: a}}}}}]"
        )
    )
    assert [emit.generated for step in run.steps for emit in step.emits] == [True, False]


def test_a_slice_emits_at_most_a_hundred_events() -> None:
    run = Listener(
        program("do: [{f: {for: {in: '${ [range(250)] }'}, do: [{e: {emit: {event: {with: {type: a}}}}}]}}]"),
        budget=100_000,
    )
    assert [len(step.emits) for step in run.steps] == [100, 100, 50]
    assert [step.more for step in run.steps] == [True, True, False]
    assert len({each["id"] for each in run.emitted}) == 250


def test_a_listener_after_an_emit_subscribes_after_its_commit() -> None:
    run = Listener(
        program(
            "do: [{e: {emit: {event: {with: {type: a}}}}}, {l: {listen: {to: {one: {with: {type: a}}}}}}]"
        )
    )
    first, second = run.steps
    assert (len(first.emits), first.more, len(second.emits)) == (1, True, 0)
    assert not any(frame.wants for frame in first.state.frames.values())
    assert any(frame.wants for frame in second.state.frames.values())


def test_a_listener_before_an_emit_of_the_same_step_subscribes_with_it() -> None:
    run = Listener(
        program("""
            do:
              - f:
                  fork:
                    branches:
                      - l: {listen: {to: {one: {with: {type: a}}}}}
                      - e: {emit: {event: {with: {type: a}}}}
        """)
    )
    (step,) = run.steps
    assert step.emits
    assert any(frame.wants for frame in step.state.frames.values())


def test_a_retry_emits_a_new_event_only_after_a_definite_result() -> None:
    made = program("""
        do:
          - t:
              try:
                - e: {emit: {event: {with: {type: a}}}}
                - w: {wait: PT1H}
              catch: {retry: {limit: {attempt: {count: 1, duration: PT5S}}}}
    """)
    run = Listener(made)
    run.now_ms += 5000
    run.advance()
    ids = [each["id"] for each in run.emitted]
    assert len(ids) == 2
    assert len(set(ids)) == 1  # the timeout says nothing of what receivers did: they can tell it is one event


def made(**given: Any) -> dict[str, Any]:
    return envelope({"type": "test.said", **given}, id_="1", source="/tests", now_ms=0)


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "dataschema", "region"])
def test_an_attribute_that_is_invalid_in_a_header_is_refused(name: str) -> None:
    longest = "x:" + "x" * (LONGEST - 2)
    assert made(**{name: longest})[name] == longest
    with pytest.raises(WorkflowError, match=f'attribute "{name}" of the event must have at most 2048 char'):
        made(**{name: longest + "x"})


def test_data_may_be_of_any_length() -> None:
    assert len(made(data="x" * 100_000)["data"]) == 100_000
    assert len(made(data_base64="A" * 100_000)["data_base64"]) == 100_000


def test_emitted_and_received_events_have_the_same_limit() -> None:
    assert LONGEST == cloudevents.LONGEST  # the gateway does not know the engine
