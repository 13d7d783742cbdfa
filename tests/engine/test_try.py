"""`try` catches, retries, and propagates the errors that it does not handle."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.engine.commands import CallHttp, Perform, Performed, Resumed
from iogate.engine.expression_scope import Environment
from iogate.errors import ERROR_FAMILIES, ERROR_TYPES, WorkflowError
from tests.engine.engine_runs import NOW_MS, Run, error, output, program, stored

RAISE = "{raise: {error: {type: 'https://x/e', status: 418, title: Tea, detail: D}}}"


def run_try(catch: str, failing: str = RAISE, after: str = "") -> str:
    return (
        f"do: [{{t: {{try: [{{s: {{set: '{{n: (.n + 1)}}'}}}}, {{f: {failing}}}], catch: {catch}}}}}{after}]"
    )


@pytest.mark.parametrize(
    ("catch", "expected"),
    [
        (
            "{do: [{h: {set: '${ $error }'}}]}",
            {
                "type": "https://x/e",
                "status": 418,
                "title": "Tea",
                "detail": "D",
                "instance": "/do/0/t/try/1/f",
            },
        ),
        ("{as: problem, do: [{h: {set: '[$problem.status, .]'}}]}", [418, {"n": 0}]),
        ("{}", {"n": 0}),
        ("{errors: {with: {status: 418}}}", {"n": 0}),
        ("{errors: {with: {type: 'https://x/e', title: Tea, details: D}}}", {"n": 0}),
        ("{when: .status == 418}", {"n": 0}),
        ("{when: $error.status == 418 and $input.n == 0}", {"n": 0}),
        ("{exceptWhen: .status == 500}", {"n": 0}),
        ("{retry: {limit: {attempt: {count: 2}}}, do: [{h: {set: '\"gave up\"'}}]}", "gave up"),
    ],
)
def test_a_caught_error_is_handled(catch: str, expected: Any) -> None:
    assert output(run_try(catch), {"n": 0}) == expected


@pytest.mark.parametrize(
    "catch",
    [
        "{errors: {with: {status: 500}}}",
        "{errors: {with: {type: 'https://x/other'}}}",
        "{errors: {with: {instance: /elsewhere}}}",
        "{when: .status == 500}",
        "{exceptWhen: .status == 418}",
        "{retry: {limit: {attempt: {count: 2}}}}",
        "{retry: {when: .status == 500}}",
        "{retry: {exceptWhen: .status == 418}}",
    ],
)
def test_an_unhandled_error_propagates(catch: str) -> None:
    fault = error(run_try(catch), {"n": 0})
    assert (fault["type"], fault["instance"]) == ("https://x/e", "/do/0/t/try/1/f")


@pytest.mark.parametrize(
    "family",
    [
        "https://serverlessworkflow.io/spec/1.0.0/errors/",
        "https://serverlessworkflow.io/dsl/errors/types/",
        "https://open-workflow-specification.org/dsl/errors/types/",
        ERROR_TYPES,
    ],
)
def test_standard_errors_match_in_every_family_of_names(family: str) -> None:
    catch = f"{{errors: {{with: {{type: '{family}expression'}}}}}}"
    assert output(run_try(catch, "{set: .n.x}"), {"n": 0}) == {"n": 0}


@pytest.mark.parametrize(("name", "family"), ERROR_FAMILIES.items())
def test_errors_are_named_in_the_configured_family(name: str, family: str) -> None:
    environment = Environment(error_types=name)
    run = Run(program("do: [{f: {set: .n.x}}]"), input={"n": 0}, environment=environment)
    run.advance()
    assert run.state.error is not None
    assert run.state.error["type"] == family + "expression"
    catch = f"{{errors: {{with: {{type: '{ERROR_TYPES}expression'}}}}, as: e, do: [{{h: {{set: $e.type}}}}]}}"
    text = run_try(catch, "{set: .n.x}")
    run = Run(program(text), input={"n": 0}, environment=environment)
    run.advance()
    assert run.state.output == family + "expression"


def test_types_of_the_author_belong_to_no_family() -> None:
    text = "do: [{f: {raise: {error: {type: 'https://x/e', status: 500}}}}]"
    run = Run(program(text), environment=Environment(error_types="serverless-workflow"))
    run.advance()
    assert run.state.error is not None
    assert run.state.error["type"] == "https://x/e"


def test_catch_then_applies_only_after_the_handler() -> None:
    after = ", {a: {set: '\"a\"', then: end}}, {b: {set: '. + {b: true}'}}"
    assert output(run_try("{then: b}", after=after), {"n": 0}) == {"n": 0, "b": True}
    assert output(run_try("{do: [{h: {set: '{h: 1}'}}], then: b}", after=after), {"n": 0}) == {
        "h": 1,
        "b": True,
    }
    assert output(run_try("{then: b}", "{set: .}", after=after), {"n": 0}) == "a"


def test_an_error_of_the_handler_propagates_and_is_not_retried() -> None:
    fault = error(run_try("{do: [{h: {raise: {error: {type: 'https://x/h', status: 500}}}}]}"), {"n": 0})
    assert (fault["type"], fault["instance"]) == ("https://x/h", "/do/0/t/catch/do/0/h")


def test_an_error_of_the_condition_replaces_the_first() -> None:
    fault = error(run_try("{when: .status.x}"), {"n": 0})
    assert fault["type"] == ERROR_TYPES + "expression"
    assert fault["instance"] == "/do/0/t"


def test_the_output_of_a_try_is_transformed() -> None:
    text = f"do: [{{t: {{try: [{{f: {RAISE}}}], catch: {{}}, output: {{as: '{{o: .}}'}}}}}}]"
    assert output(text, 1) == {"o": 1}


def test_an_error_propagates_through_loops_to_the_enclosing_try() -> None:
    text = (
        "do: [{t: {try: [{l: {for: {in: '[1,2,3]'}, do: [{d: {do: [{f: {if: $item == 2, "
        f"{RAISE[1:-1]}}}}}]}}}}]}}}}], catch: {{do: [{{h: {{set: $error.instance}}}}]}}}}}}]"
    )
    assert output(text, 1) == "/do/0/t/try/0/l/for/do/0/d/do/0/f"


def delays(retry: str, failures: int, uid: str = "42") -> list[int]:
    """Return the delays before each retry of a call that fails so often."""
    run = Run(program(f"do: [{{t: {{try: [{{f: {RAISE}}}], catch: {{retry: {retry}}}}}}}]"))
    found = []
    run.advance()
    for _ in range(failures):
        waiting = run.state.waiting_for
        assert waiting is not None
        assert waiting.kind == "retry"
        assert waiting.task == "/do/0/t"
        assert waiting.until_ms is not None
        found.append(waiting.until_ms - run.now_ms)
        run.state = stored(run.state)
        run.now_ms = waiting.until_ms
        run.advance()
    return found


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ("{delay: {seconds: 2}}", [2000, 2000, 2000, 2000]),
        ("{delay: PT2S, backoff: {constant: {}}}", [2000, 2000, 2000, 2000]),
        ("{delay: {seconds: 2}, backoff: {linear: {}}}", [2000, 4000, 6000, 8000]),
        ("{delay: {seconds: 2}, backoff: {exponential: {}}}", [2000, 4000, 8000, 16000]),
    ],
)
def test_delays_follow_the_backoff(retry: str, expected: list[int]) -> None:
    assert delays(retry, 4) == expected


def test_jitter_stays_in_its_range_and_is_deterministic() -> None:
    retry = "{delay: {seconds: 1}, jitter: {from: {milliseconds: 100}, to: {milliseconds: 200}}}"
    first = delays(retry, 5)
    assert first == delays(retry, 5)
    assert all(1_100 <= delay <= 1_200 for delay in first)
    assert len(set(first)) > 1


def test_no_retry_begins_after_the_duration_of_the_limit() -> None:
    text = run_try("{retry: {delay: {seconds: 2}, limit: {duration: {seconds: 5}}}, do: [{h: {set: now}}]}")
    assert output(text, {"n": 0}) == NOW_MS / 1000 + 4


def test_a_retry_uses_the_original_input_and_a_named_policy() -> None:
    text = (
        "use: {retries: {often: {delay: {seconds: 1}, limit: {attempt: {count: 5}}}}}\n"
        "do: [{t: {try: [{s: {set: '{n: (.n + 1)}'}}, {c: {call: 'f:1.0.0@default', with: {n: '${ .n }'}}}],"
        " catch: {retry: often}}}]"
    )
    seen = []

    def answer(perform: Perform) -> Any:
        seen.append(perform.effect)
        if len(seen) < 4:
            raise WorkflowError("communication", status=503)
        return "ok"

    run = Run(program(text), input={"n": 0}, stores=True)
    assert run.finish(answer).output == "ok"
    assert len(seen) == 4
    assert len(set(map(str, seen))) == 1
    assert [dict(note.detail)["attempt"] for note in run.notes if note.kind == "task.retried"] == [1, 2, 3]


def test_an_unknown_policy_is_a_configuration_error() -> None:
    fault = error(run_try("{retry: lost}"), {"n": 0})
    assert fault["type"] == ERROR_TYPES + "configuration"
    assert 'retry policy "lost" is not defined in use.retries' in fault["detail"]


CALL = "{call: http, with: {method: post, endpoint: 'https://h/%s'}}"
TWO = (
    f"do: [{{t: {{try: [{{a: {CALL % 'a'}}}, {{b: {CALL % 'b'}}}],"
    f" catch: {{retry: {{limit: {{attempt: {{count: 3}}}}}}}}}}}}, {{z: {CALL % 'z'}}}]"
)


@pytest.mark.parametrize("definite", [True, False])
def test_a_retry_has_a_new_key_only_after_a_definite_result(definite: bool) -> None:  # noqa: FBT001 - a parameter of the table, passed by name
    run = Run(program(TWO), stores=True)
    keys: list[str] = []

    def advance(*happened: Any) -> Perform:
        (perform,) = run.advance(*happened)
        keys.append(perform.idempotency_key)
        return perform

    a = advance()
    b = advance(Performed(frame=a.frame, output=1))
    a = advance(Performed(frame=b.frame, error=WorkflowError("communication"), definite=definite))
    b = advance(Performed(frame=a.frame, output=1))
    advance(Performed(frame=b.frame, output=1))
    again = "1" if definite else "0"
    assert keys == [
        "42/do/0/t/try/0/a/0/0",
        "42/do/0/t/try/1/b/0/1",
        f"42/do/0/t/try/0/a/{again}/0",
        f"42/do/0/t/try/1/b/{again}/1",
        "42/do/1/z/2",
    ]


def test_a_retry_after_a_timeout_sends_the_same_key() -> None:
    """The receiver may have done its work: it must be able to recognise the call."""
    timed = f"{{timeout: {{after: {{seconds: 5}}}}, {CALL[1:-1] % 'a'}}}"
    run = Run(
        program(
            f"do: [{{t: {{try: [{{a: {timed}}}], catch: {{retry: {{limit: {{attempt: {{count: 1}}}}}}}}}}}}]"
        )
    )
    (first,) = run.advance()
    run.now_ms += 5_000
    (second,) = run.advance()
    assert second.idempotency_key == first.idempotency_key


def test_a_key_lists_the_attempts_of_the_outermost_try_first() -> None:
    catch = "{errors: {with: {status: 503}}, retry: {}}"
    inner = f"{{try: [{{a: {CALL % 'a'}}}, {{b: {RAISE}}}], catch: {catch}}}"
    run = Run(
        program(
            f"do: [{{t: {{try: [{{u: {inner}}}], catch: {{retry: {{limit: {{attempt: {{count: 1}}}}}}}}}}}}]"
        )
    )
    (first,) = run.advance()
    (second,) = run.advance(Performed(frame=first.frame, output=1))
    assert first.idempotency_key == "42/do/0/t/try/0/u/try/0/a/0/0/0"
    assert second.idempotency_key == "42/do/0/t/try/0/u/try/0/a/1/0/0"


def test_keys_continue_from_the_longest_attempt() -> None:
    """Attempts that end early do not reuse the numbers of a longer one."""
    call = CALL % "x"
    text = (
        f"do: [{{t: {{try: [{{e: {{if: $context.run_try, {RAISE[1:-1]}}}}}, {{a: {call}}},"
        f" {{b: {{export: {{as: '{{run_try: true}}'}}, set: .}}}}, {{c: {call}}}],"
        f" catch: {{retry: {{limit: {{attempt: {{count: 2}}}}}}, then: continue}}}}}}, {{z: {call}}}]"
    )
    run = Run(program(text), stores=True)
    (a,) = run.advance()
    (c,) = run.advance(Performed(frame=a.frame, output=1))
    (z,) = run.advance(Performed(frame=c.frame, error=WorkflowError("communication"), definite=False))
    assert [a.idempotency_key, c.idempotency_key, z.idempotency_key] == [
        "42/do/0/t/try/1/a/0/0",
        "42/do/0/t/try/3/c/0/1",
        "42/do/1/z/1",
    ]


def test_no_key_is_reused_after_jumps_and_definite_results() -> None:
    call = "{call: http, with: {method: post, endpoint: 'https://h', body: '${ . }'}}"
    text = (
        f"do: [{{t: {{try: [{{a: {call}}}, {{b: {call}}}, {{c: {call}}}],"
        " catch: {retry: {limit: {attempt: {count: 2}}}}}},"
        " {s: {switch: [{again: {when: . < 20, then: t}}]}}]"
    )
    run = Run(program(text), input=0)
    count = 0

    def answer(perform: Perform) -> Any:
        nonlocal count
        count += 1
        assert isinstance(perform.effect, CallHttp)
        if count % 5 == 0:
            raise WorkflowError("communication", status=503)
        return count

    run.finish(answer)
    assert run.state.status == "completed"
    keys = [perform.idempotency_key for perform in run.performs]
    assert len(keys) == len(set(keys)) > 20


TIMEOUT = "{timeout: {after: {seconds: 5}}, %s}"


@pytest.mark.parametrize(
    "task",
    [
        "wait: PT1H",
        "call: http, with: {method: get, endpoint: 'https://h'}",
        "do: [{w: {wait: PT1H}}]",
        "for: {in: '[1,2,3]'}, do: [{w: {wait: PT2S}}]",
        "try: [{f: {raise: {error: {type: x, status: 500}}}}], catch: {retry: {delay: {seconds: 2}}}",
        "fork: {branches: [{a: {wait: PT1S}}, {b: {wait: PT1H}}]}",
    ],
)
def test_a_task_that_times_out_is_interrupted_and_can_be_caught(task: str) -> None:
    handler = "{h: {set: '[$error.status, $error.instance, now]'}}"
    text = f"do: [{{t: {{try: [{{s: {TIMEOUT % task}}}], catch: {{do: [{handler}]}}}}}}]"
    run = Run(program(text), stores=True)
    run.advance()
    while run.state.status != "completed":
        assert run.state.due_ms is not None
        run.now_ms = run.state.due_ms
        run.advance()
    assert run.state.output == [408, "/do/0/t/try/0/s", NOW_MS / 1000 + 5]


def test_the_deadline_goes_with_the_effect() -> None:
    text = f"do: [{{s: {TIMEOUT % CALL[1:-1] % 'x'}}}]\ntimeout: {{after: {{seconds: 3}}}}"
    (perform,) = Run(program(text)).advance()
    assert perform.deadline_ms == NOW_MS + 3_000


def test_timers_that_are_due_together_fire_in_order() -> None:
    """After an absence of the worker a wait and a deadline are due: the earlier one counts."""
    for wait, status in ((3, "completed"), (7, "faulted")):
        run = Run(program(f"do: [{{s: {TIMEOUT % f'wait: PT{wait}S'}}}]"))
        run.advance()
        run.now_ms += 60_000
        run.advance(Resumed())
        assert run.state.status == status


def test_the_timeout_of_a_workflow_cannot_be_caught() -> None:
    for timeout in ("{after: {seconds: 5}}", "short"):
        text = (
            f"use: {{timeouts: {{short: {{after: {{seconds: 5}}}}}}}}\ntimeout: {timeout}\n"
            "do: [{t: {try: [{w: {wait: PT1H}}], catch: {}}}]"
        )
        run = Run(program(text))
        run.advance()
        assert run.state.due_ms == NOW_MS + 5_000
        run.now_ms += 5_000
        run.advance()
        assert run.state.error == {
            "type": ERROR_TYPES + "timeout",
            "status": 408,
            "title": "Timed out",
            "detail": "the workflow took longer than its timeout of 5s; it was at /do/0/t/try/0/w",
            "instance": "/",
        }


def test_an_attempt_that_times_out_is_retried() -> None:
    text = (
        "do: [{t: {try: [{w: {wait: PT1H}}], catch: {retry: {limit: {attempt: {count: 2,"
        " duration: {seconds: 5}}}},"
        " do: [{h: {set: '[$error.status, now]'}}]}}}]"
    )
    assert output(text) == [408, NOW_MS / 1000 + 15]
    detail = output(text.replace("[$error.status, now]", "$error.detail"))
    assert detail == 'task "t": its attempt took longer than the limit of 5s'


def test_an_unknown_timeout_is_a_configuration_error() -> None:
    fault = error("do: [{w: {wait: PT1S, timeout: lost}}]")
    assert fault["type"] == ERROR_TYPES + "configuration"
    assert fault["detail"] == 'task "w": timeout "lost" is not defined in use.timeouts'
