"""Results of effects: stable keys, lost results, cancellation and ends."""

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


def test_keys_contain_each_iteration_and_count_results() -> None:
    inner = f"{{m: {{for: {{in: '[1]'}}, do: [{{c: {CALLS}}}]}}}}"
    text = f"do: [{{l: {{for: {{in: '[1,2]'}}, do: [{inner}]}}}}, {{z: {CALLS}}}]"
    run = Run(program(text))
    run.finish(lambda _: {})
    assert [(each.reference, each.idempotency_key) for each in run.performs] == [
        ("/do/0/l/for/0/do/0/m/for/0/do/0/c", "42/do/0/l/for/0/do/0/m/for/0/do/0/c/0"),
        ("/do/0/l/for/1/do/0/m/for/0/do/0/c", "42/do/0/l/for/1/do/0/m/for/0/do/0/c/1"),
        ("/do/1/z", "42/do/1/z/2"),
    ]


def test_a_repeated_task_has_another_key() -> None:
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
def test_results_that_fail_a_branch_are_counted(inner: str) -> None:
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


def test_after_a_crash_the_identical_effect_is_requested_again() -> None:
    call = "{call: http, with: {method: post, endpoint: 'https://h/${ now }', body: {i: '${ $item }'}}}"
    run = Run(program(f"do: [{{l: {{for: {{in: '[1,2]'}}, do: [{{c: {call}}}]}}}}]"))
    (first,) = run.advance()
    run.state = stored(run.state)
    run.now_ms += 60_000
    assert run.advance(Resumed()) == (first,)
    run.now_ms += 60_000
    assert run.advance(Resumed()) == (first,)
    (second,) = run.advance(Performed(frame=first.frame, output=1))
    assert second.idempotency_key == "42/do/0/l/for/1/do/0/c/1"


def test_a_task_restarted_after_a_crash_is_noted() -> None:
    run = Run(program(f"do: [{{f: {{fork: {{branches: [{{c: {CALLS}}}, {{w: {{wait: PT1H}}}}]}}}}}}]"))
    (first,) = run.advance()
    assert run.advance(Resumed()) == (first,)
    assert run.happened("task.restarted") == [], "it had not begun before"
    assert run.advance(Resumed(worker="host.worker.7")) == (first,)
    assert run.happened("task.restarted") == [("task.restarted", "c")]
    assert run.notes[-1].detail == {"worker": "host.worker.7"}
    rows: dict[str, TaskRow] = {}
    update_rows(rows, run.notes)
    assert {row.name: row.count for row in rows.values()} == {"f": 1, "c": 2, "w": 1}


def test_an_indefinite_result_keeps_the_key() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    (perform,) = run.advance()
    lost = WorkflowError("communication", detail="the connection broke")
    run.advance(Performed(frame=perform.frame, error=lost, definite=False))
    assert run.state.error == {
        "type": ERROR_TYPES + "communication",
        "status": 500,
        "title": "Communication failed",
        "detail": 'task "c": the connection broke',
        "instance": "/do/0/c",
    }


@pytest.mark.parametrize("by_task", [True, False])
def test_at_most_once_faults_instead_of_repeating(
    by_task: bool,  # noqa: FBT001 - a parameter of the table, passed by name
) -> None:
    metadata = "{iogate: {atMostOnce: true}}" if by_task else "{}"
    once = frozenset() if by_task else frozenset({"f:1.0.0"})
    text = f"do: [{{c: {{call: 'f:1.0.0@default', metadata: {metadata}}}}}]"
    run = Run(program(text), environment=Environment(once=once))
    (perform,) = run.advance()
    assert perform.at_most_once
    assert run.advance(Resumed(worker="host-1")) == ()
    kinds = [(note.kind, note.reference, note.detail) for note in run.notes[2:3]]
    assert kinds == [("task.interrupted", "/do/0/c", {"worker": "host-1"})]
    assert run.happened("task.restarted") == []
    assert run.state.error is not None
    assert run.state.error["type"] == ERROR_TYPES + "runtime"
    assert run.state.error["detail"] == 'task "c": its outcome is unknown, and it must happen at most once'


def test_an_unexpected_result_changes_nothing() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    run.advance()
    before = run.state
    run.advance(Performed(frame=99, output=1))
    assert run.state == before


def test_a_run_with_an_effect_under_way_is_running() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    run.advance()
    assert run.state.status == "running"
    assert run.state.in_flight
    assert run.state.waiting_for is None
    assert run.state.due_ms is None


@pytest.mark.parametrize("task", [CALLS, "{wait: PT1H}"])
def test_cancelling_ends_everything(task: str) -> None:
    run = Run(program(f"do: [{{o: {{do: [{{c: {task}}}]}}}}]"))
    run.advance()
    assert run.advance(Cancelled(reason="enough")) == ()
    assert run.state.status == "cancelled"
    assert run.state.frames == {}
    assert run.happened("task.cancelled") == [("task.cancelled", "c"), ("task.cancelled", "o")]
    assert dict(run.notes[-1].detail) == {"reason": "enough"}


def test_a_run_that_is_cancelled_before_its_start_never_starts() -> None:
    run = Run(program(f"do: [{{c: {CALLS}}}]"))
    assert run.advance(Cancelled()) == ()
    assert run.state.status == "cancelled"
    assert run.happened("workflow.started") == []


def test_the_deadline_of_a_run_faults_it() -> None:
    run = Run(program("do: [{w: {wait: PT1H}}]"))
    run.advance()
    run.advance(Expired(limit_s=90))
    assert run.state.status == "faulted"
    assert run.state.error == {
        "type": ERROR_TYPES + "timeout",
        "status": 408,
        "title": "Timed out",
        "detail": "the run took longer than the timeout of its API, 1m30s; it was at /do/0/w",
        "instance": "/",
    }


def test_an_ended_run_ignores_messages() -> None:
    run = Run(program("do: [{a: {set: '1'}}]"))
    run.advance()
    ended = run.state
    run.advance(Cancelled(), Expired(limit_s=1), Resumed(), Performed(frame=1))
    assert run.state is ended


def test_outputs_of_effects_are_inputs_of_the_next_task() -> None:
    def answer(perform: Perform) -> Any:
        assert isinstance(perform.effect, CallHttp)
        return {"price": 7}

    call = f"{{{CALLS[1:-1]}, output: {{as: .price}}, export: {{as: '{{p: .}}'}}}}"
    text = f"do: [{{c: {call}}}, {{s: {{set: '[., $context.p]'}}}}]"
    assert output(text, {}, answer) == [7, 7]
