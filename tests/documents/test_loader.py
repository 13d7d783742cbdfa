"""Loading of projects: selection and kind of files, and all problems of all files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iogate.auth.model import EnvSecret, NoAuth, TokenAuth
from iogate.documents import Problem, Source, load, load_text, render, render_all
from iogate.documents.api import Method

API = "module: {module}\nauth: none\ntimeout: 5m\nmethods: {{run: {{workflow: a/b}}}}\n"
WORKFLOW = "document: {dsl: 1.0.0, namespace: a, name: b, version: 1.0.0}\ndo: [{x: {set: {y: 1}}}]\n"


def write(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_folders_are_read_with_subfolders_and_without_hidden_files(
    tmp_path: Path,
) -> None:
    write(tmp_path, "apis.d/a.yaml", API.format(module="a"))
    write(tmp_path, "apis.d/deep/er/b.yml", API.format(module="b"))
    write(tmp_path, "workflows.d/w.yaml", WORKFLOW)
    for ignored in ("apis.d/.hidden.yaml", "apis.d/.git/c.yaml", "apis.d/notes.txt", "other/d.yaml"):
        write(tmp_path, ignored, "not: [read")
    documents = load(tmp_path)
    assert [api.path for api in documents.apis] == ["apis.d/a.yaml", "apis.d/deep/er/b.yml"]
    assert [workflow.path for workflow in documents.workflows] == ["workflows.d/w.yaml"]
    assert documents.problems == ()


def test_an_empty_project_has_no_documents_and_no_problems(tmp_path: Path) -> None:
    documents = load(tmp_path)
    assert (documents.apis, documents.workflows, documents.problems) == ((), (), ())


def test_the_content_determines_the_kind_of_a_document(tmp_path: Path) -> None:
    write(tmp_path, "apis.d/w.yaml", WORKFLOW)
    write(tmp_path, "workflows.d/a.yaml", API.format(module="a"))
    documents = load(tmp_path)
    assert len(documents.apis) == len(documents.workflows) == 1


def test_named_files_and_folders_are_read_once_each(tmp_path: Path) -> None:
    file = write(tmp_path, "somewhere/a.txt", API.format(module="a"))
    write(tmp_path, "somewhere/b.yaml", API.format(module="b"))
    documents = load(tmp_path, [file, tmp_path / "somewhere", file])
    assert [api.path for api in documents.apis] == ["somewhere/a.txt", "somewhere/b.yaml"]


def test_all_problems_of_all_files_are_reported_in_order(tmp_path: Path) -> None:
    write(tmp_path, "apis.d/b.yaml", API.format(module="b").replace("timeout: 5m", "timeout: 5"))
    write(tmp_path, "apis.d/a.yaml", "module: a\nmethods: [\n")
    write(tmp_path, "workflows.d/w.yaml", WORKFLOW.replace("set", "sett"))
    write(tmp_path, "workflows.d/v.yaml", WORKFLOW)
    documents = load(tmp_path)
    assert [(problem.path, problem.line, problem.code) for problem in documents.errors] == [
        ("apis.d/a.yaml", 2, "IOG120"),
        ("apis.d/b.yaml", 3, "IOG103"),
        ("workflows.d/w.yaml", 2, "IOG207"),
    ]
    assert [workflow.path for workflow in documents.workflows] == ["workflows.d/v.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, "apis.d/a.yaml", "").chmod(0)
    assert [problem.code for problem in load(tmp_path).problems] == ["IOG134"]


def test_a_missing_file_and_a_broken_link_are_problems_and_a_pipe_in_a_folder_does_not_block(
    tmp_path: Path,
) -> None:
    (tmp_path / "apis.d").mkdir()
    os.mkfifo(tmp_path / "apis.d" / "pipe.yaml")
    (tmp_path / "apis.d" / "link.yaml").symlink_to("nowhere.yaml")
    documents = load(tmp_path, [tmp_path / "apis.d", tmp_path / "gone.yaml"])
    assert [(problem.path, problem.message) for problem in documents.problems] == [
        ("apis.d/link.yaml", f"cannot read the file: {os.strerror(2)}"),
        ("gone.yaml", f"cannot read the file: {os.strerror(2)}"),
    ]


def test_a_method_inherits_from_its_module_and_from_the_defaults() -> None:
    text = """\
module: orders
auth: {token: {env: T}}
verbs: [GET]
limits: {rate: 50/s, body: 2MiB}
idempotency: {ttl: 1h}
timeout: 5m
tags: [a]
metadata: {owner: x, tier: 1}
methods:
  plain: {workflow: a/b}
  own:
    workflow: a/b
    auth: none
    verbs: [POST]
    limits: {body: 64KiB}
    retention: 1d
    tags: []
    metadata: {owner: y}
