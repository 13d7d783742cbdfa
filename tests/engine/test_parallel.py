"""Parallel loops: iterations side by side, outputs in order, bounded state, errors that end or stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iogate.compiler.program import load
from iogate.engine.advance import RunFacts, advance
from iogate.engine.commands import Cancelled, ChildEnded, Expired, Perform, Performed, Resumed
from iogate.engine.retry import migrate, resume_faulted, resume_from
from iogate.engine.state.run_state import State
from iogate.engine.tasks.for_parallel import PAGE
from iogate.errors import Refused, WorkflowError
from iogate.store.state_codec import Codec
from tests.engine.engine_runs import HEADER, NOW_MS, Run, error, no_effects, output, program, stored
from tests.examples import examples
from tests.stored_run import StoredRun

CALL = "{call: {call: 'f:1.0.0@default', with: {k: '${ $k }'}}}"


def loop(*tasks: str, items: str = "[range(5)]", parallel: int = 2, more: str = "", rest: str = "") -> str:
    """Return a workflow with one parallel loop; `more` are members of its task, `rest` further tasks."""
    metadata = "" if "metadata" in more else f", metadata: {{iogate: {{parallel: {parallel}}}}}"
    return f"do: [{{m: {{for: {{in: '{items}', each: k}}{metadata}{more}, do: [{', '.join(tasks)}]}}}}{rest}]"


def tolerant(*tasks: str, **options: Any) -> str:
    return loop(*tasks, more=", metadata: {iogate: {parallel: 2, on_error: continue}}", **options)


def doubled(perform: Perform) -> Any:
    return getattr(perform.effect, "arguments", {})["k"] * 2


def failing_at(*items: int) -> Any:
    def answer(perform: Perform) -> Any:
        k = getattr(perform.effect, "arguments", {})["k"]
        if k in items:
            raise WorkflowError("communication", status=503, detail=f"no {k}", response={"body": "secret"})
        return k

    return answer


def test_iterations_run_side_by_side_and_their_outputs_keep_the_order() -> None:
    run = Run(program(loop(CALL, parallel=3)), stores=True)
    first = run.advance()
    assert [perform.reference for perform in first] == [f"/do/0/m/for/{n}/do/0/call" for n in range(3)]
    assert run.advance(Performed(frame=first[2].frame, output="c"))[0].reference == "/do/0/m/for/3/do/0/call"
    assert run.finish(lambda perform: perform.reference[len("/do/0/m/for/") :][0]).output == [
        "0",
        "1",
        "c",
        "3",
        "4",
    ]


def test_each_iteration_gets_the_input_of_the_task() -> None:
    assert output(loop("{s: {set: '[., $k, $index]'}}"), "in") == [["in", k, k] for k in range(5)]


@pytest.mark.parametrize("parallel", [1, 2, 1000])
def test_no_items_give_an_empty_list(parallel: int) -> None:
    assert output(loop("{s: {set: '1'}}", items="[]", parallel=parallel)) == []


def test_the_output_of_the_task_is_made_from_the_list() -> None:
    assert output(loop("{s: {set: '$k'}}", more=", output: {as: add}")) == 10


def test_an_export_is_seen_by_its_iteration_only() -> None:
    text = loop(
        "{e: {set: '$context', export: {as: '{k: $k, was: .}'}}}",
        "{s: {set: '$context'}}",
        rest=", {z: {set: '[., $context]'}}",
    ).replace("do: [{m:", "do: [{x: {set: '1', export: {as: '\"before\"'}}}, {m:", 1)
    assert output(text) == [[{"k": k, "was": "before"} for k in range(5)], "before"]


def test_while_is_evaluated_before_an_iteration_starts_and_ends_the_loop() -> None:
    run = Run(program(loop(CALL, items="[range(9)]", more=", while: '$k < 3'")), stores=True)
    assert run.finish(doubled).output == [0, 2, 4]
    assert output(loop("{s: {set: '$k'}}", more=", while: '$k > 0'")) == []
    assert error(loop("{s: {set: '$k'}}", more=", while: '$k | error(\"x\")'"))["instance"] == "/do/0/m"


def test_an_error_in_while_cancels_running_iterations() -> None:
    text = loop(CALL, more=", while: 'if $k == 2 then error(\"x\") else true end'")
    run = Run(program(text), stores=True)
    state = run.finish(doubled)
    assert state.error is not None
    assert "iteration 2" in state.error["detail"]
    assert ("task.cancelled", "call") in run.happened("task.cancelled")


def test_the_first_error_cancels_the_others_and_fails_the_task() -> None:
    run = Run(program(loop(CALL, parallel=3)), stores=True)
    state = run.finish(failing_at(1))
    assert state.error is not None
    assert (state.error["status"], state.error["instance"]) == (503, "/do/0/m/for/do/0/call")
    assert 'task "call" (iteration 1)' in state.error["detail"]
    cancelled = [each for each in run.notes if each.kind == "task.cancelled"]
    assert [each.detail["iteration"] for each in cancelled] == [
        "/do/0/m/for/3/do/0/call",
        "/do/0/m/for/2/do/0/call",
    ]


def test_a_try_around_the_loop_catches_the_error() -> None:
    inner = loop(CALL).removeprefix("do: ")
    text = f"do: [{{t: {{try: {inner}, catch: {{do: [{{h: {{set: $error.status}}}}]}}}}}}]"
    assert output(text, answer=failing_at(3)) == 503


def test_a_retry_around_the_loop_sends_new_keys() -> None:
    inner = loop(CALL, items="[0, 1]").removeprefix("do: ")
    text = f"do: [{{t: {{try: {inner}, catch: {{retry: {{limit: {{attempt: {{count: 1}}}}}}}}}}}}]"
    run = Run(program(text), stores=True)
    run.finish(failing_at(1))
    assert len(run.performs) == len({each.idempotency_key for each in run.performs}) == 4


def test_with_continue_an_error_takes_the_place_of_the_output() -> None:
    run = Run(program(tolerant(CALL)), stores=True)
    state = run.finish(failing_at(1, 4))
    assert state.output[0::2] == [0, 2, {"error": state.output[4]["error"]}]
    assert state.output[1] == {
        "error": {
            "type": "https://open-workflow-specification.org/spec/1.0.0/errors/communication",
            "status": 503,
            "title": state.output[1]["error"]["title"],
            "detail": 'task "call" (iteration 1): no 1',
            "instance": "/do/0/m/for/do/0/call",
        }
    }
    assert state.output[3] == 3


def test_with_continue_a_timeout_and_an_expression_are_errors_of_their_iteration() -> None:
    text = tolerant(
        "{w: {wait: '${ {seconds: (5 - $k)} }', timeout: {after: 'PT3.5S'}}}",
        "{s: {set: 'if $k == 4 then error(\"x\") else $k end'}}",
    )
    outputs = output(text)
    assert [each if isinstance(each, int) else each["error"]["status"] for each in outputs] == [
        408,
        408,
        2,
        3,
        400,
    ]


def test_the_error_of_output_as_is_the_tasks_own() -> None:
    assert (
        error(tolerant("{s: {set: '$k'}}").replace(", do:", ", output: {as: 'error(\"x\")'}, do:", 1))[
            "instance"
        ]
        == "/do/0/m"
    )


def test_a_timeout_of_the_task_ends_all_iterations() -> None:
    run = Run(program(tolerant("{w: {wait: PT1H}}").replace(", do:", ", timeout: {after: PT5S}, do:", 1)))
    state = run.finish(no_effects)
    assert state.error is not None
    assert (state.error["status"], state.error["instance"]) == (408, "/do/0/m")
    assert len(run.happened("task.cancelled")) == 2


@pytest.mark.parametrize("event", [Cancelled(), Expired(limit_s=1)])
def test_cancelling_and_the_timeout_of_the_run_end_all_iterations(event: Any) -> None:
    run = Run(program(tolerant(CALL)), stores=True)
    run.advance()
    run.advance(event)
    assert run.state.ended
    assert [name for _, name in run.happened("task.cancelled")] == ["call", "call", "m"]


def test_exit_ends_an_iteration_and_end_the_run() -> None:
    text = loop("{a: {switch: [{x: {when: '$k == 1', then: exit}}]}}", "{b: {set: '\"b\"'}}")
    assert output(text, "in") == ["b", "in", "b", "b", "b"]
    assert output(loop("{a: {set: '$k', then: end}}", rest=", {z: {set: '9'}}")) == 0


def test_loops_in_loops_children_and_waits() -> None:
    inner = (
        "{n: {for: {in: '[range($k)]', each: j}, metadata: {iogate: {parallel: 2}},"
        " do: [{w: {wait: {milliseconds: 5}}}, {s: {set: '[$k, $j]'}}]}}"
    )
    assert output(loop(inner, items="[2, 0, 3]")) == [[[2, 0], [2, 1]], [], [[3, 0], [3, 1], [3, 2]]]
    child = "{c: {run: {workflow: {namespace: a, name: b, version: 1.0.0, input: {k: '${ $k }'}}}}}"
    run = Run(program(loop(child, items="[0, 1, 2]", parallel=2)), stores=True)
    result = advance(run.program, run.state, (), NOW_MS, run.facts)
    assert [each.reference for each in result.children] == [f"/do/0/m/for/{n}/do/0/c" for n in range(2)]
    run.state = result.state
    for number, answer in ((1, "b"), (0, "a")):
        run.advance(
            ChildEnded(frame=result.children[number].frame, number=0, status="completed", output=answer)
        )
    (last,) = [frame.id for frame in run.state.frames.values() if frame.phase == "child"]
    run.advance(ChildEnded(frame=last, number=0, status="completed", output="c"))
    assert run.state.output == ["a", "b", "c"]


def test_keys_do_not_depend_on_the_order_of_results_and_continue_after_the_loop() -> None:
    keys = []
    for order in (0, -1):
        run = Run(program(loop(CALL, parallel=3, rest=", {z: {call: 'f:1.0.0@default', with: {k: 1}}}")))
        waiting = list(run.advance())
        while waiting:
            perform = waiting.pop(order)
            waiting += run.advance(Performed(frame=perform.frame, output=1))
        assert run.performs[-1].idempotency_key == "42/do/1/z/1"
        keys.append({each.idempotency_key for each in run.performs})
    assert keys[0] == keys[1]
    assert len(keys[0]) == 6


# crashes and retries


def test_a_crash_repeats_only_the_iterations_in_flight() -> None:
    run = Run(program(loop(CALL, items="[range(20)]", parallel=4)), stores=True)
    waiting = list(run.advance())
    for _ in range(10):
        waiting += run.advance(Performed(frame=waiting.pop(1).frame, output="x"))
    repeated = run.advance(Resumed(worker="w"))
    assert {each.idempotency_key for each in repeated} == {each.idempotency_key for each in waiting}
    assert len(repeated) == 4
    noted = [each.detail["iteration"] for each in run.notes if each.kind == "task.restarted"]
    assert sorted(noted) == sorted(each.reference for each in repeated)


def test_a_retry_repeats_the_failed_iteration_and_continues_the_others() -> None:
    run = Run(program(loop(CALL, items="[range(6)]", parallel=3)), stores=True)
    run.finish(failing_at(1))
    done = {each.reference for each in run.performs} - {"/do/0/m/for/1/do/0/call"}
    run.state = stored(resume_faulted(run.program, stored(run.state), run.now_ms))
    run.performs.clear()
    run.advance(Resumed())
    assert run.finish(lambda perform: getattr(perform.effect, "arguments", {})["k"]).output == [*range(6)]
    again = [each.reference for each in run.performs]
    assert "/do/0/m/for/0/do/0/call" not in again
    assert again[:3] == [f"/do/0/m/for/{n}/do/0/call" for n in (2, 3, 1)]
    assert {*again} | done >= {f"/do/0/m/for/{n}/do/0/call" for n in range(6)}


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_retry_from_a_task_inside_repeats_it_for_the_failed_iteration(failing: int) -> None:
    """All iterations stand at the same task when one of them fails."""
    steps = (
        CALL.replace("{call:", "{first:", 1),
        "{second: {set: 'if $k == %d and . == 0 then 7 | error else . end'}}",
    )
    text = loop(*steps, items="[0, 1, 2]", parallel=3) % failing
    run = Run(program(text), budget=1, stores=True)
    first = run.advance()
    # One slice gets all three results; then the failing iteration takes the next step or not.
    run.budget = 50
    answers = [Performed(frame=each.frame, output=0) for each in first]
    run.advance(*answers)
    assert run.state.status == "faulted"
    state = stored(run.state)
    resumed = resume_from(run.program, state, "/do/0/m/for/do/0/first", run.now_ms, None)
    assert resumed.is_original_input
    run.state = stored(resumed.state)
    run.performs.clear()
    run.advance(Resumed())
    assert [each.reference for each in run.performs] == [f"/do/0/m/for/{failing}/do/0/first"]
    assert run.finish(lambda _: 5).output == [5 if n == failing else 0 for n in range(3)]


def test_a_faulted_run_cannot_move_between_a_parallel_and_another_loop() -> None:
    plain, parallel = program(loop(CALL, more=", metadata: {}")), program(loop(CALL))
    run = Run(parallel, stores=True)
    run.finish(failing_at(3))
    with pytest.raises(Refused, match=r'"m" \(/do/0/m\) is parallel in one version only'):
        migrate(parallel, plain, run.state)
    more = program(loop(CALL, parallel=4))
    run.program = more
    run.state = stored(resume_faulted(more, migrate(parallel, more, run.state), run.now_ms))
    run.performs.clear()
    run.advance(Resumed())
    assert run.finish(doubled).output[4] == 8


# state


def test_ended_iterations_leave_their_outputs_only_and_a_commit_writes_what_is_new() -> None:
    """The state of 3,000 items has a bounded number of frames; each output is written twice."""
    count, parallel, size = 3_000, 10, 200
    made = load(
        {
            "document": HEADER,
            "do": [
                {
                    "m": {
                        "for": {"in": f"${{ [range({count})] }}", "each": "k"},
                        "metadata": {"iogate": {"parallel": parallel}},
                        "do": [{"c": {"call": "f:1.0.0@default", "with": {"k": "${ $k }"}}}],
                    }
                }
            ],
        }
    )
    facts = RunFacts(uid="1", started_at_ms=NOW_MS, input=None)
    codec, kept, state = Codec(), StoredRun(), State()
    result = advance(made, state, (), NOW_MS, facts)
    waiting = list(result.performs)
    written, largest, most = 0, 0, 0
    while not result.state.ended:
        state = result.state
        delta = codec.delta(state)
        kept.apply(delta)
        size_of_commit = sum(map(len, (*delta.frames.values(), *delta.values.values())))
        written += size_of_commit
        if len(waiting) == parallel and state.frames:
            largest, most = max(largest, size_of_commit), max(most, len(state.frames))
        perform = waiting.pop((7 * len(state.frames)) % len(waiting))
        result = advance(made, state, [Performed(frame=perform.frame, output="x" * size)], NOW_MS, facts)
        waiting += result.performs
    assert result.state.output == ["x" * size] * count
    assert most <= count // PAGE + PAGE + 2 * parallel + 3
    assert largest <= (5 * count + PAGE * size) * 2
    assert written <= 4 * count * (size + 200)
    assert Codec().load(kept.head, kept.frames, kept.values).frames == state.frames


# any items, any order


BODIES = [
    (CALL,),
    ("{w: {wait: '${ {milliseconds: ($k % 7)} }'}}", "{s: {set: '$k + 1'}}"),
    ("{a: {set: '$k'}}", CALL, "{b: {set: '[., $k, $index]'}}"),
    ("{i: {if: '$k % 2 == 0', set: '$k'}}", "{s: {switch: [{x: {when: '$k > 2', then: exit}}]}}", CALL),
    (
        "{t: {try: [{x: {call: 'f:1.0.0@default', with: {k: '${ $k }', fail: true}}}], catch: {retry:"
        " {limit: {attempt: {count: 1}}, delay: {milliseconds: 3}}, do: [{h: {set: '[\"caught\", $k]'}}]}}}",
    ),
    (
        "{n: {for: {in: '[range($k % 3)]', each: j}, metadata: {iogate: {parallel: 2, on_error: continue}},"
        " do: [{x: {call: 'f:1.0.0@default', with: {k: '${ $j }', fail: '${ $j == 1 }'}}}]}}",
    ),
    ("{f: {fork: {branches: [{a: {set: '$k'}}, {b: {wait: {milliseconds: 2}}}]}}}",),
]


class Shuffled:
    """Answers the effects of a run in an order that Hypothesis draws, and lets waits pass in between."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw

    def play(self, run: Run) -> State:
        waiting = list(run.advance())
        while not run.state.ended:
            live = [each for each in waiting if each.frame in run.state.under_way]
            due_ms = run.state.due_ms
            if live and (due_ms is None or self.draw(st.booleans())):
                perform = live[self.draw(st.integers(0, len(live) - 1))]
                waiting.remove(perform)
                waiting += run.advance(_answered(perform))
            elif due_ms is not None:
                run.now_ms = max(run.now_ms, due_ms)
                waiting += run.advance()
            else:
                raise AssertionError("the run waits for nothing")
        return run.state


