"""What `run: container` asks for: every argument evaluated, a name that a restart finds again."""

from __future__ import annotations

import re
from typing import Any

import pytest

from iogate.engine.commands import Performed, Resumed, RunContainer
from tests.engine.engine_runs import Run, program


def run(text: str, data: Any = None) -> Run:
    return Run(program(f"do: [{{box: {{run: {text}}}}}]"), input=data)


def asked(text: str, data: Any = None) -> RunContainer:
    (perform,) = run(text, data).tell()
    assert isinstance(perform.effect, RunContainer)
    return perform.effect


def test_every_argument_is_evaluated() -> None:
    found = asked(
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


def test_what_is_not_said_is_as_the_standard_has_it() -> None:
    found = asked("{container: {image: alpine}}")
    assert (found.command, found.stdin, found.arguments) == (None, None, ())
    assert (found.pull, found.cleanup, found.keep_s, found.returns) == (
        "ifNotPresent",
        "never",
        None,
        "stdout",
    )


def test_its_name_is_the_recommended_one_and_follows_from_the_key() -> None:
    first = asked("{container: {image: alpine}}")
    assert re.fullmatch(r"sample-[0-9a-f-]{36}\.test-box", first.name)
    assert first.name == asked("{container: {image: alpine}}").name
    assert first.key in first.name


def test_a_restart_asks_for_the_same_container() -> None:
    made = run("{container: {image: alpine}}")
    (first,) = made.tell()
    (second,) = made.tell(Resumed())
    assert first.effect == second.effect


def test_each_turn_of_a_loop_has_a_container_of_its_own() -> None:
    made = Run(
        program("do: [{l: {for: {in: '${ [1, 2] }'}, do: [{box: {run: {container: {image: alpine}}}}]}}]")
    )
    (first,) = made.tell()
    (second,) = made.tell(Performed(frame=first.frame, output=""))
    assert isinstance(first.effect, RunContainer)
    assert isinstance(second.effect, RunContainer)
    assert first.effect.name != second.effect.name


def test_one_that_is_not_awaited_gives_the_input_at_once() -> None:
    made = run("{container: {image: alpine}, await: false}", {"n": 1})
    (perform,) = made.tell()
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
def test_what_does_not_fit_is_an_expression_error(text: str, why: str) -> None:
    made = run(text, {})
    made.tell()
    found = made.state.error
    assert found is not None
    assert found["type"].endswith("/expression")
    assert why in found["detail"]
