"""A call of unknown outcome keeps its idempotency key in all attempts of a `try`, whatever else fails."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iogate.compiler.program import load
from iogate.engine.commands import Perform, Performed, Resumed
from iogate.engine.expression_scope import Environment
from iogate.engine.retry import resume_faulted, resume_from
from iogate.engine.state import kept_keys
from iogate.errors import WorkflowError
from tests.engine.engine_runs import HEADER, Run, program, stored
from tests.examples import examples

CALL = "{call: http, with: {method: post, endpoint: 'https://h', body: '${ . }'}}"
ONCE = f"{{metadata: {{iogate: {{atMostOnce: true}}}}, {CALL[1:]}"
UNKNOWN = "its outcome is unknown, and it must happen at most once"


def retried(tasks: str, count: int = 3) -> str:
    return f"do: [{{t: {{try: [{tasks}], catch: {{retry: {{limit: {{attempt: {{count: {count}}}}}}}}}}}}}]"


def ok(perform: Perform, output: Any = 1) -> Performed:
    return Performed(frame=perform.frame, output=output)


def refused(perform: Perform) -> Performed:
    """Return a definite answer that is an error."""
    return Performed(frame=perform.frame, error=WorkflowError("communication", status=503))


def lost(perform: Perform) -> Performed:
    return Performed(frame=perform.frame, error=WorkflowError("timeout", status=408), definite=False)


def keys(*performs: Perform) -> list[str]:
    return [perform.idempotency_key.removeprefix("42") for perform in performs]


@pytest.mark.parametrize(
    ("task", "pay", "notify"),
    [
        (f"{{f: {{fork: {{branches: [{{pay: {CALL}}}, {{notify: {CALL}}}]}}}}}}", "0/pay", "1/notify"),
        (
            "{f: {metadata: {iogate: {parallel: 2}}, for: {in: '[1, 2]'}, do: [{c: " + CALL + "}]}}",
            "0/do/0/c",
            "1/do/0/c",
        ),
    ],
)
def test_a_call_that_the_error_of_a_sibling_cancels_keeps_its_key(task: str, pay: str, notify: str) -> None:
    run = Run(program(retried(task)), stores=True)
    first = run.advance()
    second = run.advance(refused(first[1]))
    at = "/do/0/t/try/0/f/" + ("fork/branches" if "fork" in task else "for")
    assert keys(*first) == [f"{at}/{pay}/0/0", f"{at}/{notify}/0/0"]
    assert keys(*second) == [f"{at}/{pay}/0/0", f"{at}/{notify}/1/0"]


CHECK_PAY = f"{{check: {CALL}}}, {{pay: {CALL}}}, {{ship: {CALL}}}"
CHECK, PAY = "/do/0/t/try/0/check", "/do/0/t/try/1/pay"


def test_a_call_of_an_earlier_attempt_keeps_its_key_until_it_has_an_answer() -> None:
    run = Run(program(retried(CHECK_PAY, count=9)), stores=True)
    (check,) = run.advance()
    (pay,) = run.advance(ok(check))
    (check,) = run.advance(lost(pay))
    (check,) = run.advance(refused(check))
    assert keys(pay, check) == [f"{PAY}/0/1", f"{CHECK}/1/0"]
    (pay,) = run.advance(ok(check))
    assert keys(pay) == [f"{PAY}/0/1"], "the answer to the check is none to the payment"
    (ship,) = run.advance(ok(pay))
    (check,) = run.advance(lost(ship))
    (pay,) = run.advance(ok(check))
    assert keys(check, pay) == [f"{CHECK}/1/0", f"{PAY}/0/1"], "no answer: the same keys as before"
    (check,) = run.advance(refused(pay))
    (pay,) = run.advance(ok(check))
    assert keys(check, pay) == [f"{CHECK}/2/0", f"{PAY}/2/1"], "each of its calls has had an answer"


def test_a_call_whose_repetition_after_a_crash_fails_keeps_its_key() -> None:
    call = CALL.replace("'https://h'", "{uri: 'https://h', authentication: {bearer: {use: token}}}")
    text = f"use: {{secrets: [token]}}\n{retried('{pay: ' + call + '}')}"
    whole = Environment(secrets={"token": "t"})
    run = Run(program(text.replace("{retry: {", "{retry: {delay: PT1S, ")), environment=whole, stores=True)
    (pay,) = run.advance()
    run.environment = Environment()
    assert run.advance(Resumed(worker="w")) == ()
    run.environment, run.now_ms = whole, run.now_ms + 1_000
    (again,) = run.advance()
    assert keys(again) == keys(pay)


def test_a_handled_error_of_an_inner_try_is_not_forgotten() -> None:
    retry = "retry: {limit: {attempt: {count: 1}}}, then: continue"
    inner = f"{{u: {{try: [{{pay: {CALL}}}], catch: {{{retry}}}}}}}"
    run = Run(program(retried(f"{inner}, {{notify: {CALL}}}")), stores=True)
    (first,) = run.advance()
    (second,) = run.advance(refused(first))
    (notify,) = run.advance(lost(second))
    (third,) = run.advance(refused(notify))
    assert keys(first, second, third) == [
        f"/do/0/t/try/0/u/try/0/pay/0/{n}/{m}" for n, m in ((0, 0), (1, 0), (1, 0))
    ]


def test_a_call_keeps_its_key_when_an_attempt_skips_the_calls_before_it() -> None:
    reserve = f"{{if: $context.done == null, export: {{as: '{{done: true}}'}}, {CALL[1:]}"
    again = "{again: {switch: [{more: {when: . < 3, then: pay}}]}}"
    run = Run(program(retried(f"{{reserve: {reserve}}}, {{pay: {CALL}}}, {again}")), stores=True)
    (reserved,) = run.advance()
    (first,) = run.advance(ok(reserved))
    (second,) = run.advance(lost(first))
    (third,) = run.advance(ok(second, 2))
    assert keys(first, second, third) == [f"{PAY}/0/1", f"{PAY}/0/1", f"{PAY}/0/2"], "no key is used twice"


def test_calls_of_one_task_are_told_apart() -> None:
    again = "{again: {switch: [{more: {when: . < 2, then: pay}}]}}"
    run = Run(program(retried(f"{{pay: {CALL}}}, {again}")), stores=True)
    (first,) = run.advance()
    (second,) = run.advance(ok(first, 1))
    (third,) = run.advance(lost(second))
    (fourth,) = run.advance(refused(third))
    (fifth,) = run.advance(ok(fourth, 1))
    assert [key.partition("pay")[2] for key in keys(first, second, third, fourth, fifth)] == [
        "/0/0",
        "/0/1",
        "/0/0",
        "/1/0",
        "/0/1",
    ]


def test_too_many_calls_of_unknown_outcome_keep_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_keys, "MOST", 2)
    branches = ", ".join(f"{{{name}: {ONCE if name == 'c' else CALL}}}" for name in "abcd")
    run = Run(program(retried(f"{{f: {{fork: {{branches: [{branches}]}}}}}}")), stores=True)
    first = run.advance()
    second = run.advance(refused(first[3]))
    assert keys(*second) == []
    assert (run.state.error or {})["detail"].endswith(UNKNOWN)
    run = Run(
        program(retried(f"{{f: {{fork: {{branches: [{branches}]}}}}}}".replace(ONCE, CALL))), stores=True
    )
    first = run.advance()
    assert keys(*run.advance(refused(first[3]))) == keys(*first)


# at most once


@pytest.mark.parametrize("how", ["sibling", "lost", "crash"])
def test_an_effect_that_must_happen_at_most_once_is_not_repeated_by_a_retry(how: str) -> None:
    task = f"{{pay: {ONCE}}}"
    if how == "sibling":
        task = f"{{f: {{fork: {{branches: [{task}, {{notify: {CALL}}}]}}}}}}"
    run = Run(program(retried(task)), stores=True)
    pay, *rest = run.advance()
    run.advance(refused(rest[0]) if rest else Resumed(worker="w") if how == "crash" else lost(pay))
    assert [each for each in run.performs if each.at_most_once] == [pay]
    while (waiting := run.under_way()) is not None:
        run.advance(refused(waiting))
    assert run.state.status == "faulted"
    assert (run.state.error or {})["detail"].endswith(UNKNOWN)
    assert [each for each in run.performs if each.at_most_once] == [pay]


@pytest.mark.parametrize("earlier", [False, True])
def test_an_operator_can_repeat_an_effect_that_must_happen_at_most_once(earlier: bool) -> None:  # noqa: FBT001 - a parameter of the table, passed by name
    run = Run(program(retried(f"{{check: {CALL}}}, {{pay: {ONCE}}}", count=1)), stores=True)
    (check,) = run.advance()
    (pay,) = run.advance(ok(check))
    (check,) = run.advance(lost(pay))
    run.advance(ok(check))
    assert (run.state.error or {})["detail"].endswith(UNKNOWN)
    if earlier:
        run.state = stored(resume_from(run.program, run.state, CHECK, run.now_ms, None).state)
        (again,) = run.advance(Resumed())
        assert keys(again) != keys(check)
        (again,) = run.advance(ok(again))
    else:
        run.state = stored(resume_faulted(run.program, run.state, run.now_ms))
        (again,) = run.advance(Resumed())
    assert keys(again) == keys(pay)
    run.advance(ok(again))
    assert run.state.status == "completed"


# generated


@st.composite
def lists(draw: Any, depth: int) -> list[dict[str, Any]]:
    return [{f"t{index}": draw(tasks(depth))} for index in range(draw(st.integers(1, 3)))]


@st.composite
def tasks(draw: Any, depth: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["call", "call", *(["do", "fork", "try", "for"] if depth else [])]))
    made: dict[str, Any] = {}
    match kind:
        case "call":
            made = yaml.safe_load(draw(st.sampled_from([CALL, CALL, ONCE])))
        case "do":
            made["do"] = draw(lists(depth - 1))
        case "fork":
            branches = [{f"b{index}": draw(tasks(depth - 1))} for index in range(draw(st.integers(1, 3)))]
            made["fork"] = {"compete": draw(st.booleans()), "branches": branches}
        case "for":
            made |= {"for": {"in": "[1, 2]"}, "do": draw(lists(depth - 1))}
            if draw(st.booleans()):
                on_error = draw(st.sampled_from(["fail", "continue"]))
                made["metadata"] = {"iogate": {"parallel": 2, "on_error": on_error}}
        case _:
            made["try"] = draw(lists(depth - 1))
            made["catch"] = draw(st.sampled_from([RETRY, {**RETRY, "then": "continue"}, {}]))
    if draw(st.booleans()):
        made["timeout"] = {"after": "PT5S"}
    return made


RETRY = {"retry": {"limit": {"attempt": {"count": 1}}}}


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(inside=lists(2), choices=st.data())
def test_no_call_of_unknown_outcome_gets_another_key_or_is_repeated_if_it_may_not_be(
    inside: list[dict[str, Any]], choices: st.DataObject
) -> None:
    whole = {"try": inside, "catch": {"retry": {"limit": {"attempt": {"count": 4}}}, "then": "end"}}
    run = Run(load({"document": HEADER, "do": [{"t": whole}]}), stores=True)
    unanswered: dict[str, str] = {}
    """Keys of the calls without a definite answer, by their references."""

    def sent(performs: tuple[Perform, ...]) -> None:
        for perform in performs:
            key = unanswered.get(perform.reference)
            assert key is None or (key == perform.idempotency_key and not perform.at_most_once)
            unanswered[perform.reference] = perform.idempotency_key

    sent(run.advance())
    while not run.state.ended:
        waiting = [each for each in run.performs if run.state.frames.get(each.frame) is not None]
        waiting = [each for each in waiting if run.state.frames[each.frame].phase == "effect"]
        perform = choices.draw(st.sampled_from(waiting))
        happens: Any = choices.draw(st.sampled_from([ok, ok, refused, lost, "crash", "time"]))
        if happens == "crash":
            sent(run.advance(Resumed(worker="w")))
        elif happens == "time":
            run.now_ms += 5_000
            sent(run.advance())
        else:
            if happens is not lost:
                del unanswered[perform.reference]
            sent(run.advance(happens(perform)))