def _answered(perform: Perform) -> Performed:
    arguments = getattr(perform.effect, "arguments", {})
    if arguments.get("fail"):
        return Performed(frame=perform.frame, error=WorkflowError("runtime", detail=f"no {arguments['k']}"))
    return Performed(frame=perform.frame, output={"of": arguments["k"]})


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=st.sampled_from(BODIES),
    items=st.lists(st.integers(0, 9), max_size=12),
    parallel=st.integers(1, 5),
    budget=st.sampled_from([1, 3, 200]),
    data=st.data(),
)
def test_the_outputs_are_those_of_the_plain_loop_in_any_order_of_results(
    body: tuple[str, ...], items: list[int], parallel: int, budget: int, data: Any
) -> None:
    made = program(loop(*body, items=json.dumps(items), parallel=parallel))
    state = Shuffled(data.draw).play(Run(made, input="in", budget=budget, stores=True))
    assert state.status == "completed", state.error
    plain = []
    for number, item in enumerate(items):
        # The plain loop, in which the iterations before this one change nothing.
        before = f"[range({number})] | map(null) + [{item}]"
        guarded = f"{{g: {{if: '$k != null', do: [{', '.join(body)}]}}}}"
        alone = program(loop(guarded, items=before, more=", metadata: {}"))
        plain.append(Shuffled(data.draw).play(Run(alone, input="in")).output)
    assert _comparable(state.output) == _comparable(plain)


