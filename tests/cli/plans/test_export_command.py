"""`iogate export`: the files of a revision, which plan as no change."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from iogate.compiler.revision import Bundle, Revision, Workflow, canonical, digest_of
from iogate.errors import Refused
from iogate.reconcile.export import export
from tests.cli.conftest import Cli
from tests.cli.place import API, WORKFLOW
from tests.cli.plans.conftest import Git

SECRET = "canary-8d1f"
OPENAPI = '{"openapi": "3.0.0", "paths": {"/p": {"get": {"operationId": "ping", "responses": {}}}}}'


def test_an_export_plans_as_no_change(project: Cli) -> None:
    project.write(
        "apis.d/deep/er.yml",
        f"module: er\nauth: {{token: {SECRET}}}\nmethods:\n  x: {{workflow: shop/runs, timeout: 1m}}\n",
    )
    task = "a: {run: {script: {language: python, source: {endpoint: ../lib/run.py}}}}"
    project.write("workflows.d/deep/runs.yaml", WORKFLOW.format(name="runs", task=task))
    project.write("workflows.d/lib/run.py", "print('é')\n")
    project.write(
        "workflows.d/vars.yaml",
        WORKFLOW.format(name="vars", task="a: {set: {x: '${ $runtime.vars.region }'}}"),
    )
    project.write("iogate.yaml", "vars: {region: eu, unused: x}\nallow_run: [script]\n")
    project("apply", "--yes")
    ran = project("export", "--to", "out")
    assert "out/apis.d/deep/er.yml" in ran.out.splitlines()
    assert (
        "revision 1: 11 files; comments, debug cases and settings except vars are not part of it" in ran.err
    )
    assert (project.root / "out/workflows.d/lib/run.py").read_text() == "print('é')\n"
    texts = {path: path.read_text() for path in (project.root / "out").rglob("*") if path.is_file()}
    assert SECRET not in "".join(texts.values())
    assert "hash: " in texts[project.root / "out/apis.d/deep/er.yml"]
    assert (project.root / "out/iogate.yaml").read_text() == "vars:\n  region: eu\n"
    project.write("out/iogate.yaml", "vars: {region: eu}\nallow_run: [script]\n")
    assert project("-C", "out", "plan", "--exit-code").out.startswith("No changes")


def test_an_earlier_revision_can_be_exported(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", API.replace("  lacking:", "  needing:"))
    project("apply", "--yes", "--prune")
    found = project("export", "1", "--to", "out", "-o", "json").json
    assert (found["schema"], found["revision"], found["missing"]) == ("iogate.export/v1", 1, [])
    assert "lacking:" in (project.root / "out/apis.d/shop.yaml").read_text()


def test_a_folder_with_files_is_refused_without_force(project: Cli) -> None:
    project("apply", "--yes")
    project.write("out/other.txt", "kept")
    project.write("out/iogate.yaml", "port: 9\n")
    ran = project("export", "--to", "out", code=4)
    assert "out is not empty [IOG713]" in ran.err
    assert "name another folder, or pass --force to replace files of the same name" in ran.err
    project("export", "--to", "out", "--force")
    assert (project.root / "out/other.txt").read_text() == "kept"
    assert (project.root / "out/iogate.yaml").read_text() == "port: 9\n"
    project.write("file", "")
    assert "--to file: cannot be written" in project("export", "--to", "file", code=64).err


def test_what_a_revision_does_not_keep_is_named(git: Git, project: Cli) -> None:
    task = "a: {call: openapi, with: {document: {endpoint: api.json}, operationId: ping}}"
    project.write("workflows.d/calls.yaml", WORKFLOW.format(name="calls", task=task))
    project.write(
        "workflows.d/api.json",
        OPENAPI.replace('"paths"', '"servers": [{"url": "https://x.example"}], "paths"'),
    )
    git.commit()
    project("apply", "--yes")
    ran = project("export", "--to", "out")
    place = "workflows.d/api.json, which shop/calls:1.0.0 names at /do/0/a/with/document/endpoint"
    assert f"warning: a revision does not keep {place}: take it from git at commit " in ran.err


def test_nothing_to_export_is_told(project: Cli) -> None:
    assert "no revision was applied yet" in project("export", "--to", "out", code=8).err
    project("apply", "--yes")
    assert "there is no revision 9" in project("export", "9", "--to", "out", code=8).err
    assert not (project.root / "out").exists()


OUTSIDE = "which is outside of the project"
OWN = "which is no file of a workflow"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../etc/passwd", OUTSIDE),
        ("/etc/passwd", OUTSIDE),
        ("..", OUTSIDE),
        (".git/config", OWN),
        ("scripts/../sub/.GIT/hooks/post-checkout", OWN),
        ("iogate.yaml", OWN),
        ("./iogate.prod.yaml", OWN),
        (".iogate/redis/dump.rdb", OWN),
    ],
)
def test_no_file_leads_out_of_the_folder(name: str, why: str) -> None:
    content = b"x"
    uri = f"project:///{name}#{'0' * 64}"
    definition = {
        "document": {"name": "w"},
        "do": [{"a": {"run": {"script": {"source": {"endpoint": uri}}}}}],
    }
    program = digest_of(definition)
    revision = Revision(apis={}, workflows={"s/w:1.0.0": Workflow(program=program, source="../../x.yaml")})
    bundle = Bundle(
        revision=revision, programs={program: canonical(definition)}, contents={"0" * 64: content}
    )
    with pytest.raises(Refused) as caught:
        export(bundle)
    assert why in caught.value.message
    harmless = {"document": {"name": "w"}, "do": []}
    safe = msgspec.structs.replace(bundle, programs={program: canonical(harmless)})
    assert list(export(safe).documents) == ["workflows.d/s/w-1.0.0.yaml"]
    assert not Path("../../x.yaml").exists()
