"""Files that workflows name become part of the revision, and pin it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from iogate.compiler.compile import compile_documents
from iogate.documents import load
from iogate.settings import Settings
from tests.compiler.projects import api, bundle, compiled, told, workflow, write

SCRIPT = workflow().replace(
    "set: {ok: true}", "run: {script: {language: python, source: {endpoint: ../scripts/a%20b.py}}}"
)
SCHEMA = workflow() + "input: {schema: {resource: {endpoint: {uri: order.schema.json}}}}\n"


def test_a_script_is_kept_under_a_uri_that_carries_its_digest(tmp_path: Path) -> None:
    files = {"workflows.d/order.yaml": SCRIPT, "scripts/a b.py": "print(1)"}
    made = bundle(tmp_path, files)
    digest = hashlib.sha256(b"print(1)").hexdigest()
    uri = f"project:///scripts/a%20b.py#{digest}"
    assert made.revision.resources == {uri: digest}
    assert made.contents == {digest: b"print(1)"}
    (program,) = made.programs.values()
    assert json.loads(program)["do"][0]["done"]["run"]["script"]["source"] == {"endpoint": uri}


def test_another_script_is_another_program(tmp_path: Path) -> None:
    first = bundle(tmp_path, {"workflows.d/order.yaml": SCRIPT, "scripts/a b.py": "print(1)"})
    second = bundle(tmp_path, {"scripts/a b.py": "print(2)"})
    assert first.programs.keys().isdisjoint(second.programs)


@pytest.mark.parametrize("text", ['{"type": "object"}', "type: object\n"])
def test_an_external_schema_becomes_part_of_the_program_and_of_the_api(tmp_path: Path, text: str) -> None:
    made = bundle(
        tmp_path,
        {
            "workflows.d/order.yaml": SCHEMA,
            "workflows.d/order.schema.json": text,
            "apis.d/orders.yaml": api(),
        },
    )
    assert made.revision.apis["orders/submit"].input_schema == {"type": "object"}
    (program,) = made.programs.values()
    assert json.loads(program)["input"] == {"schema": {"document": {"type": "object"}}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "IOG306 workflows.d/order.schema.json does not exist"),
        ("{", "IOG306 workflows.d/order.schema.json:"),
        ('{"type": 1}', "IOG304 workflows.d/order.schema.json is not a JSON Schema: 1 is no type"),
    ],
)
def test_an_unusable_schema_is_reported(tmp_path: Path, content: str | None, expected: str) -> None:
    files = {"workflows.d/order.yaml": SCHEMA}
    if content is not None:
        files["workflows.d/order.schema.json"] = content
    (problem,) = told(compiled(tmp_path, files))
    assert problem.startswith("workflows.d/order.yaml:5:") or "order.yaml" in problem
    assert expected in problem


def test_a_link_does_not_lead_out_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("print(1)", encoding="utf-8")
    root = tmp_path / "project"
    write(root, {"workflows.d/order.yaml": SCRIPT, "scripts/x": ""})
    (root / "scripts/a b.py").symlink_to(tmp_path / "secret.py")
    (problem,) = told(compiled(root, {}))
    assert problem.endswith("IOG306 scripts/a b.py cannot be read: a link leads out of the project")


def test_a_folder_of_workflows_may_be_a_link(tmp_path: Path) -> None:
    root = tmp_path / "project"
    script = SCRIPT.replace("../scripts/", "")
    write(tmp_path / "shared", {"flows/order.yaml": script, "flows/a b.py": "print(1)"})
    root.mkdir()
    (root / "workflows.d").symlink_to(tmp_path / "shared/flows")
    assert told(compiled(root, {})) == []
    (root / "workflows.d").unlink()
    (root / "workflows.d").symlink_to("../shared/flows")
    (tmp_path / "shared/flows/a b.py").unlink()
    (tmp_path / "shared/flows/a b.py").symlink_to("/etc/hostname")
    (problem,) = told(compiled(root, {}))
    assert problem.endswith("IOG306 workflows.d/a b.py cannot be read: a link leads out of the project")


def test_a_file_outside_the_project_brings_its_own_folder(tmp_path: Path) -> None:
    """`iogate run ../other/flow.yaml` finds the script beside it."""
    elsewhere, root = tmp_path / "other", tmp_path / "project"
    write(elsewhere, {"flow.yaml": SCRIPT.replace("../scripts/", ""), "a b.py": "print(1)"})
    root.mkdir()
    documents = load(root, [elsewhere / "flow.yaml"])
    made = compile_documents(documents, Settings(), root=root, purpose="run", partial=True)
    assert made.errors == ()
    assert made.bundle is not None
    assert list(made.bundle.contents.values()) == [b"print(1)"]
