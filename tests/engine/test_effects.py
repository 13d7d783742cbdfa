"""Effects of tasks: their evaluated arguments, and the data that they may see."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from iogate.engine.advance import Environment
from iogate.engine.commands import (
    Authentication,
    CallFunction,
    CallHttp,
    Effect,
    Performed,
    RunProcess,
)
from iogate.errors import ERROR_TYPES
from tests.engine.engine_runs import NOW_MS, Run, error, program


def first_effect(text: str, data: Any = None, secrets: dict[str, Any] | None = None) -> Effect:
    """Return the first effect that the workflow requests."""
    run = Run(program(text), input=data, environment=Environment(secrets=secrets or {}))
    performs = run.advance()
    assert len(performs) == 1, run.state.error
    return performs[0].effect


def http(text: str, data: Any = None, secrets: dict[str, Any] | None = None) -> CallHttp:
    effect = first_effect(f"do: [{{c: {{call: http, with: {text}}}}}]", data, secrets)
    assert isinstance(effect, CallHttp)
    return effect


def test_http_evaluates_all_its_parts() -> None:
    effect = http(
        "{method: post, endpoint: 'https://h/{id}', headers: {X-N: '${ .n }', X-No: '${ .nothing }'},"
        " query: {q: '${ .n }', many: ['a', '${ .n }'], no: '${ .nothing }'}, body: {v: '${ .n }'},"
        " output: response, redirect: true}",
        {"id": "a/b c", "n": 5},
    )
    assert effect == CallHttp(
        method="POST",
        url="https://h/a%2Fb%20c",
        headers={"X-N": "5"},
        query={"q": "5", "many": ["a", "5"]},
        body={"v": 5},
        has_body=True,
        output="response",
        redirect=True,
        address="https://h/{id}",
    )


@pytest.mark.parametrize(
    ("endpoint", "url", "computed"),
    [
        ("'https://h/p'", "https://h/p", False),
        ("'https://h/{s}/{n}/{b}/{missing}x'", "https://h/v%20w/1.5/true/x", False),
        ("'https://h/{a.b}'", "https://h/dotted", False),
        ("'https://{s}/x'", "https://v%20w/x", True),
        ("'${ .u }'", "https://d/{s}", True),
        ("'https://h/${ .n }/{s}'", "https://h/1.5/v%20w", False),
        ("'https://${ .s }/x'", "https://v w/x", True),
        ("{uri: 'https://h/{s}'}", "https://h/v%20w", False),
        ("'http://h'", "http://h", False),
        ("'http://h${ .s }'", "http://hv w", True),
        ("'http://h{s}'", "http://hv%20w", True),
    ],
)
def test_endpoints_expand_templates_of_the_author_and_never_data(
    endpoint: str,
    url: str,
    computed: bool,  # noqa: FBT001 - a parameter of the table, passed by name
) -> None:
    data = {"s": "v w", "n": 1.5, "b": True, "a.b": "dotted", "u": "https://d/{s}"}
    effect = http(f"{{method: get, endpoint: {endpoint}}}", data)
    assert (effect.url, effect.computed) == (url, computed)


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        (
            "{method: get, endpoint: 'https://h/{o}'}",
            "{o} in the endpoint must be text, a number or a boolean, not object",
        ),
        (
            "{method: get, endpoint: '${ .o }'}",
            "the endpoint must be text, a number or a boolean, not object",
        ),
        ("{method: get, endpoint: '${ .no }'}", "expression ${ .no } in the endpoint gives null"),
        ("{method: get, endpoint: 'https://h/${ .no }/x'}", "expression ${ .no } in the endpoint gives null"),
        (
            "{method: get, endpoint: 'https://${ env.HOST }/x'}",
            "expression ${ env.HOST } in the endpoint gives null; expressions see no environment variables",
        ),
        ("{method: get, endpoint: '{no}'}", "the endpoint is empty"),
        ("{method: get, endpoint: 'https://h', headers: '${ .n }'}", "headers must be an object, not number"),
        ("{method: get, endpoint: 'https://h', query: {q: '${ .o }'}}", 'query parameter "q" must be text'),
    ],
)
def test_invalid_arguments_from_data_are_expression_errors(arguments: str, detail: str) -> None:
    fault = error(f"do: [{{c: {{call: http, with: {arguments}}}}}]", {"o": {"x": 1}, "n": 1})
    assert fault["type"] == ERROR_TYPES + "expression"
    assert fault["detail"].startswith('task "c": ')
    assert detail in fault["detail"]


BASIC = Authentication(scheme="basic", parameters={"username": "u", "password": "p"})
BEARER = Authentication(scheme="bearer", parameters={"token": "t"})


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("{basic: {username: '${ .u }', password: '${ $secrets.pass }'}}", BASIC),
        ("{basic: {use: pair}}", BASIC),
        ("{bearer: {token: t}}", BEARER),
        ("{bearer: {use: token}}", BEARER),
        ("{use: named}", BEARER),
    ],
)
def test_authentication_is_inline_named_or_from_a_secret(policy: str, expected: Authentication) -> None:
    effect = first_effect(
        "use: {secrets: [pass, pair, token], authentications: {named: {bearer: {use: token}}}}\n"
        f"do: [{{c: {{call: http, with: {{method: get, endpoint: {{uri: 'https://h',"
        f" authentication: {policy}}}}}}}}}]",
        {"u": "u"},
        {"pass": "p", "pair": {"username": "u", "password": "p"}, "token": "t"},
    )
    assert isinstance(effect, CallHttp)
    assert effect.authentication == expected


def test_the_authorization_descriptor_exists_during_the_task_and_is_never_stored() -> None:
    text = (
        "use: {secrets: [token]}\ndo: [{c: {call: http, with: {method: get,"
        " headers: {X: '${ $authorization.parameter }'},"
        " endpoint: {uri: 'https://h', authentication: {bearer: {use: token}}}},"
        " output: {as: $authorization.scheme}}}]"
    )
    run = Run(program(text), environment=Environment(secrets={"token": "hush"}))
    (perform,) = run.advance()
    assert isinstance(perform.effect, CallHttp)
    assert perform.effect.headers == {"X": "hush"}
    assert "hush" not in str(run.state)
    run.advance(Performed(frame=perform.frame, output=1))
    assert run.state.output == "Bearer"


def test_the_token_of_a_call_is_visible_to_its_output_and_never_stored() -> None:
    text = (
        "do: [{c: {call: http, with: {method: get, endpoint: {uri: 'https://h', authentication:"
        " {oauth2: {authority: 'https://{tenant}/a', grant: client_credentials}}},"
        " headers: {X: '${ $authorization.parameter }', Y: '${ $authorization.scheme }'}},"
        " output: {as: '{n: ($authorization.parameter | length)}'}, export: {as: $authorization.scheme}}},"
        " {d: {set: '[$context, ., $authorization]'}}]"
    )
    run = Run(program(text), input={"tenant": "t"}, budget=1)
    (perform,) = run.advance()
    assert isinstance(perform.effect, CallHttp)
    assert perform.effect.headers == {"Y": "Bearer"}
    assert perform.effect.authentication == Authentication(
        scheme="oauth2",
        parameters={"grant": "client_credentials", "authority": "https://t/a", "endpoints": {}},
        computed=True,
    )
    authorization = {"scheme": "Bearer", "parameter": "swordfish"}
    run.advance(Performed(frame=perform.frame, output=1, authorization=authorization))
    assert "swordfish" not in str(run.state)
    while not run.state.ended:
        run.advance()
    assert run.state.output == ["Bearer", {"n": 9}, None]


SEGMENTS = st.text(st.sampled_from("./\\%2eE?#;ab "), max_size=5)


@given(SEGMENTS, SEGMENTS)
def test_a_value_cannot_leave_its_path_segment(first: str, second: str) -> None:
    run = Run(
        program("do: [{c: {call: http, with: {method: get, endpoint: 'https://h/x/{a}{b}/y'}}}]"),
        input={"a": first, "b": second},
    )
    performs = run.advance()
    if first + second in {".", ".."}:
        assert run.state.error is not None
        assert "which would lead to another path" in run.state.error["detail"]
        return
    (perform,) = performs
    assert isinstance(perform.effect, CallHttp)
    path = URL(perform.effect.url).raw_path
    assert re.fullmatch(r"/x/[^/]*/y", path)
    assert unquote(path[3:-2]) == first + second


def test_an_unavailable_secret_is_an_authorization_error() -> None:
    fault = error("use: {secrets: [token]}\ndo: [{a: {set: $secrets.token}}]")
    assert fault["type"] == ERROR_TYPES + "authorization"
    assert fault["status"] == 403
    assert fault["detail"] == (
        'task "a": secret "token" is not available to workers: define it in the setting `secrets`, '
        "and set the variable or file that it names there"
    )


@pytest.mark.parametrize("text", ["Bearer ${ $secrets.token }", "${ $secrets.token }", "$secrets.token"])
def test_an_unavailable_secret_is_no_text_in_mode_loose(text: str) -> None:
    """The name of the secret would be sent in its place."""
    task = f"call: http, with: {{method: get, endpoint: 'https://a.example/', headers: {{X-Key: '{text}'}}}}"
    fault = error(f"evaluate: {{mode: loose}}\nuse: {{secrets: [token]}}\ndo: [{{a: {{{task}}}}}]")
    assert fault["type"] == ERROR_TYPES + "authorization"
    assert 'secret "token" is not available to workers' in fault["detail"]


def test_undeclared_secrets_are_not_visible() -> None:
    run = Run(
        program("use: {secrets: [a]}\ndo: [{x: {set: $secrets}}]"),
        environment=Environment(secrets={"a": "1", "b": "2"}),
    )
    run.advance()
    assert run.state.output == {"a": "1"}


def test_a_shell_command_gets_text_arguments_and_json_on_standard_input() -> None:
    effect = first_effect(
        "do: [{s: {run: {shell: {command: 'echo ${ .n }', arguments: [a, '${ .n }'], stdin: '${ . }',"
        " environment: {N: '${ .n }'}}, return: all}}}]",
        {"n": 5},
    )
    assert effect == RunProcess(
        kind="shell",
        code="echo 5",
        stdin='{"n":5}',
        arguments=("a", "5"),
        environment={"N": "5"},
        returns="all",
    )


def test_the_text_of_a_script_is_not_evaluated() -> None:
    effect = first_effect(
        "do: [{s: {run: {script: {language: python, code: 'print(\"${ .n }\")'}}}}]", {"n": 5}
    )
    assert effect == RunProcess(kind="script", language="python", code='print("${ .n }")')


def test_a_script_from_a_resource_keeps_its_address() -> None:
    effect = first_effect(
        "do: [{s: {run: {script: {language: python, source: {endpoint: 'file:///s.py'}}}}}]"
    )
    assert effect == RunProcess(kind="script", language="python", source="file:///s.py")


def test_a_python_function_gets_its_arguments() -> None:
    effect = first_effect("do: [{f: {call: 'greet:1.0.0@default', with: {name: '${ .n }'}}}]", {"n": "Ada"})
    assert effect == CallFunction(name="greet", version="1.0.0", arguments={"name": "Ada"})


def test_a_process_that_is_not_awaited_outputs_its_input_and_is_requested() -> None:
    run = Run(program("do: [{s: {run: {shell: {command: x}, await: false}}}]"), input={"n": 1})
    (perform,) = run.advance()
    assert perform.await_result is False
    assert run.state.output == {"n": 1}
    assert run.state.status == "completed"


def test_each_start_of_a_process_that_is_not_awaited_has_a_key_of_its_own() -> None:
    start = "{p: {run: {shell: {command: x}, await: false}, output: {as: '. + 1'}}}"
    again = "{again: {switch: [{more: {when: . < 3, then: p}}]}}"
    run = Run(program(f"do: [{start}, {again}]"), input=0)
    performs = run.advance()
    assert [each.idempotency_key for each in performs] == ["42/do/0/p/0", "42/do/0/p/1", "42/do/0/p/2"]


def test_a_task_can_read_its_idempotency_key() -> None:
    effect = first_effect(
        "do: [{f: {call: 'f:1.0.0@default', with: {k: '${ $runtime.metadata.idempotencyKey }'}}}]"
    )
    assert effect == CallFunction(name="f", version="1.0.0", arguments={"k": "42/do/0/f/0"})


def test_a_repeated_effect_sees_the_same_time() -> None:
    effect = first_effect("do: [{f: {call: 'f:1.0.0@default', with: {t: '${ now }'}}}]")
    assert effect == CallFunction(name="f", version="1.0.0", arguments={"t": NOW_MS / 1000})
