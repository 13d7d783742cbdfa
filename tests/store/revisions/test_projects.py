"""Projects share a store and its numbers; none of them affects the APIs of another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of
from iogate.compiler.schedules import Schedule
from iogate.errors import NotFound
from iogate.reconcile import plan_facts
from iogate.store import keys
from iogate.store.maintenance import audit
from iogate.store.revisions.gate_states import Gate
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revision_errors import Foreign
from iogate.store.revisions.revisions import Conflict, NotAuthentic, Owned, PathTaken
from iogate.store.runs.intake import Accepted
from iogate.store.runs.run_index import RunFilter
from iogate.store.store import Store
from tests.conftest import KINDS, Servers
from tests.keys import RING
from tests.store.builders import ORDERS, accepted, api, bundle, commit, publish, request

PROGRAM = {"document": {"name": "beat"}, "do": []}


def of(store: Store, project: str) -> Store:
    """Open the store for another project."""
    return Store(store.url, client_name="test", keyring=RING, project=project)


@pytest.fixture
async def shop(each_store: Store) -> AsyncIterator[Store]:
    store = of(each_store, "shop")
    yield store
    await store.close()


@pytest.fixture
async def billing(each_store: Store) -> AsyncIterator[Store]:
    store = of(each_store, "billing")
    yield store
    await store.close()


def scheduled(name: str = "beat") -> Bundle:
    program = digest_of(PROGRAM)
    schedule = Schedule(kind="every", program=program, milliseconds=60_000)
    workflow = Workflow(program=program, schedule=schedule)
    return Bundle(
        revision=Revision(apis={}, workflows={f"test/{name}:1.0.0": workflow}),
        programs={program: canonical(PROGRAM)},
    )


async def test_each_project_has_its_own_live_revision_and_history(
    each_store: Store, shop: Store, billing: Store
) -> None:
    assert await publish(each_store) == 1
    assert await shop.revisions.publish(bundle(api("shop/a")), expected=0) == 2
    assert await billing.revisions.publish(bundle(api("billing/a")), origin=Origin(author="ann")) == 3
    assert await shop.revisions.publish(bundle(api("shop/b")), expected=2) == 4
    assert await publish(each_store) == 1, "the same files"
    live = {
        store.revisions.project: ((await store.revisions.live() or (0,))[0], await numbers(store))
        for store in (each_store, shop, billing)
    }
    assert live == {"default": (1, [1]), "shop": (4, [4, 2]), "billing": (3, [3])}
    found = await each_store.revisions.live_of_all()
    assert ({name: number for name, (number, _) in found.live.items()}, found.last) == (
        {"default": 1, "shop": 4, "billing": 3},
        4,
    )
    assert await billing.revisions.origin(3) == Origin(project="billing", author="ann")
    assert (await shop.revisions.origin(4) or Origin()).project == "shop"
    states = await each_store.gates.states()
    assert {name: gate.project for name, gate in states.items()} == {
        ORDERS.id: "default",
        "shop/b": "shop",
        "billing/a": "billing",
    }
    assert (await shop.gates.states()).keys() == {"shop/b"}
    assert await publish(each_store, ORDERS, api("other/one")) == 5


async def numbers(store: Store) -> list[int]:
    return [entry.number for entry in await store.revisions.history()]


async def test_what_another_project_owns_is_a_conflict_that_names_both(shop: Store, billing: Store) -> None:
    await shop.revisions.publish(bundle(api("shared/a"), api("shared/b")))
    await shop.revisions.publish(
        Bundle(
            revision=Revision(
                apis={"shared/a": api("shared/a")}, workflows=dict(scheduled().revision.workflows)
            ),
            programs=scheduled().programs,
        )
    )
    before = await shop.gates.states(), await shop.schedules.upcoming(), await shop.revisions.live_of_all()
    with pytest.raises(Owned) as caught:
        await billing.revisions.publish(bundle(api("shared/a"), api("billing/a")))
    assert caught.value.exit_code == 4
    assert caught.value.message == (
        "project billing cannot publish what belongs to another project: shared/a (of project shop)"
    )
    with pytest.raises(Owned) as caught:
        await billing.revisions.publish(scheduled())
    assert caught.value.message.endswith("the schedule of test/beat (of project shop)")
    assert await billing.revisions.live() is None
    after = await shop.gates.states(), await shop.schedules.upcoming(), await shop.revisions.live_of_all()
    assert before == after
    # The shop has deleted it, so it is free; it comes back disabled.
    assert await billing.revisions.publish(bundle(api("shared/b"))) == 3
    assert not (await billing.gates.states())["shared/b"].enabled


async def test_a_project_switches_and_deletes_nothing_of_another(shop: Store, billing: Store) -> None:
    await shop.revisions.publish(bundle(api("shop/a")))
    await billing.revisions.publish(bundle(api("billing/a")))
    await shop.gates.set_enabled(["shop/a"], False, author="ann")
    before = await shop.gates.states(everywhere=True)
    with pytest.raises(Foreign) as caught:
        await billing.gates.set_enabled(["billing/a", "shop/a"], False, author="eve")
    assert caught.value.message == ("shop/a belongs to project shop: nothing was changed by project billing")
    assert caught.value.exit_code == 4
    with pytest.raises(Foreign):
        await billing.gates.clear_overrides(["shop/a"])
    assert await billing.gates.overrides() == {}
    assert (await shop.gates.overrides()).keys() == {"shop/a"}
    assert await shop.gates.states(everywhere=True) == before
    # An emptied project leaves the others alone.
    await billing.revisions.publish(bundle())
    assert await shop.gates.states(everywhere=True) == {"shop/a": before["shop/a"]}
    assert await billing.gates.owner("shop/a") == "shop"
    assert await billing.gates.owner("billing/a") is None


async def test_a_rollback_restores_no_switch_of_another_project(shop: Store, billing: Store) -> None:
    await shop.revisions.publish(bundle(api("shared/a", enabled=None)))
    await shop.gates.set_enabled(["shared/a"], True, author="ann")
    await shop.revisions.publish(bundle())
    await billing.revisions.publish(
        bundle(api("shared/a", enabled=None)), origin=Origin(action="rollback", restores=1)
    )
    assert not (await billing.gates.states())["shared/a"].enabled


async def test_a_deleted_api_belongs_to_its_project_after_an_audit(each_store: Store, shop: Store) -> None:
    one = api("shop/a")
    await shop.revisions.publish(bundle(one))
    uid = await accepted(each_store.intake(), one)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim)])
    await shop.revisions.publish(bundle())
    for _ in range(2):
        await each_store.leases.audit()
        assert await each_store.call("HGETALL", keys.GATE + one.id) == [b"project", b"shop"]
    assert await runs_of(each_store, "shop") == [uid]
    assert await runs_of(each_store, "default") == []
    assert await each_store.revisions.live_for(one.id) == await shop.revisions.live()
    await shop.revisions.publish(bundle(one), origin=Origin(action="rollback", restores=1))
    assert (await shop.gates.states())[one.id].enabled


async def runs_of(store: Store, project: str) -> list[str]:
    return [run.uid for run in (await store.runs.page(RunFilter(project=project))).runs]


async def test_projects_publish_at_the_same_time_without_a_conflict(shop: Store, billing: Store) -> None:
    """The signature covers a number that the other project may have taken meanwhile."""
    published = await asyncio.gather(
        *(
            store.revisions.publish(bundle(api(f"{store.revisions.project}/a{n}")))
            for n in range(5)
            for store in (shop, billing)
        )
    )
    assert sorted(published) == list(range(1, 11))
    for store in (shop, billing):
        for number in await numbers(store):
            await store.revisions.load(number, project=store.revisions.project)


async def test_of_concurrent_applies_of_one_project_one_wins(shop: Store, billing: Store) -> None:
    await shop.revisions.publish(bundle(api("shop/a")))
    outcomes = await asyncio.gather(
        *(shop.revisions.publish(bundle(api(f"shop/m{n}")), expected=1) for n in range(6)),
        billing.revisions.publish(bundle(api("billing/a")), expected=0),
        return_exceptions=True,
    )
    won = [each for each in outcomes[:6] if not isinstance(each, BaseException)]
    assert len(won) == 1
    assert sum(isinstance(each, Conflict) for each in outcomes) == 5
    assert {won[0], outcomes[6]} == {2, 3}


async def test_a_store_of_an_earlier_release_continues(each_store: Store, shop: Store) -> None:
    """As main wrote it: no last number, and gates without a project."""
    await publish(each_store)
    await publish(each_store, ORDERS, api("other/one"))
    await each_store.call("HDEL", keys.LIVE, "last")
    assert await shop.revisions.publish(bundle(api("shop/a"))) == 3
    with pytest.raises(Owned, match=r"orders/submit \(of project default\)"):
        await shop.revisions.publish(bundle(ORDERS))
    assert await publish(each_store) == 4
    assert (await each_store.gates.states()).keys() == {ORDERS.id, "shop/a"}
    intake = each_store.intake()
    assert isinstance(await intake.accept(request(intake)), Accepted)


async def test_a_live_record_that_names_the_revision_of_another_project_is_refused(
    each_store: Store, shop: Store
) -> None:
    await publish(each_store)
    await shop.revisions.publish(bundle(api("shop/a")))
    with pytest.raises(
        NotAuthentic, match="revision 1, live in project shop, in the store is refused: it is"
    ):
        await shop.revisions.load(1, project="shop")
    with pytest.raises(NotFound, match="revision 1 is of project default, not of project shop"):
        await shop.revisions.bundle(1)
    assert (await shop.revisions.bundle(2)).revision.apis.keys() == {"shop/a"}
    with pytest.raises(NotAuthentic, match="it is of project shop"):
        await shop.revisions.load(2, project="default")
    await each_store.call("HSET", keys.LIVE, "project:shop", "x y")
    with pytest.raises(NotAuthentic, match="the record of the live revision of project shop"):
        await shop.revisions.live()
    assert await each_store.revisions.live() is not None


async def test_the_audit_keeps_the_programs_of_every_project(
    each_store: Store, shop: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BLOB_GRACE_S", -1)
    await publish(each_store)
    await shop.revisions.publish(scheduled())
    assert (await audit.audit(each_store._connection)).dropped == 0
    assert await shop.revisions.program(digest_of(PROGRAM)) == canonical(PROGRAM)


async def test_ticks_and_runs_use_the_live_revision_of_their_project(each_store: Store, shop: Store) -> None:
    await shop.revisions.publish(scheduled())
    await publish(each_store)
    await each_store.call("ZADD", keys.TICKS, 1, "schedule:test/beat")
    (tick,) = (await each_store.schedules.due()).ticks
    assert (tick.revision, tick.project) == (1, "shop")
    assert (await each_store.revisions.live_for("schedule:test/beat") or (0,))[0] == 1
    assert (await each_store.revisions.live_for(ORDERS.id) or (0,))[0] == 2
    assert (await each_store.revisions.live_for("no/such") or (0,))[0] == 2
    assert await of_default(each_store) == {}
    assert (await shop.schedules.upcoming()).keys() == {"test/beat"}


async def of_default(store: Store) -> Any:
    default = of(store, "default")
    try:
        return await default.schedules.upcoming()
    finally:
        await default.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["default", "shop"]),
        st.sampled_from(["publish", "rollback", "enable", "disable"]),
        st.sets(st.sampled_from(["x/a", "x/b", "x/c"]), max_size=3),
        st.sampled_from([True, False, None]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_no_step_of_one_project_changes_a_gate_of_another(redis_servers: Servers, steps: Any) -> None:
    url = redis_servers[next(iter(KINDS))].url

    async def run() -> None:
        stores = {
            name: Store(url, client_name="test", keyring=RING, project=name) for name in ("default", "shop")
        }
        try:
            await stores["shop"].call("FLUSHALL")
            for project, action, names, enabled in steps:
                (other,) = stores.keys() - {project}
                before = await view(stores[other])
                apis = [api(name, enabled=enabled) for name in sorted(names)]
                with contextlib.suppress(Owned, Foreign):
                    await step(stores[project], action, apis)
                assert await view(stores[other]) == before
        finally:
            for store in stores.values():
                await store.close()

    asyncio.run(run())


async def step(store: Store, action: str, apis: list[Api]) -> None:
    if action in {"publish", "rollback"}:
        origin = Origin(action="rollback", restores=1) if action == "rollback" else None
        await store.revisions.publish(bundle(*apis), origin=origin)
    else:
        known = [each.id for each in apis if await store.gates.owner(each.id) is not None]
        await store.gates.set_enabled(known, action == "enable", author="me")


async def view(store: Store) -> tuple[dict[str, Gate], Any, list[int], set[str]]:
    live = await store.revisions.live()
    kept = await numbers(store)
    apis = set() if live is None else set((await store.revisions.load(live[0])).apis)
    states = await store.gates.states()
    assert states.keys() == apis
    return states, live, kept, apis


def test_the_encoding_of_a_revision_is_unchanged() -> None:
    """Its digest must not depend on the project, so that revisions of earlier releases stay valid."""
    assert b"project" not in compiled.encode(bundle(ORDERS).revision)


async def test_a_path_of_another_project_is_a_conflict_that_names_both(shop: Store, billing: Store) -> None:
    await shop.revisions.publish(bundle(api("shop/a", path="/hooks/a"), api("shop/b")))
    wanted = bundle(api("billing/a", path="/Hooks/A"))
    with pytest.raises(PathTaken) as caught:
        await billing.revisions.publish(wanted)
    assert caught.value.code == "IOG635"
    assert caught.value.exit_code == 4
    assert caught.value.message == (
        "project billing cannot publish paths of another project: "
        "path /hooks/a of billing/a is that of shop/a (of project shop)"
    )
    assert (await billing.revisions.live()) is None
    read = await plan_facts.read(billing, bundle().revision, wanted.revision)
    assert read.taken_paths["billing/a"].holder == "shop/a"
    await shop.revisions.publish(bundle(api("shop/a"), api("shop/b", path="/hooks/c")))
    await billing.revisions.publish(wanted)


async def test_of_concurrent_publishes_of_one_path_one_wins(shop: Store, billing: Store) -> None:
    published = await asyncio.gather(
        *(
            store.revisions.publish(bundle(api(f"{store.revisions.project}/a", path="/hooks/a")))
            for store in (shop, billing)
        ),
        return_exceptions=True,
    )
    assert sorted(isinstance(each, PathTaken) for each in published) == [False, True]
