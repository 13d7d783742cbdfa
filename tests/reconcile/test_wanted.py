"""Parts of the files, and orphans: what is kept fits what is new."""

from __future__ import annotations

from pathlib import Path

from iogate.reconcile.wanted import Scope, wanted
from tests.compiler.projects import bundle

API = "module: shop\nauth: none\ntimeout: 1m\nmethods:\n"
BUY = "  buy: {workflow: shop/order}\n"
SELL = "  sell: {workflow: shop/order}\n"
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: order, version: 1.0.0}
do: [{first: {set: {a: 1}}}]
"""


def test_an_orphan_starts_its_workflow_as_the_files_have_it(tmp_path: Path) -> None:
    live = bundle(tmp_path / "live", {"apis.d/a.yaml": API + BUY + SELL, "workflows.d/w.yaml": WORKFLOW})
    files = {"apis.d/a.yaml": API + BUY, "workflows.d/w.yaml": WORKFLOW.replace("a: 1", "a: 2")}
    found = wanted(live.revision, bundle(tmp_path / "new", files), Scope(keep_orphans=True))
    assert found.revision.apis.keys() == {"shop/buy", "shop/sell"}
    (workflow,) = found.revision.workflows.values()
    assert {api.program for api in found.revision.apis.values()} == {workflow.program}
    assert found.revision.programs == found.programs.keys()
