"""What stands beside a mistake is judged in the same pass, and a mistake has no echo."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.compiler.compile import Compiled, compile_documents
from iogate.documents import load_text, render_all
from iogate.settings import Settings
from tests.documents.seeds import SEEDS, Seed

HEAD = "document: {dsl: 1.0.0, namespace: shop, name: fulfil, version: 1.0.0}\n"


def compiled(text: str, *, partial: bool = True) -> Compiled:
    settings = Settings(allow_run=("script", "shell", "container"))
    return compile_documents(load_text(text, "a.yaml"), settings, root=Path(), partial=partial)


def codes(text: str, *, partial: bool = True) -> list[str]:
    return [problem.code for problem in compiled(text, partial=partial).errors]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name.replace(" ", "-"))
def test_a_mistake_is_told_once_and_nothing_follows_from_it(seed: Seed) -> None:
    text, line, column = seed.planted()
    errors = compiled(text).errors
    told = [(problem.line, problem.column, problem.code) for problem in errors]
    assert told == [(line, column, seed.code)], render_all(errors, {})


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ("- a: {set: {x: '${ .x + }'}, timeout: {after: P1X}}", ["IOG314", "IOG205"]),
        ("- a: {wait: P1X}\n- b: {set: {x: '${ .x + }'}}", ["IOG205", "IOG314"]),
        ("- a: {wait: P1X, then: nowhere}", ["IOG205", "IOG311"]),
        ("- a: {wait: P1X}\n- b: {set: {x: 1}, then: a}", ["IOG205"]),
        ("- if: {wait: P1X}\n- b: {set: {x: 1}, then: if}", ["IOG205"]),
        ("- a: {do: [{b: {wait: P1X}}, {c: {set: '${ ) }'}}]}", ["IOG205", "IOG314"]),
        ("- a: {do: [{b: {wait: P1X}}], timeout: {after: P1X}}", ["IOG205", "IOG205"]),
        ("- a: {fork: {branches: [{b: {wait: P1X}}]}}\n- c: {set: '${ ) }'}", ["IOG205", "IOG314"]),
        ("- a: {raise: {error: gone}}\n- b: {wait: P1X}", ["IOG313", "IOG205"]),
    ],
)
def test_beside_a_task_at_fault_the_rest_is_judged(tasks: str, expected: list[str]) -> None:
    assert codes(f"{HEAD}do:\n{tasks}\n") == expected


def test_a_function_at_fault_is_still_there_for_who_calls_it() -> None:
    use = "use: {functions: {slow: {wait: P1X}}}\n"
    assert codes(f"{HEAD}{use}do:\n- a: {{call: slow}}\n- b: {{set: '${{ ) }}'}}\n") == ["IOG205", "IOG314"]


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("document: {dsl: 1.0.0, namespace: shop, name: fulfil}\n", "IOG202"),
        ("document: {dsl: 1.0.0, namespace: shop, name: My Name, version: 1.0.0}\n", "IOG205"),
        ("document: shop\n", "IOG203"),
        (f"{HEAD}timeout: {{after: P1X}}\n", "IOG205"),
        (f"{HEAD}schedule: {{every: P1X}}\n", "IOG205"),
        (f"{HEAD}input: {{schemas: {{}}}}\n", "IOG201"),
        (f"{HEAD}output: {{like: .a}}\n", "IOG201"),
    ],
)
def test_beside_a_fault_at_the_top_the_tasks_are_judged(head: str, code: str) -> None:
    assert codes(f"{head}do:\n- a: {{set: '${{ .x + }}'}}\n") == [code, "IOG314"]


def test_where_too_much_would_follow_from_a_fault_nothing_is_said_of_it() -> None:
    assert codes(f"{HEAD}use: {{retries: {{often: {{delay: P1X}}}}}}\ndo:\n- a: {{set: '${{ ) }}'}}\n") == [
        "IOG205"
    ]
    assert codes(f"{HEAD}do:\n- a: {{wait: PT1S}}\n  b: {{wait: PT1S}}\n- c: {{set: '${{ ) }}'}}\n") == [
        "IOG209"
    ]


def test_warnings_wait_until_a_workflow_holds() -> None:
    end = "- a: {set: {x: 1}, then: end}\n- b: {set: {x: 2}}\n"
    assert [problem.code for problem in compiled(f"{HEAD}do:\n{end}").problems] == ["IOG507"]
    broken = compiled(f"{HEAD}do:\n{end}- c: {{wait: P1X}}\n")
    assert [problem.code for problem in broken.problems] == ["IOG205"]


def test_what_apply_would_refuse_does_not_wait() -> None:
    tasks = "- a: {wait: P1X}\n- b: {run: {shell: {command: ls}}}\n"
    read = load_text(f"{HEAD}do:\n{tasks}", "a.yaml")
    made = compile_documents(
        read, Settings(), root=Path(), purpose="validate", partial=True, allow_unsupported=True
    )
    assert [(problem.code, problem.severity) for problem in made.problems] == [
        ("IOG205", "error"),
        ("IOG316", "warning"),
    ]


def test_beside_a_method_at_fault_the_others_are_judged() -> None:
    api = (
        "module: orders\ntimeout: 1m\nmethods:\n"
        "  one: {auth: none, workflow: shop/fulfil, methods: [POST]}\n"
        "  two: {auth: none, workflow: shop/gone, input: {schema: {type: objectt}}}\n"
        "  three: {workflow: shop/gone}\n"
    )
    assert codes(api, partial=False) == ["IOG101", "IOG303", "IOG304", "IOG107"]
    assert codes(api.replace(", methods: [POST]", ""), partial=False) == [
        "IOG303", "IOG303", "IOG304", "IOG107",
    ]  # fmt: skip