"""
    (api,) = load_text(text, "apis.d/orders.yaml").apis
    plain, own = api.model.methods["plain"], api.model.methods["own"]
    assert plain.auth == TokenAuth(tokens={"token": (EnvSecret(name="T"),)})
    assert (plain.verbs, plain.timeout, plain.retention) == (["GET"], 300.0, 604_800.0)
    assert limits_of(plain) == (2 * 2**20, 50.0, 10_000, None)
    assert (plain.protect, plain.tags, plain.debug, plain.enabled) == (False, ["a"], [], None)
    assert own.auth == NoAuth()
    assert (own.verbs, own.retention, own.tags) == (["POST"], 86_400.0, [])
    assert limits_of(own) == (65_536, 50.0, 10_000, None), "limits add up key by key"
    assert own.metadata == {"owner": "y", "tier": 1}
    assert own.idempotency is not None
    assert (own.idempotency.header, own.idempotency.ttl) == (None, 3600.0)


def limits_of(method: Method) -> tuple[int, float | None, int, int | None]:
    assert method.limits is not None
    limits = method.limits
    return limits.body, limits.rate, limits.queued, limits.running


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("1KiB", 1024), ("1.5MiB", 1_572_864), ("500kB", 500_000), ("2 GB", 2 * 10**9)],
)
def test_sizes_are_parsed_to_bytes(text: str, size: int) -> None:
    documents = load_text(API.format(module="a") + f"limits: {{body: {text}}}\n")
    limits = documents.apis[0].model.methods["run"].limits
    assert limits is not None
    assert limits.body == size


@pytest.mark.parametrize(("text", "rate"), [("50/s", 50.0), ("90/m", 1.5), ("3600/h", 1.0), ("0.5/s", 0.5)])
def test_rates_are_parsed_to_calls_per_second(text: str, rate: float) -> None:
    documents = load_text(API.format(module="a") + f"limits: {{rate: {text}}}\n")
    limits = documents.apis[0].model.methods["run"].limits
    assert limits is not None
    assert limits.rate == rate


def test_a_document_locates_later_problems() -> None:
    (workflow,) = load_text(WORKFLOW, "w.yaml").workflows
    span = workflow.at(("do", 0, "x"), key=True)
    problem = Problem.at(span, path=workflow.path, code="IOG301", message="no such thing", hint="try y")
    assert (problem.line, problem.column, problem.length) == (2, 7, 1)
    assert render(problem, workflow.source) == (
        "w.yaml:2:7: error IOG301: no such thing\n  2 | do: [{x: {set: {y: 1}}}]\n    |       ^ try y"
    )


def test_a_literal_secret_is_a_warning_and_masked_in_snippets() -> None:
    text = API.format(module="a").replace("none", "{user: ann, password: hush-hush}") + "zzz: 1\n"
    documents = load_text(
        text + "auth2: {secret: 'hush-hush\n  hush-hush', tokens: {a: hush-hush}}\n", "a.yaml"
    )
    assert "IOG501" in {problem.code for problem in documents.problems}
    for number in range(1, 8):
        assert "hush" not in (documents.sources["a.yaml"].line(number) or "")
    assert "hush" not in render_all(documents.problems, documents.sources)


def test_a_long_line_is_cut_around_the_error_without_control_characters() -> None:
    source = Source(path="a.yaml", text="x" * 1_000 + "\u4e16\t\x1b[31m!")
    shown = render(
        Problem(code="IOG101", message="m", path="a\x1b.yaml", line=1, column=1_001, length=1), source
    )
    head, line, caret = shown.splitlines()
    assert head == "a\ufffd.yaml:1:1001: error IOG101: m"
    assert line == "  1 | " + "x" * 80 + "\u4e16\t\ufffd[31m!"
    assert caret == "    | " + " " * 80 + "^^", "a wide character is underlined by two"


def test_a_problem_without_a_source_line_shows_its_hint() -> None:
    problem = Problem(code="IOG134", message="cannot read", path="a.yaml", line=1, column=1, hint="look")
    assert render(problem, None) == "a.yaml:1:1: error IOG134: cannot read\n  look"


@pytest.mark.parametrize(
    "auth",
    [
        "{tokn: hush}",
        "hush",
        "{token: hush, zzz: 1}",
        "{token: {vault: hush}}",
        "{tokens: {ann: hush, bob: [hush, hush]}, zzz: 1}",
        "{users: {ann: 'hush'}}, zzz: 1}",
        "{any: [{token: hush}, {user: ann, password: hush}], zzz: 1}",
        "{signature: {scheme: github, secrt: hush}}",
        "\n  tokens:\n    ann: hush\n    ann: hush\n",
        "\n  tokens:\n    ann: hush\n    bob: [hush\n",
        "\n  password: |\n    hush\n  - hush\n",
        "\n  tokens:\n    ann: hush\n   bob: hush\n",
        "{token: hush",
        "{user: ann, password: 'hush",
        "{tokens: {ann: @hush}}",
    ],
)
def test_no_secret_of_a_broken_document_is_shown(auth: str) -> None:
    documents = load_text(f"module: a\nauth: {auth}\nmethods: {{run: {{workflow: a/b}}}}\n", "a.yaml")
    told = render_all(documents.problems, documents.sources)
    assert documents.problems
    assert "hush" not in told
    for number in range(1, 9):
        assert "hush" not in (documents.sources["a.yaml"].line(number) or "")


@pytest.mark.parametrize("column", [3, 70, 150])
def test_a_narrow_terminal_gets_short_lines_with_the_place_in_view(column: int) -> None:
    line = "".join(chr(ord("a") + number % 26) for number in range(160))
    hint = "add one, such as timeout: 5m, to each, or to the module"
    problem = Problem(
        path="a.yaml", line=1, column=column, length=5, code="IOG502", message="no timeout", hint=hint
    )
    source = Source(path="a.yaml", text=line)
    _, shown, caret, *below = render(problem, source, width=60).splitlines()
    assert max(map(len, (shown, caret, *below))) <= 60
    marked = shown[caret.index("^") :][:5]
    assert marked == line[column - 1 :][:5]
    assert " ".join(each.removeprefix("    | ") for each in below) == hint
    assert render(problem, source, width=300).splitlines()[2].endswith(f"^^^^^ {hint}")
