"""Workflows that a workflow runs."""

from __future__ import annotations

from iogate.engine.commands import ChildEnded
from tests.engine.engine_runs import program
from tests.engine.listeners import Told

CHILD = "{run: {workflow: {namespace: n, name: c, version: 1.0.0, input: {x: 1}}}}"


def test_a_child_is_asked_for_once_and_waited_for() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}]"), stores=True)
    (step,) = run.steps
    (start,) = step.children
    assert (start.frame, start.reference, start.name, start.input) == (run.frame, "/do/0/r", "c", {"x": 1})
    assert run.state.waiting_for is not None
    assert run.state.waiting_for.kind == "child"
    run.tell()
    assert not run.steps[-1].children
    run.tell(ChildEnded(frame=run.frame, number=1, status="completed", output={"y": 2}))
    assert run.state.output == {"y": 2}


def test_the_end_of_a_child_that_comes_twice_counts_once() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}, {{w: {{wait: PT1H}}}}]"))
    ended = ChildEnded(frame=run.frame, number=1, status="completed", output=1)
    run.tell(ended)
    before = run.state
    run.tell(ended)
    assert run.state == before


def test_a_cancelled_child_is_a_runtime_error() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}]"))
    run.tell(ChildEnded(frame=run.frame, number=1, status="cancelled"))
    assert run.state.error is not None
    assert run.state.error["type"].endswith("/runtime")
    assert run.state.error["detail"].endswith("the workflow that it ran was cancelled")


def test_what_could_not_be_started_needs_no_number() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}]")).hear()
    error = {
        "type": "https://e.example/none",
        "status": 400,
        "title": "Unknown",
        "detail": "no such workflow",
    }
    run.tell(ChildEnded(frame=run.frame, number=0, status="faulted", error=error, started=False))
    assert run.state.error == {**error, "detail": 'task "r": no such workflow', "instance": "/do/0/r"}
    assert run.state.inbox_done == 0


def test_a_child_whose_task_went_away_in_the_same_step_is_not_started() -> None:
    run = Told(
        program(
            f"do: [{{f: {{fork: {{compete: true, branches: [{{r: {CHILD}}}, {{s: {{set: {{n: 1}}}}}}]}}}}}}]"
        )
    )
    assert run.state.output == {"n": 1}
    assert run.started == []


def test_a_child_that_is_not_awaited_is_started_though_the_run_ends() -> None:
    run = Told(
        program("do: [{r: {run: {await: false, workflow: {namespace: n, name: c, version: latest}}}}]")
    )
    (step,) = run.steps
    (start,) = step.children
    assert step.state.status == "completed"
    assert (start.awaits, start.version, start.input) == (False, "latest", {})
    assert start.frame not in step.state.frames


def test_a_slice_holds_a_hundred_children_at_most() -> None:
    run = Told(
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
