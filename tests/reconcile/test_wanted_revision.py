"""Parts of the files, and orphans: what is kept fits what is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.errors import Refused
from iogate.reconcile.wanted_revision import Scope, wanted
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


@pytest.mark.parametrize("scope", [Scope(keep_orphans=True), Scope(select="new")])
def test_the_path_of_an_api_that_stays_is_not_taken(tmp_path: Path, scope: Scope) -> None:
    own = "  {name}: {{workflow: shop/order, path: /hooks/a, tags: [{name}]}}\n"
    live = {"apis.d/a.yaml": API + own.format(name="old"), "workflows.d/w.yaml": WORKFLOW}
    files = {"apis.d/a.yaml": API + own.format(name="new"), "workflows.d/w.yaml": WORKFLOW}
    before, after = bundle(tmp_path / "live", live), bundle(tmp_path / "new", files)
    with pytest.raises(Refused) as caught:
        wanted(before.revision, after, scope)
    assert caught.value.code == "IOG159"
    assert caught.value.message == (
        "path /hooks/a of shop/new in apis.d/a.yaml is that of shop/old, which stays live"
    )
    assert wanted(before.revision, after, Scope()) is after
