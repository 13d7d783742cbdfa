"""Variables of a project: what an expression reads is in its program, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.compiler import resolved_references
from iogate.compiler.compile import Compiled, compile_documents
from iogate.compiler.program import load as load_program
from iogate.compiler.schedules import standing
from iogate.compiler.variables import Reads, embed, embedded, reads
from iogate.documents import load
from iogate.engine.advance import Environment, RunFacts, advance
from iogate.engine.state.run_state import State
from iogate.settings import Settings
from tests.compiler.projects import api, told, write
from tests.compiler.test_remote import Web
from tests.examples import examples

HEAD = "document: {{dsl: '1.0.3', namespace: shop, name: {name}, version: '1.0.0'}}\n"
VARS = {"region": "eu", "db": {"host": "a"}, "other": 1}


def document(do: str, name: str = "order", more: str = "") -> str:
    return HEAD.format(name=name) + "timeout: {after: PT1M}\n" + more + f"do: {do}\n"


def compiled(root: Path, files: dict[str, str], variables: dict[str, Any], fetch: Any = None) -> Compiled:
    write(root, files)
    settings = Settings(vars=variables)
    return compile_documents(load(root), settings, root=root, fetch=fetch)


def program(root: Path, text: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    made = compiled(root, {"workflows.d/order.yaml": text}, VARS if variables is None else variables)
    assert made.bundle is not None, told(made)
    found: dict[str, Any] = json.loads(made.bundle.programs[digest(made)])
    return found


def digest(made: Compiled, name: str = "shop/order:1.0.0") -> str:
    assert made.bundle is not None, told(made)
    return made.bundle.revision.workflows[name].program


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".a", Reads()),
        ("$runtime.name", Reads()),
        ("$runtimes.vars.a", Reads()),
        ("$runtime.vars.a", Reads(frozenset({"a"}))),
        ("$ runtime.vars.a.b", Reads(frozenset({"a"}))),
        ('$runtime["vars"]["a"]', Reads(frozenset({"a"}))),
        ('$runtime."vars"."a"', Reads(frozenset({"a"}))),
        ("[$runtime.vars.a, $runtime.vars.b, $runtime.version]", Reads(frozenset({"a", "b"}))),
        ("$runtime.vars", Reads(vars_=True)),
        ("$runtime.vars[.name]", Reads(vars_=True)),
        ("$runtime.vars | keys", Reads(vars_=True)),
        ("$runtime", Reads(runtime=True)),
        ("$runtime as {vars: $v} | $v.a", Reads(runtime=True)),
        ("$runtime[.name]", Reads(runtime=True)),
    ],
)
def test_the_variables_of_an_expression_are_found(text: str, expected: Reads) -> None:
    assert reads(text) == expected


def test_a_program_has_the_values_of_exactly_what_it_reads(tmp_path: Path) -> None:
    one = program(tmp_path, document("[{a: {set: {r: '${ $runtime.vars.region }'}}}]"))
    assert embedded(one) == {"region": "eu"}
    written, _ = resolved_references.split(one)
    assert written == {name: value for name, value in one.items() if name != "$bound"}
    whole = program(tmp_path, document("[{a: {set: {r: '${ $runtime.vars }'}}}]"))
    assert embedded(whole) == VARS
    assert "$bound" not in program(tmp_path, document("[{a: {set: {r: '${ $runtime.version }'}}}]"))


def test_a_variable_changes_the_programs_that_read_it_and_no_other(tmp_path: Path) -> None:
    files = {
        "workflows.d/order.yaml": document("[{a: {set: {r: '${ $runtime.vars.region }'}}}]"),
        "workflows.d/plain.yaml": document("[{a: {set: {r: '${ $runtime }'}}}]", "plain"),
        "workflows.d/none.yaml": document("[{a: {set: {r: 1}}}]", "none"),
        "apis.d/orders.yaml": api(),
    }
    eu = compiled(tmp_path, files, {"region": "eu"})
    us = compiled(tmp_path, files, {"region": "us"})
    more = compiled(tmp_path, files, {"region": "eu", "more": 1})
    assert eu.bundle is not None
    assert us.bundle is not None
    assert eu.bundle.revision.apis["orders/submit"].digest != us.bundle.revision.apis["orders/submit"].digest
    for name, differs in (("order", (True, False)), ("plain", (True, True)), ("none", (False, False))):
        full = f"shop/{name}:1.0.0"
        assert (digest(eu, full) != digest(us, full), digest(eu, full) != digest(more, full)) == differs


def test_a_workflow_that_reads_none_is_the_same_in_a_project_without_variables(tmp_path: Path) -> None:
    text = document("[{a: {set: {r: '${ $runtime }'}}}]")
    assert "$bound" not in program(tmp_path, text, {})


@pytest.mark.parametrize(
    ("do", "more", "variables", "expected"),
    [
        (
            "[{a: {set: {r: '${ $runtime.vars.regoin }'}}}]",
            "",
            VARS,
            ":3:20 IOG364 $runtime.vars.regoin: no such variable in the setting vars;"
            ' it has db, other or region|did you mean "region"?',
        ),
        (
            "[{a: {set: {r: 1}}}]",
            "input: {from: '$runtime.vars.x'}\n",
            {},
            ":3:15 IOG364 $runtime.vars.x: no such variable in the setting vars; it is empty|"
            "write vars: {x: VALUE} in iogate.yaml",
        ),
        (
            "[{a: {set: {r: 1}}}]",
            "schedule: {on: {one: {with: {type: '${ $runtime.vars.x }'}}}}\n",
            {},
            ":3:36 IOG364 $runtime.vars.x: no such variable in the setting vars; it is empty|"
            "write vars: {x: VALUE} in iogate.yaml",
        ),
        (
            "[{a: {set: {r: $runtime.vars.x}}}]",
            "evaluate: {mode: loose}\n",
            {},
            ":4:20 IOG364 $runtime.vars.x: no such variable in the setting vars; it is empty|"
            "write vars: {x: VALUE} in iogate.yaml",
        ),
        (
            "[{a: {set: {r: 1}}}]",
            "$bound: {variables: {x: 1}}\n",
            {},
            ':3:1 IOG365 the key "$bound" is reserved: iogate stores what it resolved in it|remove it',
        ),
    ],
)
def test_an_error_has_its_place_and_a_hint(
    tmp_path: Path, do: str, more: str, variables: dict[str, Any], expected: str
) -> None:
    made = compiled(tmp_path, {"workflows.d/order.yaml": document(do, more=more)}, variables)
    (problem,) = [each for each in made.problems if each.code in ("IOG364", "IOG365")]
    message, hint = expected.split("|")
    found = f":{problem.line}:{problem.column} {problem.code} {problem.message}"
    assert (found, problem.hint) == (message, hint)


def test_a_loop_may_call_its_variable_runtime(tmp_path: Path) -> None:
    do = "[{a: {for: {each: runtime, in: '${ [] }'}, do: [{b: {set: {x: '${ $runtime.vars.x }'}}}]}}]"
    made = compiled(tmp_path, {"workflows.d/order.yaml": document(do)}, {})
    assert [problem.code for problem in made.errors] == []


def test_an_external_function_reads_no_variables(tmp_path: Path) -> None:
    url = "https://lib.example/f/function.yaml"
    files = {"workflows.d/order.yaml": document(f"[{{two: {{call: '{url}'}}}}]")}
    made = compiled(tmp_path, files, VARS, Web({url: "set: {r: '${ $runtime.vars.region }'}"}))
    (problem,) = made.errors
    assert problem.code == "IOG309"
    assert problem.message == (
        f"{url}:1:10: an external function cannot read $runtime.vars;"
        ' let its caller pass them in "with" (IOG309)'
    )
    web = Web({url: "set: '${ $runtime }'"})
    more = {
        "workflows.d/order.yaml": document(
            f"[{{one: {{set: '${{ $runtime }}'}}}}, {{two: {{call: '{url}'}}}}]"
        )
    }
    made = compiled(tmp_path, more, VARS, web)
    assert made.bundle is not None, told(made)
    loaded = load_program(json.loads(made.bundle.programs[digest(made)]))
    facts = RunFacts(uid="1", started_at_ms=0, input={})
    step = advance(loaded, State(), (), 0, facts, Environment())
    assert step.state.status == "completed"
    assert "vars" not in step.state.output


def test_the_standing_run_of_a_schedule_has_the_variables_of_its_filter(tmp_path: Path) -> None:
    text = document(
        "[{a: {set: {r: '${ $runtime.vars.other }'}}}]",
        more="schedule: {on: {one: {with: {type: '${ $runtime.vars.region }'}}}}\n",
    )
    made = standing(program(tmp_path, text))
    assert embedded(made["standing"]) == {"region": "eu"}
    assert load_program(made).variables == {"region": "eu"}


NAMES = st.sampled_from(["a", "b", "c_1"])
FORMS = [
    "$runtime.vars.{}",
    '$runtime["vars"].{}',
    '$runtime.vars["{}"]',
    "$runtime | .vars.{}",
    "$runtime.vars as $v | $v.{}",
    "$runtime as {{vars: $v}} | $v.{}",
    '"x\\($runtime.vars.{})"',
    '$runtime.vars | getpath(["{}"])',
    '["vars", "{}"] as $p | $runtime | getpath($p)',
]


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(NAMES, st.sampled_from(FORMS)), min_size=1, max_size=4))
def test_an_expression_has_the_value_of_each_variable_that_it_reads(chosen: list[tuple[str, str]]) -> None:
    declared = {"a": 1, "b": {"x": [2]}, "c_1": None, "d": 4}
    tasks = [
        {
            f"t{n}": {
                "set": f"${{ {form.format(name)} }}",
                "export": {"as": "${ [$context | arrays | .[]] + [.] }"},
            }
        }
        for n, (name, form) in enumerate(chosen)
    ]
    definition = {
        "document": {"dsl": "1.0.3", "namespace": "t", "name": "w", "version": "1.0.0"},
        "do": tasks,
        "output": {"as": "$context"},
    }
    only = run(embed(definition, declared))
    everything = run({**definition, "$bound": {"variables": declared}})
    assert only == everything
    assert len(only) == len(chosen)


def run(definition: dict[str, Any]) -> Any:
    facts = RunFacts(uid="1", started_at_ms=0, input={})
    step = advance(load_program(definition), State(), (), 0, facts, Environment())
    assert step.state.status == "completed", step.state.error
    return step.state.output
