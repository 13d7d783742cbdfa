"""`run: workflow`: child workflows."""

from __future__ import annotations

from iogate.engine.commands import ChildEnded
from tests.engine.engine_runs import program
from tests.engine.listeners import Listener

CHILD = "{run: {workflow: {namespace: n, name: c, version: 1.0.0, input: {x: 1}}}}"


def test_a_child_is_requested_once_and_awaited() -> None:
    run = Listener(program(f"do: [{{r: {CHILD}}}]"), stores=True)
    (step,) = run.steps
    (start,) = step.children
    assert (start.frame, start.reference, start.name, start.input) == (run.frame, "/do/0/r", "c", {"x": 1})
    assert run.state.waiting_for is not None
    assert run.state.waiting_for.kind == "child"
    run.advance()
    assert not run.steps[-1].children
    run.advance(ChildEnded(frame=run.frame, number=1, status="completed", output={"y": 2}))
    assert run.state.output == {"y": 2}


def test_a_duplicate_end_of_a_child_counts_once() -> None:
    run = Listener(program(f"do: [{{r: {CHILD}}}, {{w: {{wait: PT1H}}}}]"))
    ended = ChildEnded(frame=run.frame, number=1, status="completed", output=1)
    run.advance(ended)
    before = run.state
    run.advance(ended)
    assert run.state == before


def test_a_cancelled_child_is_a_runtime_error() -> None:
    run = Listener(program(f"do: [{{r: {CHILD}}}]"))
    run.advance(ChildEnded(frame=run.frame, number=1, status="cancelled"))
    assert run.state.error is not None
    assert run.state.error["type"].endswith("/runtime")
    assert run.state.error["detail"].endswith("the workflow that it ran was cancelled")


def test_a_failed_start_needs_no_message_number() -> None:
    run = Listener(program(f"do: [{{r: {CHILD}}}]")).receive()
    error = {
        "type": "https://e.example/none",
        "status": 400,
        "title": "Unknown",
        "detail": "no such workflow",
    }
    run.advance(ChildEnded(frame=run.frame, number=0, status="faulted", error=error, started=False))
    assert run.state.error == {**error, "detail": 'task "r": no such workflow', "instance": "/do/0/r"}
    assert run.state.inbox_done == 0


def test_a_child_is_not_started_if_its_task_ends_in_the_same_step() -> None:
    run = Listener(
        program(
            f"do: [{{f: {{fork: {{compete: true, branches: [{{r: {CHILD}}}, {{s: {{set: {{n: 1}}}}}}]}}}}}}]"
        )
    )
    assert run.state.output == {"n": 1}
    assert run.started == []


def test_a_child_that_is_not_awaited_is_started_with_the_end_of_its_parent() -> None:
    run = Listener(
        program("do: [{r: {run: {await: false, workflow: {namespace: n, name: c, version: latest}}}}]")
    )
    (step,) = run.steps
    (start,) = step.children
    assert step.state.status == "completed"
    assert (start.awaits, start.version, start.input) == (False, "latest", {})
    assert start.frame not in step.state.frames


def test_a_slice_starts_at_most_a_hundred_children() -> None:
    run = Listener(
        program(
            f"do: [{{f: {{for: {{in: '${{ [range(250)] }}'}}, do: [{{r: {CHILD[:-1]}}}}}]}}}}]".replace(
                "{run: {workflow", "{run: {await: false, workflow"
            )
        ),
        budget=100_000,
    )
    assert [len(step.children) for step in run.steps] == [100, 100, 50]
    frames = [child.frame for step in run.steps for child in step.children]
    assert len(set(frames)) == 250
