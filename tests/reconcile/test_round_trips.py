"""A plan after an apply is empty, an export plans as no change, and a rollback is what was there before."""

from __future__ import annotations

import asyncio
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iogate.cli.plans.export_command import _texts
from iogate.errors import NotFound, Refused
from iogate.reconcile import bundle_codec
from iogate.reconcile.apply import apply, publish
from iogate.reconcile.deletion_guard import Allowed, deletions
from iogate.reconcile.export import export
from iogate.reconcile.live_plan import against_live
from iogate.reconcile.plan import Side, plan
from iogate.reconcile.plan_facts import Facts
from iogate.reconcile.wanted_revision import Scope, is_selected, wanted
from iogate.store.store import Store
from tests.keys import RING
from tests.reconcile.projects import compiled, projects

ALL = Allowed(prune=True, empty=True, max_deletes=1000)


async def _applied(url: str, first: dict[str, str], second: dict[str, str]) -> None:
    store = Store(url, client_name="test", keyring=RING)
    try:
        await store.call("FLUSHALL")
        a, b = compiled(first), compiled(second)
        await apply(store, a, allowed=ALL, wait_s=0)
        again = await against_live(store, compiled(first))
        assert not again.plan, again.plan.to_json()
        assert (await publish(store, again, wait_s=0)).number == 1
        there = await against_live(store, b)
        protected = [each.id for each in a.revision.apis.values() if each.protect]
        if set(protected) - b.revision.apis.keys():
            return  # the guard refuses it
        number = (await publish(store, there, wait_s=0)).number
        assert bool(there.plan) is (number == 2)
        if {each.id for each in b.revision.apis.values() if each.protect} - a.revision.apis.keys():
            return
        back = await against_live(store, await store.revisions.bundle(1), restores=True)
        assert bool(back.plan) is bool(there.plan), "a way there has a way back"
        number = (await publish(store, back, wait_s=0)).number
        assert not (await against_live(store, compiled(first))).plan
        live = await store.revisions.load(number)
        assert live.digest == (a.revision.digest if there.plan else (await store.revisions.load(1)).digest)
    finally:
        await store.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example empties the store
@given(projects, projects)
def test_a_plan_after_an_apply_is_empty_and_a_rollback_is_what_was_before(
    redis_url: str, first: dict[str, str], second: dict[str, str]
) -> None:
    asyncio.run(_applied(redis_url, first, second))


@given(projects)
def test_each_compiled_project_can_be_sent_to_a_gateway(files: dict[str, str]) -> None:
    made = compiled(files)
    assert bundle_codec.decode(json.loads(bundle_codec.encode(made))) == made


@given(projects)
def test_an_export_plans_as_no_change(project: dict[str, str]) -> None:
    bundle = compiled(project)
    exported = export(bundle)
    assert exported.missing == []
    assert exported.variables.items() <= {"region": "eu"}.items()
    texts = {name: content.decode() for name, content in _texts(exported).items() if name != "iogate.yaml"}
    found = plan(Side.of(bundle), Side.of(compiled(texts)), Facts())
    assert not found, (found.to_json(), texts)
    assert compiled(texts).revision.digest == bundle.revision.digest, "the names of files are the same, too"


@given(projects, projects, st.sampled_from(["a", "b", "b c"]))
def test_a_selection_leaves_everything_else_as_it_is(
    first: dict[str, str], second: dict[str, str], select: str
) -> None:
    live, files = compiled(first), compiled(second)
    try:
        part = wanted(live.revision, files, Scope(select=select))
    except (NotFound, Refused):
        return
    programs = {**live.programs, **files.programs}
    found = plan(Side.of(live), Side(revision=part.revision, programs=programs), Facts())
    for change in found.changes:
        if change.type == "api":
            apis = [each.apis.get(change.id) for each in (live.revision, files.revision)]
            assert any(api is not None and is_selected(api, select) for api in apis)
    assert live.revision.workflows.keys() <= part.revision.workflows.keys(), "versions stay"
    for name, api in part.revision.apis.items():
        if is_selected(api, select) and name in files.revision.apis:
            assert api == files.revision.apis[name]
        assert api.workflow in part.revision.workflows
        assert part.revision.programs <= programs.keys()
    if not any(
        is_selected(api, select) for api in [*part.revision.apis.values(), *files.revision.apis.values()]
    ):
        return  # the only selected API was deleted
    again = Side(revision=wanted(part.revision, files, Scope(select=select)).revision, programs=programs)
    assert not plan(Side(revision=part.revision, programs=programs), again, Facts())


@given(projects, projects)
def test_kept_orphans_are_never_deleted(first: dict[str, str], second: dict[str, str]) -> None:
    live, files = compiled(first), compiled(second)
    part = wanted(live.revision, files, Scope(keep_orphans=True))
    assert deletions(live.revision, part.revision) == ([], [])
    assert part.revision.apis.keys() == live.revision.apis.keys() | files.revision.apis.keys()
    assert all(part.revision.apis[name] == api for name, api in files.revision.apis.items())
    names = [name for name, workflow in part.revision.workflows.items() if workflow.schedule is not None]
    assert len({name.partition(":")[0] for name in names}) == len(names), "one schedule of each name"
    assert wanted(part.revision, files, Scope(keep_orphans=True)).revision.digest == part.revision.digest
