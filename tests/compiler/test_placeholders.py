"""Invalid documents: all their errors are reported in one pass, and each error once."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.compiler.compile import Compiled, compile_documents
from iogate.documents import load, load_text, render_all
from iogate.settings import Settings
from tests.compiler.projects import write
from tests.documents.seeds import SEEDS, Seed

HEAD = "document: {dsl: 1.0.0, namespace: shop, name: fulfil, version: 1.0.0}\n"


def compiled(text: str, *, partial: bool = True) -> Compiled:
    settings = Settings(allow_run=("script", "shell", "container"))
    return compile_documents(load_text(text, "a.yaml"), settings, root=Path(), partial=partial)


def codes(text: str, *, partial: bool = True) -> list[str]:
    return [problem.code for problem in compiled(text, partial=partial).errors]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name.replace(" ", "-"))
def test_a_mistake_is_reported_once_without_consequential_errors(seed: Seed) -> None:
    text, line, column = seed.planted()
    errors = compiled(text).errors
    found = [(problem.line, problem.column, problem.code) for problem in errors]
    assert found == [(line, column, seed.code)], render_all(errors, {})


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
def test_the_rest_of_a_workflow_with_an_invalid_task_is_checked(tasks: str, expected: list[str]) -> None:
    assert codes(f"{HEAD}do:\n{tasks}\n") == expected


def test_an_invalid_function_still_exists_for_its_callers() -> None:
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
def test_tasks_are_checked_despite_an_error_at_the_top(head: str, code: str) -> None:
    assert codes(f"{head}do:\n- a: {{set: '${{ .x + }}'}}\n") == [code, "IOG314"]


def test_an_error_with_too_many_consequences_stops_the_checks() -> None:
    assert codes(f"{HEAD}use: {{retries: {{often: {{delay: P1X}}}}}}\ndo:\n- a: {{set: '${{ ) }}'}}\n") == [
        "IOG205"
    ]
    assert codes(f"{HEAD}do:\n- a: {{wait: PT1S}}\n  b: {{wait: PT1S}}\n- c: {{set: '${{ ) }}'}}\n") == [
        "IOG209"
    ]


def test_warnings_are_withheld_from_an_invalid_workflow() -> None:
    end = "- a: {set: {x: 1}, then: end}\n- b: {set: {x: 2}}\n"
    assert [problem.code for problem in compiled(f"{HEAD}do:\n{end}").problems] == ["IOG507"]
    broken = compiled(f"{HEAD}do:\n{end}- c: {{wait: P1X}}\n")
    assert [problem.code for problem in broken.problems] == ["IOG205"]


def test_refusals_of_apply_are_not_withheld() -> None:
    tasks = "- a: {wait: P1X}\n- b: {run: {shell: {command: ls}}}\n"
    read = load_text(f"{HEAD}do:\n{tasks}", "a.yaml")
    made = compile_documents(
        read, Settings(), root=Path(), purpose="validate", partial=True, allow_unsupported=True
    )
    assert [(problem.code, problem.severity) for problem in made.problems] == [
        ("IOG205", "error"),
        ("IOG316", "warning"),
    ]


def test_other_methods_than_an_invalid_one_are_checked() -> None:
    api = (
        "module: orders\ntimeout: 1m\nmethods:\n"
        "  one: {auth: none, workflow: shop/fulfil, methods: [POST]}\n"
        "  two: {auth: none, workflow: shop/gone, input: {schema: {type: objectt}}}\n"
        "  three: {workflow: shop/gone}\n"
    )
    assert codes(api, partial=False) == ["IOG303", "IOG101", "IOG303", "IOG304", "IOG107", "IOG303"]
    assert codes(api.replace("workflow: shop/fulfil", "workflow: fulfil"), partial=False) == [
        "IOG105", "IOG101", "IOG303", "IOG304", "IOG107", "IOG303",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("timeout: 5\n", ["IOG103", "IOG303", "IOG317"]),
        ("auth: {tokn: x}\n", ["IOG101", "IOG303", "IOG317"]),
        ("tags: [a]\ntags: [b]\n", ["IOG121", "IOG303", "IOG317"]),
        ("verbs: [PUT]\n", ["IOG104", "IOG303"]),  # which verbs are meant is not known
    ],
)
def test_methods_of_an_invalid_module_are_checked(head: str, expected: list[str]) -> None:
    case = "debug: [{name: a, verb: GET}]"
    api = f"module: orders\n{head}methods:\n  one: {{auth: none, timeout: 1m, workflow: shop/gone, {case}}}\n"
    assert codes(api, partial=False) == expected


PROJECT = {
    "workflows.d/pay.yaml": f"{HEAD.replace('fulfil', 'pay')}do:\n- a: {{set: {{x: 1}}}}\n",
    "workflows.d/parent.yaml": (
        f"{HEAD.replace('fulfil', 'parent')}do:\n"
        "- a: {run: {workflow: {namespace: shop, name: broken, version: latest}}}\n"
        "- b: {run: {workflow: {namespace: shop, name: gone, version: latest}}}\n"
    ),
    "apis.d/orders.yaml": (
        "module: orders\ntimeout: 1m\nauth: none\nmethods:\n"
        "  one: {workflow: shop/broken}\n"
        "  two: {workflow: shop/gone}\n"
        "  three: {workflow: shop/parent, debug: [{name: a, mocks: {/do/0/a/do/0/x: {output: 1}}}]}\n"
        "  four: {workflow: shop/pay, debug: [{name: a, mocks: {/do/0/x: {output: 1}}}]}\n"
    ),
}
BROKEN = HEAD.replace("fulfil", "broken")


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        # Its own references, too: to a workflow, a script, a name in "use".
        (
            f"{BROKEN}do:\n- x: {{wait: P1X}}\n"
            "- y: {run: {workflow: {namespace: shop, name: gone, version: latest}}}\n"
            "- z: {run: {script: {language: python, source: {endpoint: gone.py}}}}\n"
            "- u: {raise: {error: gone}}\n",
            ["IOG205", "IOG303", "IOG306", "IOG313"],
        ),
        # No YAML; it mentions the workflow that is missing, which does not make it that one.
        (f"{BROKEN}do:\n- x: {{set: {{gone: [}}}}\n", ["IOG120"]),
        # A key that stands twice: the document as such is complete.
        (
            f"{BROKEN}do:\n- x: {{set: {{a: 1, a: 2}}}}\n- u: {{raise: {{error: gone}}}}\n",
            ["IOG121", "IOG313"],
        ),
        # Its own name is at fault: it may be the one.
        (f"{BROKEN.replace('namespace: shop', 'namespace: Shop!')}do:\n- x: {{set: {{a: 1}}}}\n", ["IOG205"]),
    ],
    ids=["invalid", "no-yaml", "said-twice", "invalid-name"],
)
def test_an_error_in_one_file_hides_no_reference_of_another(
    tmp_path: Path, broken: str, expected: list[str]
) -> None:
    write(tmp_path, {**PROJECT, "workflows.d/broken.yaml": broken})
    made = compile_documents(load(tmp_path), Settings(allow_run=("script",)), root=tmp_path)
    found = [(problem.path, problem.line, problem.code) for problem in made.errors]
    assert [each for each in found if each[0] != "workflows.d/broken.yaml"] == [
        ("apis.d/orders.yaml", 6, "IOG303"),
        ("apis.d/orders.yaml", 8, "IOG318"),
        ("workflows.d/parent.yaml", 4, "IOG303"),
    ]
    assert sorted(code for path, _, code in found if path == "workflows.d/broken.yaml") == expected


def test_an_unreadable_file_may_contain_any_workflow(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"apis.d/orders.yaml": "module: m\ntimeout: 1m\nauth: none\nmethods: {a: {workflow: s/w}}\n"},
    )
    (tmp_path / "apis.d/other.yaml").write_bytes(b"\xff")
    made = compile_documents(load(tmp_path), Settings(), root=tmp_path)
    assert [problem.code for problem in made.errors] == ["IOG127"]
    (tmp_path / "apis.d/other.yaml").write_bytes(b"")
    made = compile_documents(load(tmp_path), Settings(), root=tmp_path)
    assert [problem.code for problem in made.errors] == ["IOG303", "IOG129"]
