"""How it goes on with what a run asked of the outside: stable keys, answers that never come, ends."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.engine.advance import Environment
from iogate.engine.commands import (
    CallHttp,
    Cancelled,
    Expired,
    Perform,
    Performed,
    Resumed,
)
from iogate.errors import ERROR_TYPES, WorkflowError
from iogate.store.runs.commits import TaskRow
from iogate.worker.runs.journal import update_rows
from tests.engine.engine_runs import Run, output, program, stored

CALLS = "{call: http, with: {method: post, endpoint: 'https://h', body: '${ . }'}}"


def test_keys_carry_every_turn_and_count_answers() -> None:
    inner = f"{{m: {{for: {{in: '[1]'}}, do: [{{c: {CALLS}}}]}}}}"
    text = f"do: [{{l: {{for: {{in: '[1,2]'}}, do: [{inner}]}}}}, {{z: {CALLS}}}]"
    run = Run(program(text))
    run.finish(lambda _: {})
    assert [(each.reference, each.idempotency_key) for each in run.performs] == [
        ("/do/0/l/for/0/do/0/m/for/0/do/0/c", "42/do/0/l/for/0/do/0/m/for/0/do/0/c/0"),
        ("/do/0/l/for/1/do/0/m/for/0/do/0/c", "42/do/0/l/for/1/do/0/m/for/0/do/0/c/1"),
        ("/do/1/z", "42/do/1/z/2"),
    ]


def test_a_task_that_is_reached_again_has_another_key() -> None:
    run = Run(
        program(f"do: [{{c: {CALLS}}}, {{s: {{switch: [{{again: {{when: . < 3, then: c}}}}]}}}}]"), input=0
    )

    def answer(perform: Perform) -> Any:
        assert isinstance(perform.effect, CallHttp)
        return perform.effect.body + 1

    run.finish(answer)
    keys = [perform.idempotency_key for perform in run.performs]
    assert len(keys) == len(set(keys)) == 3


@pytest.mark.parametrize("inner", ["{f: {fork: {branches: [{b: CALL}]}}}", "{b: CALL}"])
def test_answers_count_on_where_they_failed_the_branch_that_they_came_to(inner: str) -> None:
    tries = f"{{try: [{inner.replace('CALL', CALLS)}], catch: {{do: [{{x: {{set: '${{ . + 1 }}'}}}}]}}}}"
    run = Run(
        program(f"do: [{{t: {tries}}}, {{s: {{switch: [{{again: {{when: . < 3, then: t}}}}]}}}}]"), input=0
    )

    def broken(_: Perform) -> Any:
        raise WorkflowError("communication", status=500)

    run.finish(broken)
    keys = [perform.idempotency_key for perform in run.performs]
    assert [key[-2:] for key in keys] == ["/0", "/1", "/2"]
    assert run.state.status == "completed"


def test_after_a_crash_the_same_effect_is_asked_for_again_to_the_letter() -> None:
    call = "{call: http, with: {method: post, endpoint: 'https://h/${ now }', body: {i: '${ $item }'}}}"
    run = Run(program(f"do: [{{l: {{for: {{in: '[1,2]'}}, do: [{{c: {call}}}]}}}}]"))
    (first,) = run.tell()
    run.state = stored(run.state)
    run.now_ms += 60_000
    assert run.tell(Resumed()) == (first,)
    run.now_ms += 60_000
    assert run.tell(Resumed()) == (first,)
    (second,) = run.tell(Performed(frame=first.frame, output=1))
    assert second.idempotency_key == "42/do/0/l/for/1/do/0/c/1"


def test_a_task_that_is_begun_again_after_its_worker_ended_is_noted() -> None:
    run = Run(program(f"do: [{{f: {{fork: {{branches: [{{c: {CALLS}}}, {{w: {{wait: PT1H}}}}]}}}}}}]"))
    (first,) = run.tell()
    assert run.tell(Resumed()) == (first,)
    assert run.happened("task.restarted") == [], "it had not begun before"
    assert run.tell(Resumed(worker="host.worker.7")) == (first,)
    assert run.happened("task.restarted") == [("task.restarted", "c")]
    assert run.notes[-1].detail == {"worker": "host.worker.7"}
    rows: dict[str, TaskRow] = {}
    update_rows(rows, run.notes)
    assert {row.name: row.count for row in rows.values()} == {"f": 1, "c": 2, "w": 1}


def test_an_outcome_that_is_not_definite_keeps_the_key() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    (perform,) = run.tell()
    lost = WorkflowError("communication", detail="the connection broke")
    run.tell(Performed(frame=perform.frame, error=lost, definite=False))
    assert run.state.error == {
        "type": ERROR_TYPES + "communication",
        "status": 500,
        "title": "Communication failed",
        "detail": 'task "c": the connection broke',
        "instance": "/do/0/c",
    }


@pytest.mark.parametrize("by_task", [True, False])
def test_at_most_once_faults_instead_of_asking_again(
    by_task: bool,  # noqa: FBT001 - a parameter of the table, passed by name
) -> None:
    metadata = "{iogate: {atMostOnce: true}}" if by_task else "{}"
    once = frozenset() if by_task else frozenset({"f:1.0.0"})
    text = f"do: [{{c: {{call: 'f:1.0.0@default', metadata: {metadata}}}}}]"
    run = Run(program(text), environment=Environment(once=once))
    (perform,) = run.tell()
    assert perform.at_most_once
    assert run.tell(Resumed(worker="host-1")) == ()
    kinds = [(note.kind, note.reference, note.detail) for note in run.notes[2:3]]
    assert kinds == [("task.interrupted", "/do/0/c", {"worker": "host-1"})]
    assert run.happened("task.restarted") == []
    assert run.state.error is not None
    assert run.state.error["type"] == ERROR_TYPES + "runtime"
    assert run.state.error["detail"] == 'task "c": its outcome is unknown, and it must happen at most once'


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    run.tell()
    before = run.state
    run.tell(Performed(frame=99, output=1))
    assert run.state == before


def test_while_an_effect_is_under_way_the_run_is_running() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    run.tell()
    assert run.state.status == "running"
    assert run.state.in_flight
    assert run.state.waiting_for is None
    assert run.state.due_ms is None


@pytest.mark.parametrize("task", [CALLS, "{wait: PT1H}"])
def test_cancelling_ends_everything(task: str) -> None:
    run = Run(program(f"do: [{{o: {{do: [{{c: {task}}}]}}}}]"))
    run.tell()
    assert run.tell(Cancelled(reason="enough")) == ()
    assert run.state.status == "cancelled"
    assert run.state.frames == {}
    assert run.happened("task.cancelled") == [("task.cancelled", "c"), ("task.cancelled", "o")]
    assert dict(run.notes[-1].detail) == {"reason": "enough"}


def test_a_run_that_is_cancelled_before_it_begins_never_begins() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    assert run.tell(Cancelled()) == ()
    assert run.state.status == "cancelled"
    assert run.happened("workflow.started") == []


def test_the_deadline_of_a_run_faults_it() -> None:
    run = Run(program("do: [{w: {wait: PT1H}}]"))
    run.tell()
    run.tell(Expired(limit_s=90))
    assert run.state.status == "faulted"
    assert run.state.error == {
        "type": ERROR_TYPES + "timeout",
        "status": 408,
        "title": "Timed out",
        "detail": "the run took longer than the timeout of its API, 1m30s; it was at /do/0/w",
        "instance": "/",
    }


def test_an_ended_run_hears_nothing() -> None:
    run = Run(program("do: [{a: {set: '1'}}]"))
    run.tell()
    ended = run.state
    run.tell(Cancelled(), Expired(limit_s=1), Resumed(), Performed(frame=1))
    assert run.state is ended


def test_outputs_of_effects_flow_on() -> None:
    def answer(perform: Perform) -> Any:
        assert isinstance(perform.effect, CallHttp)
        return {"price": 7}

    call = f"{{{CALLS[1:-1]}, output: {{as: .price}}, export: {{as: '{{p: .}}'}}}}"
    text = f"do: [{{c: {call}}}, {{s: {{set: '[., $context.p]'}}}}]"
    assert output(text, {}, answer) == [7, 7]
