"""Parts of the files, and orphans: what is kept fits what is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.compiler.revision import Bundle
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


def test_a_selection_does_not_change_a_child_of_what_is_not_selected(tmp_path: Path) -> None:
    parent = WORKFLOW.replace("name: order", "name: parent").replace(
        "{set: {a: 1}}", "{run: {workflow: {namespace: shop, name: order, version: 1.0.0}}}"
    )
    files = {
        "apis.d/a.yaml": API
        + BUY.replace("order}", "order:1.0.0, tags: [buy]}")
        + "  sell: {workflow: shop/parent}\n",
        "workflows.d/p.yaml": parent,
        "workflows.d/w.yaml": WORKFLOW,
    }
    live = bundle(tmp_path / "live", files)
    changed = bundle(tmp_path / "new", files | {"workflows.d/w.yaml": WORKFLOW.replace("a: 1", "a: 2")})
    with pytest.raises(Refused) as caught:
        wanted(live.revision, changed, Scope(select="buy"))
    assert (caught.value.code, caught.value.message) == (
        "IOG710",
        "the selection changes workflow shop/order:1.0.0, which shop/sell runs as a child, and shop/sell is "
        "not selected",
    )
    assert wanted(live.revision, live, Scope(select="buy")).revision == live.revision


def parent(version: str) -> str:
    """A workflow that runs a version of shop/order as a child."""
    run = f"{{run: {{workflow: {{namespace: shop, name: order, version: {version}}}}}}}"
    return WORKFLOW.replace("name: order", "name: parent").replace("{set: {a: 1}}", run)


def test_a_selection_adds_no_version_that_others_run_as_the_latest(tmp_path: Path) -> None:
    def projects(version: str) -> tuple[Bundle, Bundle]:
        apis = API + BUY.replace("order}", "order, tags: [buy]}") + "  sell: {workflow: shop/parent}\n"
        files = {"apis.d/a.yaml": apis, "workflows.d/p.yaml": parent(version), "workflows.d/w.yaml": WORKFLOW}
        newer = {"workflows.d/x.yaml": WORKFLOW.replace("1.0.0", "1.1.0")}
        folder = tmp_path / version
        return bundle(folder / "live", files), bundle(folder / "new", files | newer)

    live, changed = projects("latest")
    with pytest.raises(Refused) as caught:
        wanted(live.revision, changed, Scope(select="buy"))
    assert (caught.value.code, caught.value.message) == (
        "IOG710",
        "the selection adds workflow shop/order:1.1.0, which shop/sell would run as a child, and shop/sell "
        "is not selected",
    )
    live, changed = projects("1.0.0")
    found = wanted(live.revision, changed, Scope(select="buy")).revision
    assert found.apis["shop/buy"].workflow == "shop/order:1.1.0"
    assert found.apis["shop/sell"] == live.revision.apis["shop/sell"]
    assert found.workflows.keys() == live.revision.workflows.keys() | {"shop/order:1.1.0"}


def test_a_selection_does_not_change_a_child_of_a_schedule(tmp_path: Path) -> None:
    files = {
        "apis.d/a.yaml": API + BUY.replace("order}", "order:1.0.0, tags: [buy]}"),
        "workflows.d/p.yaml": parent("1.0.0") + "schedule: {every: {hours: 1}}\n",
        "workflows.d/w.yaml": WORKFLOW,
    }
    live = bundle(tmp_path / "live", files)
    changed = bundle(tmp_path / "new", files | {"workflows.d/w.yaml": WORKFLOW.replace("a: 1", "a: 2")})
    with pytest.raises(Refused) as caught:
        wanted(live.revision, changed, Scope(select="buy"))
    assert caught.value.message == (
        "the selection changes workflow shop/order:1.0.0, which the schedule of shop/parent runs as a child, "
        "and the schedule of shop/parent is not selected"
    )
    assert wanted(live.revision, live, Scope(select="buy")).revision == live.revision


def test_a_selection_keeps_the_schedule_of_a_version_that_it_does_not_have(tmp_path: Path) -> None:
    newer = WORKFLOW.replace("1.0.0", "1.1.0") + "schedule: {every: {hours: 1}}\n"
    files = {
        "apis.d/a.yaml": API + BUY.replace("order}", "order:1.0.0, tags: [buy]}"),
        "workflows.d/w.yaml": WORKFLOW,
        "workflows.d/x.yaml": newer,
    }
    live = bundle(tmp_path / "live", files)
    changed = bundle(tmp_path / "new", files | {"workflows.d/w.yaml": WORKFLOW.replace("a: 1", "a: 2")})
    found = wanted(live.revision, changed, Scope(select="buy")).revision
    assert found.workflows["shop/order:1.0.0"] == changed.revision.workflows["shop/order:1.0.0"]
    assert found.scheduled == live.revision.scheduled
    assert found.scheduled.keys() == {"shop/order"}
