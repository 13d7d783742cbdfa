"""Branches run concurrently and isolated, and join in declared order."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.engine.advance import advance
from iogate.engine.commands import Cancelled, Perform, Performed, Resumed
from iogate.errors import WorkflowError
from tests.engine.engine_runs import NOW_MS, Run, error, no_effects, output, program

CALL = "{call: 'f:1.0.0@default', with: {}}"


def fork(*branches: str, compete: bool = False, rest: str = "", **members: str) -> str:
    named = ", ".join(f"{{b{index}: {branch}}}" for index, branch in enumerate(branches))
    more = "".join(f", {name}: {value}" for name, value in members.items())
    flag = ", compete: true" if compete else ""
    return f"do: [{{f: {{fork: {{branches: [{named}]{flag}}}{more}}}}}{rest}]"


def test_branches_get_the_same_input_and_outputs_keep_the_declared_order() -> None:
    text = fork("{do: [{w: {wait: PT3S}}, {s: {set: '[0, .]'}}]}", "{set: '[1, .]'}", "{wait: PT1S}")
    assert output(text, "in") == [[0, "in"], [1, "in"], "in"]


def test_branches_wait_and_call_concurrently() -> None:
    run = Run(program(fork("{wait: PT3S}", "{wait: PT2S}", CALL, CALL)), stores=True)
    performs = run.advance()
    assert [perform.reference for perform in performs] == [
        "/do/0/f/fork/branches/2/b2",
        "/do/0/f/fork/branches/3/b3",
    ]
    assert [perform.idempotency_key for perform in performs] == [
        "42/do/0/f/fork/branches/2/b2/0",
        "42/do/0/f/fork/branches/3/b3/0",
    ]
    assert run.state.due_ms == NOW_MS + 2_000
    assert run.advance(Performed(frame=performs[1].frame, output="three")) == ()
    assert run.advance(Resumed()) == (performs[0],)
    run.now_ms += 3_000
    run.advance()
    assert run.state.status == "running"
    run.advance(Performed(frame=performs[0].frame, output="two"))
    assert run.state.output == [None, None, "two", "three"]


def test_the_first_competing_branch_wins_and_the_others_are_cancelled() -> None:
    run = Run(
        program(fork("{wait: PT3S}", "{do: [{w: {wait: PT2S}}, {s: {set: '\"won\"'}}]}", CALL, compete=True))
    )
    (perform,) = run.advance()
    run.now_ms += 2_000
    run.advance()
    assert run.state.output == "won"
    assert ("task.cancelled", "b0") in run.happened("task.cancelled")
    assert ("task.cancelled", "b2") in run.happened("task.cancelled")
    assert perform.frame not in run.state.frames


RAISE = "{raise: {error: {type: 'https://x/e', status: %d}}}"


def test_an_error_of_a_branch_cancels_its_siblings_and_propagates() -> None:
    run = Run(program(fork(CALL, "{wait: PT1H}", f"{{do: [{{w: {{wait: PT1S}}}}, {{r: {RAISE % 418}}}]}}")))
    run.advance()
    run.now_ms += 1_000
    run.advance()
    assert run.state.error == {
        "type": "https://x/e",
        "status": 418,
        "instance": "/do/0/f/fork/branches/2/b2/do/1/r",
    }
    assert sorted(run.happened("task.cancelled")) == [("task.cancelled", "b0"), ("task.cancelled", "b1")]


def test_a_try_around_a_fork_catches_the_error_of_a_branch() -> None:
    text = (
        f"do: [{{t: {{try: [{{f: {{fork: {{branches: [{{a: {{wait: PT1H}}}}, {{b: {RAISE % 418}}}]}}}}}}],"
        " catch: {do: [{h: {set: $error.status}}]}}}]"
    )
    assert output(text) == 418


def test_a_competition_fails_only_if_all_branches_fail() -> None:
    assert output(fork(RAISE % 400, "{do: [{w: {wait: PT1S}}, {s: {set: '7'}}]}", compete=True)) == 7
    fault = error(fork(RAISE % 400, f"{{do: [{{w: {{wait: PT1S}}}}, {{r: {RAISE % 401}}}]}}", compete=True))
    assert fault["status"] == 401


def test_contexts_are_separate_until_they_merge_in_declared_order() -> None:
    text = fork(
        "{do: [{w: {wait: PT2S}}, {s: {set: $context, export: {as: '$context + {a: 1, both: 1}'}}}]}",
        "{do: [{s: {set: $context, export: {as: '$context + {b: true, both: 2}'}}}, {t: {set: $context}}]}",
        "{set: $context}",
        rest=", {z: {set: '[., $context]'}}",
    ).replace("do: [{f:", "do: [{x: {set: '{}', export: {as: '{a: true, kept: 0}'}}}, {f:", 1)
    before = {"a": True, "kept": 0}
    assert output(text) == [
        [before, {**before, "b": True, "both": 2}, before],
        {"a": 1, "kept": 0, "b": True, "both": 2},
    ]


def test_a_number_that_jq_writes_in_another_way_is_no_change_of_the_context() -> None:
    text = fork(
        "{set: $context, export: {as: '$context + {n: 11}'}}",
        "{set: $context, export: {as: '$context + {b: 1}'}}",
        rest=", {z: {set: $context}}",
    ).replace("do: [{f:", "do: [{x: {set: '${ . }', export: {as: .}}}, {f:", 1)
    data = {"n": 10.0, "of": [{"n": 10.0}]}
    assert output(text, data) == {"n": 11, "of": [{"n": 10}], "b": 1}


def test_end_in_a_branch_ends_the_run() -> None:
    run = Run(program(fork(CALL, "{set: '\"over\"', then: end}", rest=", {z: {set: '1'}}")))
    assert run.advance() == ()
    assert (run.state.status, run.state.output) == ("completed", "over")


def test_exit_in_a_branch_ends_the_branch() -> None:
    assert output(fork("{set: '1', then: exit}", "{set: '2'}", rest=", {z: {set: '[.]'}}")) == [[1, 2]]


def test_a_busy_branch_does_not_delay_the_others() -> None:
    busy = "{for: {in: '[range(100000)]'}, do: [{s: {set: .}}]}"
    run = Run(program(fork(busy, CALL)))
    result = advance(run.program, run.state, (), NOW_MS, run.facts)
    assert result.more
    assert len(result.performs) == 1


def test_many_branches_join_with_any_budget() -> None:
    branches = [
        f"{{do: [{{w: {{wait: PT{1 + index % 3}S}}}}, {{s: {{set: '{index}'}}}}]}}" for index in range(60)
    ]
    for budget in (1, 7, 200):
        run = Run(program(fork(*branches)), budget=budget, stores=budget == 7)
        assert run.finish(no_effects).output == list(range(60))


def test_keys_continue_after_the_join() -> None:
    text = fork(f"{{do: [{{a: {CALL}}}, {{b: {CALL}}}]}}", CALL, rest=f", {{z: {CALL}}}")
    run = Run(program(text))
    run.finish(lambda _: 1)
    assert run.performs[-1].idempotency_key == "42/do/1/z/2"
    assert len({perform.idempotency_key for perform in run.performs}) == 4


def test_cancelling_reaches_every_branch() -> None:
    run = Run(program(fork(CALL, "{wait: PT1H}")))
    run.advance()
    run.advance(Cancelled())
    assert {name for _, name in run.happened("task.cancelled")} == {"f", "b0", "b1"}


@pytest.mark.parametrize("failing", [True, False])
def test_a_fork_inside_a_loop_inside_a_fork(failing: bool) -> None:  # noqa: FBT001 - a parameter of the table, passed by name
    call = "{call: 'f:1.0.0@default', with: {k: '${ $k }'}}"
    inner = f"{{fork: {{branches: [{{p: {{set: '$k'}}}}, {{q: {call}}}]}}, output: {{as: add}}}}"
    loop = f"{{for: {{in: '[1,2,3]', each: k}}, do: [{{i: {inner}}}]}}"

    def answer(perform: Perform) -> Any:
        arguments = getattr(perform.effect, "arguments", {})
        if failing and arguments["k"] == 2:
            raise WorkflowError("runtime", detail="no")
        return arguments["k"] * 10

    run = Run(program(fork(loop, "{set: '5'}")), stores=True)
    state = run.finish(answer)
    if failing:
        assert state.error is not None
        assert state.error["instance"] == "/do/0/f/fork/branches/0/b0/for/do/0/i/fork/branches/1/q"
    else:
        assert state.output == [33, 5]
