"""`allow_run` with digests: what a document starts is listed, or refused with the digest to add."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.compiler.checks.processes import process_digest
from iogate.compiler.compile import Compiled, compile_documents
from iogate.compiler.diagnostics import Purpose
from iogate.documents import load
from iogate.settings import Settings
from iogate.settings.permissions import AllowRun
from tests.compiler.projects import write
from tests.compiler.test_remote import Web
from tests.examples import examples

HEAD = "document: {dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}\ntimeout: {after: PT1M}\n"
OTHER = "sha256:" + "0" * 64


def compiled(
    root: Path, do: str, allow_run: AllowRun, purpose: Purpose = "apply", fetch: Any = None, **options: Any
) -> Compiled:
    write(root, {"workflows.d/order.yaml": HEAD + f"do: {do}\n", "workflows.d/a.py": "print(1)\n"})
    made = Settings(allow_run=allow_run, function_origins=("https://lib.example",))
    return compile_documents(load(root), made, root=root, purpose=purpose, fetch=fetch, **options)


def digests(made: Compiled) -> list[str]:
    return [each.digest for each in made.processes]


@pytest.mark.parametrize(
    ("kind", "run"),
    [
        ("shell", "{shell: {command: ls, arguments: ['-l'], environment: {A: '${ .a }'}}}"),
        ("script", "{script: {language: python, code: print(1)}}"),
        ("container", "{container: {image: alpine, command: id}}"),
    ],
)
def test_a_process_runs_only_if_its_digest_is_listed(tmp_path: Path, kind: Any, run: str) -> None:
    do = f"[{{ship: {{run: {run}}}}}]"
    refused = compiled(tmp_path, do, {kind: (OTHER,)})
    (problem,) = refused.errors
    (process,) = refused.processes
    assert (process.kind, process.workflow, process.task, process.allowed) == (
        kind,
        "shop/order:1.0.0",
        "ship",
        False,
    )
    assert process.place == "workflows.d/order.yaml:3"
    assert (problem.code, problem.path, problem.line, problem.column) == (
        "IOG368",
        "workflows.d/order.yaml",
        3,
        20,
    )
    assert problem.message == (
        f'the {kind} of task "ship" is not listed in the setting "allow_run": {process.digest}'
    )
    assert problem.hint == (
        f'read what it starts; if it may, add the digest to allow_run.{kind} ("iogate digests" prints all)'
    )
    assert compiled(tmp_path, do, {kind: (OTHER, process.digest)}).errors == ()
    assert compiled(tmp_path, do, {kind: True}).errors == ()
    assert [each.code for each in compiled(tmp_path, do, {kind: False}).errors] == ["IOG316"]
    assert [each.code for each in compiled(tmp_path, do, {kind: ()}).errors] == ["IOG368"]


def test_a_kind_that_the_map_lacks_is_not_allowed(tmp_path: Path) -> None:
    (problem,) = compiled(tmp_path, "[{a: {run: {shell: {command: ls}}}}]", {"script": True}).errors
    assert problem.message == 'running a shell is not allowed by the setting "allow_run"'
    assert problem.hint == "if it may, write allow_run: {shell: true}, or a list of digests in iogate.yaml"


def test_a_script_is_known_by_its_content_wherever_that_is(tmp_path: Path) -> None:
    do = """
  - one: {run: {script: {language: python, source: {endpoint: a.py}}}}
  - two: {run: {script: {language: python, code: "print(1)\\n"}}}
  - three: {run: {script: {language: js, code: "print(1)\\n"}}}
  - four: {run: {script: {language: python, source: {endpoint: 'https://lib.example/a.py'}}}}"""
    web = Web({"https://lib.example/a.py": "print(1)\n"})
    one, two, three, four = digests(compiled(tmp_path, do, ("script",), fetch=web))
    assert one == two == four != three
    # `validate` uses no network: it says nothing of the fourth.
    made = compiled(tmp_path, do, {"script": (one, three)}, "validate")
    assert (made.errors, digests(made)) == ((), [one, two, three])
    write(tmp_path, {"workflows.d/a.py": "print(2)\n"})
    again = compile_documents(
        load(tmp_path), Settings(allow_run={"script": (one, three)}), root=tmp_path, fetch=web
    )
    assert [(each.code, each.line) for each in again.errors] == [("IOG368", 4)]


def test_an_external_function_is_refused_where_the_workflow_calls_it(tmp_path: Path) -> None:
    url = "https://lib.example/f/function.yaml"
    do = f"[{{one: {{set: {{n: 1}}}}}}, {{two: {{call: '{url}'}}}}]"
    web = Web({url: "run: {shell: {command: id}}"})
    made = compiled(tmp_path, do, {"shell": (OTHER,)}, fetch=web)
    (problem,) = made.errors
    (process,) = made.processes
    assert (problem.code, problem.line, problem.column) == ("IOG368", 3, 41)
    assert problem.message == (
        f'{url}:1: the shell of task "{url}" is not listed in the setting "allow_run": {process.digest}'
    )
    assert compiled(tmp_path, do, {"shell": (process.digest,)}, fetch=web).errors == ()


def test_run_allows_all_and_lenient_validation_warns(tmp_path: Path) -> None:
    do = "[{a: {run: {shell: {command: ls}}}}]"
    assert compiled(tmp_path, do, {"shell": ()}, "run").errors == ()
    made = compiled(tmp_path, do, {"shell": ()}, "validate", allow_unsupported=True)
    assert [(each.code, each.severity) for each in made.problems] == [("IOG368", "warning")]


VALUES = st.text(max_size=4) | st.lists(st.text(max_size=3), max_size=2)
MEMBERS = {
    "shell": ("command", "arguments", "environment", "stdin"),
    "script": ("language", "code", "arguments", "environment", "stdin"),
    "container": ("image", "command", "arguments", "environment", "volumes", "ports", "stdin"),
}


@settings(max_examples=examples(100))
@given(st.data())
def test_a_digest_is_of_all_that_decides_what_runs_and_of_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(MEMBERS)))
    source = {name: data.draw(st.text(min_size=1, max_size=4)) for name in MEMBERS[kind]}
    run = {kind: source}
    digest = process_digest(run)
    assert digest is not None
    reordered = {name: source[name] for name in reversed(MEMBERS[kind])}
    extras = {"return": "all", "await": False}
    assert process_digest({**extras, kind: reordered}) == digest
    if kind == "container":
        ignored = {"name": "a", "lifetime": {"cleanup": "always"}, "pullPolicy": "never"}
        assert process_digest({kind: source | ignored}) == digest
    changed = copy.deepcopy(run)
    name = data.draw(st.sampled_from(MEMBERS[kind]))
    changed[kind][name] += data.draw(st.text(min_size=1, max_size=3))
    assert process_digest(changed) != digest
    assert process_digest({kind: {key: each for key, each in source.items() if key != name}}) != digest


def test_empty_members_count_as_absent() -> None:
    bare = process_digest({"shell": {"command": "ls"}})
    assert (
        process_digest({"shell": {"command": "ls", "arguments": [], "environment": {}, "stdin": None}})
        == bare
    )


def test_the_mode_of_evaluation_is_part_of_a_digest(tmp_path: Path) -> None:
    do = "[{a: {run: {shell: {command: date}}}}]"
    (strict,) = digests(compiled(tmp_path, do, ("shell",)))
    assert strict == process_digest({"shell": {"command": "date"}})
    loose = compiled(tmp_path, f"{do}\nevaluate: {{mode: loose}}", {"shell": (strict,)})
    assert [each.code for each in loose.errors] == ["IOG368"]
    assert digests(loose) == [process_digest({"shell": {"command": "date"}}, loose=True)]


def test_a_script_with_two_texts_has_no_digest() -> None:
    """A program of another compiler may have both: the worker would execute the second one."""
    source = {"endpoint": "project:///a.py#" + "0" * 64}
    run = {"script": {"language": "python", "code": "print(1)", "source": source}}
    assert process_digest(run) is None


def test_a_script_whose_document_was_not_read_has_no_digest() -> None:
    assert process_digest({"script": {"language": "python", "source": {"endpoint": "a.py"}}}) is None
