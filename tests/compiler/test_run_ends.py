"""`callback` and `on_fault`: inherited from the module, pinned to the revision, checked when compiled."""

from __future__ import annotations

from pathlib import Path

from iogate.auth.model import EnvSecret
from iogate.compiler.compile import Compiled, compile_documents
from iogate.compiler.revision import Callback, FaultHandler, decode, encode
from iogate.documents import load
from iogate.functions import Registry
from iogate.settings import Settings
from tests.compiler.projects import write

WORKFLOW = "document: {dsl: 1.0.3, namespace: n, name: NAME, version: 1.0.0}\ndo: [{a: {set: {b: 1}}}]\n"
PICKY = """document: {dsl: 1.0.3, namespace: n, name: picky, version: 1.0.0}
input: {schema: {document: {type: object, required: [uid, ticket]}}}
do: [{a: {set: {b: 1}}}]
"""
LENIENT = PICKY.replace("picky", "lenient").replace(
    "required: [uid, ticket]", "properties: {input: {type: string}, error: {type: object}}"
)
API = """module: m
auth: none
timeout: 1m
callback: {url: 'https://h.example/x', secret: {env: CB}, on: [faulted, completed]}
on_fault: n/notify
methods:
  a: {workflow: n/w}
  b: {workflow: n/w, on_fault: n/lenient, callback: {allow: ['*.example'], secret: {file: /run/cb}}}
"""


def project(root: Path, api: str = API) -> Compiled:
    names = {f"workflows.d/{name}.yaml": WORKFLOW.replace("NAME", name) for name in ("w", "notify")}
    others = {"workflows.d/picky.yaml": PICKY, "workflows.d/lenient.yaml": LENIENT}
    write(root, {"apis.d/m.yaml": api, **names, **others})
    return compile_documents(load(root), Settings(), root=root, functions=Registry({}))


def test_both_are_part_of_the_revision(tmp_path: Path) -> None:
    bundle = project(tmp_path).bundle
    assert bundle is not None
    revision = decode(encode(bundle.revision))
    first, second = revision.apis["m/a"], revision.apis["m/b"]
    assert first.callback == Callback(
        url="https://h.example/x", secret=EnvSecret(name="CB"), on=("completed", "faulted")
    )
    assert isinstance(second.callback, Callback)
    assert second.callback.allow == ("*.example",)
    notify = revision.workflows["n/notify:1.0.0"].program
    assert first.on_fault == FaultHandler(workflow="n/notify:1.0.0", program=notify)
    assert second.started == ("n/w:1.0.0", "n/lenient:1.0.0")


def test_an_api_without_them_keeps_its_digest(tmp_path: Path) -> None:
    plain = "module: m\nauth: none\ntimeout: 1m\nmethods:\n  a: {workflow: n/w}\n"
    bundle = project(tmp_path, plain).bundle
    assert bundle is not None
    assert b"callback" not in encode(bundle.revision)
    assert b"on_fault" not in encode(bundle.revision)


def test_the_workflow_of_a_fault_exists_and_accepts_its_input(tmp_path: Path) -> None:
    api = API.replace("on_fault: n/notify", "on_fault: n/notfy").replace("n/lenient", "n/picky")
    found = [(each.code, each.line, each.message) for each in project(tmp_path, api).problems]
    assert found == [
        ("IOG303", 5, 'no workflow "n/notfy"'),
        (
            "IOG178",
            8,
            "the input schema of n/picky:1.0.0 refuses what a fault gives it: "
            '"ticket" is a required property',
        ),
    ]