def _comparable(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("/g/do/0", ""))


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    items=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    failing=st.sets(st.integers(0, 11)),
    parallel=st.integers(1, 5),
    data=st.data(),
)
def test_one_error_ends_the_loop_or_each_takes_its_place(
    items: list[int], failing: set[int], parallel: int, data: Any
) -> None:
    call = "{c: {call: 'f:1.0.0@default', with: {k: '${ $index }', fail: '${ %s | index($index) != null }'}}}"
    body = call % json.dumps(sorted(failing))
    text = json.dumps(items)
    ends = [n for n in range(len(items)) if n in failing]
    state = Shuffled(data.draw).play(Run(program(loop(body, items=text, parallel=parallel)), stores=True))
    if ends:
        assert state.status == "faulted"
        assert state.error is not None
        assert any(f"no {n}" in state.error["detail"] for n in ends)
    else:
        assert state.output == [{"of": n} for n in range(len(items))]
    kept = loop(
        body,
        items=text,
        more=f", metadata: {{iogate: {{parallel: {parallel}, on_error: continue}}}}",
    )
    outputs = Shuffled(data.draw).play(Run(program(kept), stores=True)).output
    assert [n for n, each in enumerate(outputs) if "error" in each] == ends
    assert all(each == {"of": n} for n, each in enumerate(outputs) if n not in ends)
