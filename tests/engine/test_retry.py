"""A retried run continues where it faulted: completed tasks are not repeated, and no state is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from iogate.engine.advance import advance
from iogate.engine.commands import (
    Arrived,
    CallFunction,
    Cancelled,
    ChildEnded,
    Expired,
    Perform,
    Performed,
    Resumed,
)
from iogate.engine.retry import (
    enclosing_call,
    migrate,
    migrate_and_resume_from,
    restart_call,
    resume_faulted,
    resume_from,
)
from iogate.engine.state.run_state import State
from iogate.errors import Refused, WorkflowError
from tests.engine.engine_runs import NOW_MS, Run, program, stored

DOWN = WorkflowError("communication", status=503)


def call(more: str = "") -> str:
    return f"{{call: 'f:1.0.0@default', with: {{n: '${{ . }}'}}{more}}}"


def faulted(text: str, data: Any = None, *answers: Any) -> Run:
    """Return a run that received these results, of which the last faulted it."""
    run = Run(program(text), input=data, stores=True)
    waiting = list(run.advance())
    for answer in answers:
        perform = waiting.pop(0)
        waiting += run.advance(_performed(perform, answer))
    assert run.state.status == "faulted", run.state
    return run


def _performed(perform: Perform, answer: Any) -> Performed:
    if isinstance(answer, WorkflowError):
        return Performed(frame=perform.frame, error=answer, definite=answer is not LOST)
    return Performed(frame=perform.frame, output=answer)


LOST = WorkflowError("communication", status=500)
"""An error that is no definite answer."""


def revive(run: Run, state: State | None = None) -> list[Perform]:
    """Let the run continue in another worker an hour later; return the requested effects."""
    run.now_ms += 3_600_000
    run.state = stored(resume_faulted(run.program, run.state, run.now_ms) if state is None else state)
    run.performs.clear()
    return list(run.advance(Resumed()))


def finish(run: Run, waiting: Sequence[Perform], answer: Any = 0) -> Any:
    ahead = list(waiting)
    while not run.state.ended:
        if ahead:
            ahead += run.advance(_performed(ahead.pop(0), answer))
        else:
            assert run.state.due_ms is not None
            run.now_ms = max(run.now_ms, run.state.due_ms)
            ahead += run.advance()
    assert run.state.status == "completed", run.state.error
    return run.state.output


def test_the_faulted_task_is_repeated_and_earlier_ones_are_not() -> None:
    run = faulted(f"do: [{{a: {call()}}}, {{b: {call()}}}, {{c: {call()}}}]", 1, 10, DOWN)
    first = run.performs[-1]
    (b,) = revive(run)
    assert b.reference == "/do/1/b"
    assert b.effect == first.effect
    assert finish(run, [b], 20) == 20
    assert [perform.reference for perform in run.performs] == ["/do/1/b", "/do/2/c"]


@pytest.mark.parametrize("answer", [DOWN, LOST])
def test_the_task_gets_a_new_key_only_after_a_definite_result(answer: WorkflowError) -> None:
    run = faulted(f"do: [{{a: {call()}}}, {{b: {call()}}}]", 1, 10, answer)
    before = run.performs[-1].idempotency_key
    (b,) = revive(run)
    assert (b.idempotency_key == before) is (answer is LOST)


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (f"do: [{{l: {{for: {{in: '[1,2,3]'}}, do: [{{x: {call()}}}]}}}}]", [1, 2, DOWN]),
        (f"do: [{{d: {{do: [{{x: {call()}}}, {{y: {call()}}}]}}}}]", [1, DOWN]),
        (
            f"do: [{{t: {{try: [{{x: {call()}}}, {{y: {call()}}}],"
            " catch: {errors: {with: {status: 1}}}}}]",
            [1, DOWN],
        ),
        (
            f"do: [{{t: {{try: [{{r: {{raise: {{error: {{type: 'https://x', status: 1}}}}}}}}],"
            f" catch: {{do: [{{x: {call()}}}, {{y: {call()}}}]}}}}}}]",
            [1, DOWN],
        ),
        (f"use: {{functions: {{g: {call()}}}}}\ndo: [{{x: {call()}}}, {{y: {{call: g}}}}]", [1, DOWN]),
        (
            f"use: {{extensions: [{{e: {{extend: set, before: [{{x: {call()}}}, {{y: {call()}}}]}}}}]}}\n"
            "do: [{s: {set: '7'}}]",
            [1, DOWN],
        ),
        (
            f"use: {{extensions: [{{e: {{extend: set, after: [{{x: {call()}}}, {{y: {call()}}}]}}}}]}}\n"
            "do: [{s: {set: '7'}}]",
            [1, DOWN],
        ),
    ],
)
def test_a_run_continues_where_it_faulted(text: str, answers: list[Any]) -> None:
    whole = Run(program(text), input=0)
    expected = finish(whole, whole.advance(), 9)
    run = faulted(text, 0, *answers[:-1], answers[-1])
    done = [perform.reference for perform in run.performs[:-1]]
    output = finish(run, revive(run), 9)
    assert output == expected
    assert [*done, *(each.reference for each in run.performs)] == [each.reference for each in whole.performs]


def test_other_branches_continue_with_their_tasks() -> None:
    text = (
        f"do: [{{f: {{fork: {{branches: [{{a: {call()}}}, {{b: {call()}}}, {{w: {{wait: PT2H}}}},"
        f" {{d: {{set: '1'}}}}]}}}}}}]"
    )
    run = Run(program(text), input=5, stores=True)
    a, b = run.advance()
    run.advance(Performed(frame=a.frame, error=DOWN))
    assert run.state.status == "faulted"
    requested = revive(run)
    assert {each.reference: each.idempotency_key for each in requested} == {
        "/do/0/f/fork/branches/0/a": "42/do/0/f/fork/branches/0/a/1",
        "/do/0/f/fork/branches/1/b": b.idempotency_key,
    }
    assert finish(run, requested, 8) == [8, 8, 5, 1]
    assert run.now_ms == NOW_MS + 7_200_000, "the wait ends when it was to"


def test_one_retry_repeats_all_calls_under_way_that_must_happen_at_most_once() -> None:
    once = call(", metadata: {iogate: {atMostOnce: true}}")
    text = f"do: [{{f: {{fork: {{branches: [{{a: {call()}}}, {{b: {once}}}, {{c: {once}}}]}}}}}}]"
    run = Run(program(text), input=5, stores=True)
    a, b, c = run.advance()
    run.advance(Performed(frame=a.frame, error=DOWN))
    requested = revive(run)
    assert run.state.error is None
    assert {each.reference: each.idempotency_key for each in requested} == {
        "/do/0/f/fork/branches/0/a": "42/do/0/f/fork/branches/0/a/1",
        b.reference: b.idempotency_key,
        c.reference: c.idempotency_key,
    }
    run.advance(Resumed(worker="w"))
    assert run.state.status == "faulted", "after a crash they are not repeated"
    assert finish(run, revive(run), 8) == [8, 8, 8]


def test_a_failed_output_is_evaluated_again_without_repeating_the_task() -> None:
    text = f"do: [{{d: {{do: [{{x: {call()}}}], output: {{as: .n.x}}}}}}]"
    run = faulted(text, 1, {"n": 5})
    new = program(text.replace(".n.x", ".n"))
    state = migrate(run.program, new, run.state)
    run.program = new
    assert revive(run, resume_faulted(run.program, state, run.now_ms)) == []
    assert run.state.output == 5


def test_a_call_of_a_function_at_most_once_holds_for_its_calls() -> None:
    text = (
        f"use: {{functions: {{g: {{do: [{{x: {call()}}}, {{y: {call()}}}]}}}}}}\n"
        f"do: [{{f: {{fork: {{branches: [{{a: {call()}}},"
        " {b: {call: g, metadata: {iogate: {atMostOnce: true}}}}]}}}]"
    )
    run = Run(program(text), input=5, stores=True)
    a, x = run.advance()
    assert (a.at_most_once, x.at_most_once) == (False, True)
    run.advance(Performed(frame=a.frame, error=DOWN))
    requested = revive(run)
    assert run.state.status == "running", run.state.error
    assert {each.reference: each.at_most_once for each in requested} == {
        a.reference: False,
        x.reference: True,
    }
    run.advance(Resumed(worker="w"))
    assert (run.state.error or {})["detail"].endswith("it must happen at most once")
    requested = revive(run)
    assert x.idempotency_key in {each.idempotency_key for each in requested}
    assert finish(run, requested, 8) == [8, 8]


@pytest.mark.parametrize(
    ("task", "output"),
    [
        (f"{{a: {call(', then: end')}}}", ".n.x"),
        (f"{{d: {{do: [{{a: {call(', then: end')}}}]}}}}", ".n.x"),
        (
            f"{{f: {{fork: {{branches: [{{a: {call(', export: {as: .}, then: end')}}},"
            " {w: {wait: PT1H}}]}}}",
            "$context.n.x",
        ),
    ],
)
def test_a_failed_output_of_the_workflow_is_evaluated_again_after_an_end(task: str, output: str) -> None:
    text = f"output: {{as: {output}}}\ndo: [{task}, {{z: {call()}}}]"
    run = faulted(text, 1, {"n": 5})
    new = program(text.replace(".n.x", ".n"))
    state = migrate(run.program, new, run.state)
    run.program = new
    assert revive(run, resume_faulted(run.program, state, run.now_ms)) == []
    assert (run.state.status, run.state.output) == ("completed", 5)


@pytest.mark.parametrize(
    "task",
    [
        "emit: {event: {with: {type: a}}}",
        "run: {await: false, workflow: {namespace: a, name: b, version: '1.0.0'}}",
        "run: {await: false, shell: {command: 'true'}}",
    ],
)
@pytest.mark.parametrize("more", ["output: {as: '[.] | .x'}", "export: {as: '[.] | .x'}"])
def test_a_task_without_a_result_takes_effect_once_if_its_output_failed(task: str, more: str) -> None:
    failing, correct = program(f"do: [{{a: {{{task}, {more}}}}}]"), program(f"do: [{{a: {{{task}}}}}]")
    run = Run(failing, input=1)
    first = advance(failing, run.state, (), NOW_MS, run.facts)
    assert first.state.status == "faulted"
    assert (first.emits, first.children, first.performs) == ((), (), ())
    state = resume_faulted(correct, migrate(failing, correct, first.state), NOW_MS)
    second = advance(correct, state, (), NOW_MS, run.facts)
    assert second.state.status == "completed"
    assert len(second.emits) + len(second.children) + len(second.performs) == 1


def test_a_caught_fault_leaves_no_retry_state() -> None:
    run = Run(program(f"do: [{{t: {{try: [{{x: {call()}}}], catch: {{}}}}}}]"), input=1)
    (x,) = run.advance()
    run.advance(Performed(frame=x.frame, error=DOWN))
    assert run.state.status == "completed"
    assert run.state.frames == {}


def test_a_faulted_state_is_the_state_before_the_task() -> None:
    run = Run(program(f"do: [{{a: {call()}}}, {{b: {{set: .x.y}}}}]"), input=1)
    (a,) = run.advance()
    before = run.state
    run.advance(Performed(frame=a.frame, output={"x": 1}))
    assert run.state.status == "faulted"
    assert run.state.frames.keys() == before.frames.keys() - {a.frame}


def test_a_run_that_faulted_before_its_start_starts() -> None:
    text = "input: {from: .x.y}\ndo: [{a: {set: '1'}}]"
    run = Run(program(text), input={"x": 1})
    run.advance()
    assert run.state.status == "faulted"
    run.program = program(text.replace(".x.y", ".x"))
    assert revive(run) == []
    assert run.state.output == 1


def test_a_task_that_timed_out_gets_its_full_timeout_again() -> None:
    for text in (
        "do: [{w: {wait: PT10S, timeout: {after: PT5S}}}]",
        "do: [{d: {do: [{w: {wait: PT10S}}], timeout: {after: PT5S}}}]",
        "do: [{w: {wait: PT10S}}]\ntimeout: {after: PT5S}",
        "do: [{t: {try: [{w: {wait: PT10S}}], catch: {errors: {with: {status: 1}}, retry: {limit: {attempt:"
        " {count: 1, duration: PT5S}}}}}}]",
    ):
        run = Run(program(text), input=1)
        run.advance()
        run.now_ms += 5_000
        run.advance()
        assert (run.state.error or {})["status"] == 408, text
        revive(run)
        left_ms = (run.state.due_ms or 0) - run.now_ms
        # what times out as a whole has its wait still, which is long over
        assert run.state.status == "completed" or left_ms == 5_000, text


def test_the_deadline_of_an_outer_task_restarts() -> None:
    text = f"do: [{{d: {{do: [{{x: {call()}}}], timeout: {{after: PT5S}}}}}}]"
    run = faulted(text, 1, DOWN)
    (x,) = revive(run)
    assert x.deadline_ms == run.now_ms + 5_000
    run.advance(Performed(frame=x.frame, error=DOWN))
    (x,) = revive(run)
    assert x.deadline_ms == run.now_ms + 5_000


@pytest.mark.parametrize(
    "task",
    [
        "wait: PT10H",
        call()[1:-1],
        "listen: {to: {one: {with: {type: a}}}}",
        "try: [{r: {raise: {error: {type: 'https://x', status: 1}}}}], catch: {retry: {delay: PT10H}}",
        "do: [{w: {wait: PT10H}}]",
    ],
)
def test_a_timeout_has_the_same_length_after_each_retry(task: str) -> None:
    branches = f"[{{x: {call()}}}, {{w: {{{task}, timeout: {{after: PT5M}}}}}}]"
    run = Run(program(f"do: [{{f: {{fork: {{branches: {branches}}}}}}}]"), input=1, stores=True)
    (x, *_) = run.advance()
    for _ in range(3):
        run.advance(Performed(frame=x.frame, error=DOWN))
        (x,) = [each for each in revive(run) if each.reference.endswith("/x")]
        assert run.state.due_ms == run.now_ms + 300_000
    run.now_ms += 300_000
    run.advance()
    assert (run.state.error or {})["detail"] == 'task "w": it took longer than its timeout of 5m'


@pytest.mark.parametrize("timeout", ["", "timeout: {after: PT9H}, "])
def test_the_duration_of_the_attempts_of_a_try_starts_again(timeout: str) -> None:
    catch = "{retry: {delay: PT1S, limit: {duration: PT1M}}}"
    run = Run(program(f"do: [{{t: {{{timeout}try: [{{x: {call()}}}], catch: {catch}}}}}]"), stores=True)
    (x,) = run.advance()
    for _ in range(2):
        run.now_ms += 120_000
        run.advance(Performed(frame=x.frame, error=DOWN))
        assert run.state.status == "faulted"
        (x,) = revive(run)
    run.advance(Performed(frame=x.frame, error=DOWN))
    assert run.state.waiting_for is not None
    assert run.state.waiting_for.until_ms == run.now_ms + 1_000


def test_the_deadline_of_the_run_keeps_all_positions() -> None:
    run = Run(program(f"do: [{{a: {call()}}}, {{b: {call()}}}]"), input=1, stores=True)
    (a,) = run.advance()
    (b,) = run.advance(Performed(frame=a.frame, output=2))
    run.advance(Expired(limit_s=60))
    assert run.state.status == "faulted"
    (requested,) = revive(run)
    assert (requested.reference, requested.idempotency_key) == (b.reference, b.idempotency_key)


def test_a_listener_subscribes_again_and_keeps_its_events() -> None:
    text = (
        "do: [{f: {fork: {branches: [{l: {listen: {to: {all: [{with: {type: a}}, {with: {type: b}}]}}}},"
        f" {{x: {call()}}}]}}}}}}]"
    )
    run = Run(program(text), input=1, stores=True)
    (x,) = run.advance()
    (frame,) = [each.id for each in run.state.frames.values() if each.wants]
    run.advance(Arrived(frame=frame, number=1, event={"type": "a", "data": 1}))
    wants = run.state.frames[frame].wants
    run.advance(Performed(frame=x.frame, error=DOWN))
    resumed = resume_faulted(run.program, run.state, run.now_ms)
    assert resumed.frames[frame].wants is None
    (x,) = revive(run)
    assert run.state.frames[frame].wants == wants
    run.advance(Arrived(frame=frame, number=2, event={"type": "b", "data": 2}))
    run.advance(Performed(frame=x.frame, output=3))
    assert run.state.output == [[1, 2], 3]


def test_a_task_that_awaited_a_child_starts_another() -> None:
    text = (
        "do: [{f: {fork: {branches: [{c: {run: {workflow: {namespace: a, name: b, version: '1.0.0'}}}},"
        f" {{x: {call()}}}]}}}}}}]"
    )
    run = Run(program(text), input=1)
    (x,) = run.advance()
    run.advance(Performed(frame=x.frame, error=DOWN))
    (x,) = revive(run)
    (child,) = [each.id for each in run.state.frames.values() if each.phase == "child"]
    run.advance(ChildEnded(frame=child, number=0, status="completed", output=7))
    run.advance(Performed(frame=x.frame, output=3))
    assert run.state.output == [7, 3]


@pytest.mark.parametrize("happening", [None, Cancelled()])
def test_only_a_faulted_run_is_revived(happening: Any) -> None:
    run = Run(program("do: [{w: {wait: PT1H}}]"))
    run.advance(*([happening] if happening else []))
    with pytest.raises(Refused, match="only a faulted run can be retried"):
        resume_faulted(run.program, run.state, NOW_MS)


# from an earlier task

STEPS = f"do: [{{a: {call()}}}, {{d: {{do: [{{b: {call()}}}, {{c: {call()}}}]}}}}, {{z: {call()}}}]"


@pytest.mark.parametrize(
    ("pointer", "given", "is_original_input"),
    [
        ("/do/1/d/do/1/c", 20, True),
        ("/do/1/d/do/0/b", 10, True),
        ("/do/1/d", 10, True),
        ("/do/0/a", 7, True),
    ],
)
def test_a_run_continues_from_an_earlier_task(pointer: str, given: int, is_original_input: bool) -> None:  # noqa: FBT001 - a column
    run = faulted(STEPS, 7, 10, 20, DOWN)
    resumed = resume_from(run.program, run.state, pointer, run.now_ms, 7)
    assert resumed.is_original_input is is_original_input
    (requested,) = revive(run, resumed.state)
    assert pointer in requested.reference
    assert requested.effect.arguments == {"n": given}  # type: ignore[union-attr] # it is a call of a function
    assert finish(run, [requested], 5) == 5


def test_the_first_task_gets_the_transformed_input_of_the_workflow() -> None:
    run = faulted(f"input: {{from: .n}}\ndo: [{{a: {call()}}}, {{z: {call()}}}]", {"n": 7}, 10, DOWN)
    resumed = resume_from(run.program, run.state, "/do/0/a", run.now_ms, {"n": 7})
    assert not resumed.is_original_input
    (requested,) = revive(run, resumed.state)
    assert requested.effect.arguments == {"n": 10}  # type: ignore[union-attr] # it is a call of a function


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/do/9/nothing", "test/sample:1.0.0 has no task /do/9/nothing"),
        ("/do/2/z", 'the run has not reached task "z": in /do it is at /do/1/d'),
    ],
)
def test_invalid_retries_are_refused_with_a_reason(pointer: str, expected: str) -> None:
    run = faulted(STEPS, 1, 10, 20, DOWN)
    with pytest.raises(Refused) as refused:
        resume_from(run.program, run.state, pointer, run.now_ms, 1)
    assert refused.value.message == expected


def test_a_task_of_a_list_that_was_not_entered_cannot_be_the_first() -> None:
    run = faulted(f"do: [{{d: {{do: [{{b: {call()}}}]}}}}, {{z: {call()}}}]", 1, 10, DOWN)
    with pytest.raises(Refused) as refused:
        resume_from(run.program, run.state, "/do/0/d/do/0/b", run.now_ms, 1)
    assert refused.value.message == "the run was not in /do/0/d/do when it faulted"
    assert refused.value.hint == "name a task of a list that it was in: /do"


def test_a_branch_continues_from_its_task_and_leaves_the_others() -> None:
    inner = f"{{do: [{{x: {call()}}}, {{y: {call()}}}]}}"
    text = f"do: [{{f: {{fork: {{branches: [{{a: {inner}}}, {{b: {call()}}}]}}}}}}]"
    run = Run(program(text), input=1, stores=True)
    x, b = run.advance()
    (y,) = run.advance(Performed(frame=x.frame, output=2))
    run.advance(Performed(frame=y.frame, error=DOWN))
    resumed = resume_from(run.program, run.state, "/do/0/f/fork/branches/0/a/do/0/x", run.now_ms, 1)
    requested = revive(run, resumed.state)
    assert sorted(each.reference for each in requested) == [x.reference, b.reference]


# with another definition


def test_another_definition_is_matched_by_the_names_of_tasks() -> None:
    run = faulted(STEPS, 1, 10, 20, DOWN)
    new = program(
        f"do: [{{first: {{set: '1'}}}}, {{a: {call()}}}, {{d: {{do: [{{b: {call()}}}, {{new: {{set: '2'}}}},"
        f" {{c: {call()}}}]}}}}, {{z: {{set: '. + 1'}}}}]"
    )
    state = migrate(run.program, new, run.state)
    run.program = new
    (c,) = revive(run, resume_faulted(run.program, state, run.now_ms))
    assert c.reference == "/do/2/d/do/2/c"
    assert finish(run, [c], 5) == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"do: [{{a: {call()}}}]", 'it has no task "d" in /do'),
        (f"do: [{{a: {call()}}}, {{d: {{do: [{{b: {call()}}}]}}}}]", 'it has no task "c" in /do/1/d/do'),
        (f"do: [{{a: {call()}}}, {{d: {call()}}}]", 'task "d" (/do/1/d) is of another kind'),
    ],
)
def test_an_incompatible_definition_is_refused_with_the_name_of_the_task(text: str, expected: str) -> None:
    run = faulted(STEPS, 1, 10, 20, DOWN)
    with pytest.raises(Refused) as refused:
        migrate(run.program, program(text), run.state)
    assert refused.value.message.startswith("the run does not fit test/sample:1.0.0: ")
    assert expected in refused.value.message


@pytest.mark.parametrize(
    ("text", "pointer", "left"),
    [
        (f"do: [{{a: {call()}}}]", "/do/0/a", []),
        (f"do: [{{n: {{set: '1'}}}}, {{a: {call()}}}, {{d: {call()}}}]", "/do/1/a", ["/do/2/d"]),
        (f"do: [{{a: {call()}}}, {{d: {{do: [{{b: {call()}}}, {{z: {call()}}}]}}}}]", "/do/1/d/do/0/b", None),
    ],
)
def test_later_tasks_may_be_absent_from_the_other_definition(
    text: str, pointer: str, left: list[str] | None
) -> None:
    run = faulted(STEPS, 1, 10, 20, DOWN)
    new = program(text)
    with pytest.raises(Refused):
        migrate(run.program, new, run.state)
    resumed = migrate_and_resume_from(run.program, new, run.state, pointer, run.now_ms, 1)
    run.program = new
    (first,) = revive(run, resumed.state)
    assert first.reference == pointer
    finish(run, [first], 5)
    after = [each.reference for each in run.performs[1:]]
    assert after == (["/do/1/d/do/1/z"] if left is None else left)


def test_earlier_tasks_must_be_in_the_other_definition() -> None:
    run = faulted(STEPS, 1, 10, 20, DOWN)
    elsewhere = f"do: [{{a: {call()}}}, {{e: {{do: [{{b: {call()}}}]}}}}]"
    for text, pointer in ((elsewhere, "/do/1/e/do/0/b"), (elsewhere, "/do/1/e")):
        with pytest.raises(Refused, match=r"^the run does not fit test/sample:1.0.0: it has no task \"d\""):
            migrate_and_resume_from(run.program, program(text), run.state, pointer, run.now_ms, 1)


def given(perform: Perform) -> Any:
    assert isinstance(perform.effect, CallFunction)
    return perform.effect.arguments["n"]


TWO_STEPS = f"{{do: [{{s: {{set: '${{ . }}'}}}}, {{x: {call()}}}]}}"


@pytest.mark.parametrize("function", [call(), f"{{do: [{{x: {call()}}}]}}"])
def test_an_unstarted_function_gets_the_arguments_of_the_other_definition(
    function: str,
) -> None:
    text = f"use: {{functions: {{g: {function}}}}}\ndo: [{{a: {call()}}}, {{y: {{call: g, with: {{n: 1}}}}}}]"
    run = faulted(text, 0, 5, DOWN)
    before = run.performs[-1]
    new = program(text.replace("n: 1", "n: 2").replace("{x:", "{z:"))
    state = migrate(run.program, new, restart_call(run.program, run.state))
    assert enclosing_call(new, state) is None
    run.program = new
    (requested,) = revive(run, resume_faulted(run.program, state, run.now_ms))
    assert [given(each) for each in (before, requested)] == [{"n": 1}, {"n": 2}]
    assert requested.idempotency_key != before.idempotency_key, "the answer was a definite one"
    assert finish(run, [requested], 7) == 7


def test_a_started_function_keeps_its_arguments() -> None:
    text = f"use: {{functions: {{g: {TWO_STEPS}}}}}\ndo: [{{y: {{call: g, with: {{n: 1}}}}}}]"
    run = faulted(text, 0, DOWN)
    new = program(text.replace("n: 1", "n: 2"))
    assert restart_call(run.program, run.state) is run.state
    state = migrate(run.program, new, run.state)
    assert enclosing_call(new, state) == "/do/0/y"
    run.program = new
    (requested,) = revive(run, resume_faulted(run.program, state, run.now_ms))
    assert given(requested) == {"n": 1}


def test_an_earlier_task_reuses_no_key_with_a_definite_result() -> None:
    """Results in a branch count for the tasks after it."""
    branch = f"{{b: {{do: [{{x: {call()}}}, {{z: {call()}}}]}}}}"
    run = faulted(f"do: [{{f: {{fork: {{branches: [{branch}]}}}}}}]", 0, 1, DOWN)
    known = {perform.idempotency_key for perform in run.performs}
    resumed = resume_from(run.program, run.state, "/do/0/f", run.now_ms, 0)
    (requested,) = revive(run, resumed.state)
    assert requested.reference == "/do/0/f/fork/branches/0/b/do/0/x"
    assert requested.idempotency_key not in known


def test_branches_and_extensions_are_carried_over() -> None:
    use = "use: {extensions: [{e: {extend: set, before: [{x: CALL}]}}]}\n".replace("CALL", call())
    text = use + "do: [{f: {fork: {branches: [{a: {set: '1'}}, {b: {set: '2'}}]}}}]"
    run = Run(program(text), input=1, stores=True)
    first, _ = run.advance()
    run.advance(Performed(frame=first.frame, error=DOWN))
    other = text.replace("{e:", "{other: {extend: wait}}, {e:").replace("do: [", "do: [{n: {wait: PT1S}}, ")
    new = program(other)
    state = migrate(run.program, new, run.state)
    run.program = new
    requested = revive(run, resume_faulted(run.program, state, run.now_ms))
    assert sorted(each.reference for each in requested) == [
        "/do/1/f/fork/branches/0/a/use/extensions/1/e/before/0/x",
        "/do/1/f/fork/branches/1/b/use/extensions/1/e/before/0/x",
    ]
    assert finish(run, requested) == [1, 2]
    with pytest.raises(Refused, match=r'the branches of "f" \(/do/0/f\) differ'):
        migrate(program(text), program(text.replace("{b:", "{c:")), faulted_fork(text))


AFTER_A = (
    "use: {extensions: [{e: {extend: set, when: '$task.name == \"a\"', after: [{x: CALL}]}}]}\n".replace(
        "CALL", call()
    )
)
JUMP = AFTER_A + "do: [{a: {set: '1', then: c}}, {b: {set: '2'}}, {c: {set: '[., 3]'}}]"


def test_an_extension_after_a_task_leads_to_the_same_task_in_another_definition() -> None:
    run = faulted(JUMP, 0, DOWN)
    new = program(JUMP.replace("do: [", "do: [{z: {set: '9'}}, "))
    state = migrate(run.program, new, run.state)
    run.program = new
    assert finish(run, revive(run, resume_faulted(run.program, state, run.now_ms))) == [1, 3]


def test_another_definition_without_the_target_of_an_extended_task_is_refused() -> None:
    run = faulted(JUMP, 0, DOWN)
    new = program(AFTER_A + "do: [{a: {set: '1'}}, {b: {set: '2'}}]")
    with pytest.raises(Refused, match='it has no task "c" in /do'):
        migrate(run.program, new, run.state)


def faulted_fork(text: str) -> State:
    run = Run(program(text), input=1)
    first, _ = run.advance()
    run.advance(Performed(frame=first.frame, error=DOWN))
    return run.state
