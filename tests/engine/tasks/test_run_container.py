"""`run: container`: evaluated arguments, and a name that a restart finds again."""

from __future__ import annotations

import re
from typing import Any

import pytest

from iogate.engine.commands import Performed, Resumed, RunContainer
from tests.engine.engine_runs import Run, program


def run(text: str, data: Any = None) -> Run:
    return Run(program(f"do: [{{box: {{run: {text}}}}}]"), input=data)


def requested(text: str, data: Any = None) -> RunContainer:
    (perform,) = run(text, data).advance()
    assert isinstance(perform.effect, RunContainer)
    return perform.effect


def test_every_argument_is_evaluated() -> None:
    found = requested(
        """{container: {
            image: 'alpine:${ .tag }', command: 'echo ${ .n }', name: 'box-${ .n }',
            ports: {'8080': '${ .n }'}, volumes: {./data: /data}, environment: {N: '${ .n }', T: true},
            stdin: '${ . }', arguments: [a, '${ .n }'], pullPolicy: never,
            lifetime: {cleanup: eventually, after: {minutes: '${ .n }'}}
        }, return: all}""".replace("minutes: '${ .n }'", "minutes: 5"),
        {"tag": "3", "n": 5},
    )
    assert (found.image, found.command, found.name) == ("alpine:3", "echo 5", "box-5")
    assert (found.ports, found.volumes) == ({"8080": "5"}, {"./data": "/data"})
    assert found.environment == {"N": "5", "T": "true"}
    assert (found.stdin, found.arguments) == ('{"tag":"3","n":5}', ("a", "5"))
    assert (found.pull, found.cleanup, found.keep_s, found.returns) == ("never", "eventually", 300.0, "all")


def test_defaults_are_those_of_the_standard() -> None:
    found = requested("{container: {image: alpine}}")
    assert (found.command, found.stdin, found.arguments) == (None, None, ())
    assert (found.pull, found.cleanup, found.keep_s, found.returns) == (
        "ifNotPresent",
        "never",
        None,
        "stdout",
    )


def test_the_container_name_follows_from_the_key() -> None:
    first = requested("{container: {image: alpine}}")
    assert re.fullmatch(r"sample-[0-9a-f-]{36}\.test-box", first.name)
    assert first.name == requested("{container: {image: alpine}}").name
    assert first.key in first.name


def test_a_restart_requests_the_same_container() -> None:
    made = run("{container: {image: alpine}}")
    (first,) = made.advance()
    (second,) = made.advance(Resumed())
    assert first.effect == second.effect


def test_each_iteration_of_a_loop_has_its_own_container() -> None:
    made = Run(
        program("do: [{l: {for: {in: '${ [1, 2] }'}, do: [{box: {run: {container: {image: alpine}}}}]}}]")
    )
    (first,) = made.advance()
    (second,) = made.advance(Performed(frame=first.frame, output=""))
    assert isinstance(first.effect, RunContainer)
    assert isinstance(second.effect, RunContainer)
    assert first.effect.name != second.effect.name


def test_a_container_that_is_not_awaited_outputs_its_input_at_once() -> None:
    made = run("{container: {image: alpine}, await: false}", {"n": 1})
    (perform,) = made.advance()
    assert not perform.await_result
    assert made.state.output == {"n": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{container: {image: '${ \"\" }'}}", "the image is empty"),
        ("{container: {image: '${ [] }'}}", "the image must be text, a number or a boolean, not array"),
        ("{container: {image: a, name: '${ \"-x\" }'}}", '"-x" is not a valid container name'),
        ("{container: {image: a, ports: {'80': '${ {} }'}}}", "port 80 must be text"),
        ("{container: {image: a, arguments: ['${ {} }']}}", "argument 1 must be text"),
    ],
)
def test_an_invalid_argument_is_an_expression_error(text: str, why: str) -> None:
    made = run(text, {})
    made.advance()
    found = made.state.error
    assert found is not None
    assert found["type"].endswith("/expression")
    assert why in found["detail"]
