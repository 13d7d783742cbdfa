"""Batches: selection, limits, progress, stop and continue; none of their runs is changed twice."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest

from iogate.compiler.revision import Bundle, Limits, Revision, canonical, digest_of
from iogate.errors import IogateError, Misused, NotAllowed, NotFound, Refused
from iogate.operators import activity
from iogate.operators.activity import Record, Target, recorded
from iogate.operators.batches import batch_execution, batch_selection, batches
from iogate.operators.batches.batch_execution import BatchExecutor
from iogate.operators.batches.batch_selection import BatchRequest
from iogate.operators.roles import Actor, Role
from iogate.store import keys
from iogate.store.operators.batches import BatchRun, Request, Results
from iogate.store.runs.run_index import RunFilter
from iogate.store.store import Store
from tests.store.builders import accepted, api, commit, scripted
from tests.store.test_children import child

PROGRAM = {
    "document": {"dsl": "1.0.3", "namespace": "test", "name": "echo", "version": "1.0.0"},
    "do": [{"a": {"set": {"x": 1}}}],
}
DIGEST = digest_of(PROGRAM)
ADA = Actor(name="ada", role=Role.ADMIN, via="http", origin="10.0.0.1")
EVE = Actor(name="eve", role=Role.OPERATE, via="http", origin="10.0.0.2")


async def published(store: Store, *names: str, **more: Any) -> list[Any]:
    apis = [api(name, **more) for name in names]
    revision = Revision(apis={each.id: each for each in apis}, workflows={})
    await store.revisions.publish(
        Bundle(revision=revision, programs={DIGEST: canonical(PROGRAM), apis[0].program: b"{}"})
    )
    return apis


async def faulted(store: Store, count: int, name: str = "shop/order", **more: Any) -> list[str]:
    """Make faulted runs of an API; return their uids, the newest first."""
    (served,) = await published(store, name, **more)
    intake = store.intake()
    uids = [await accepted(intake, served, program=DIGEST) for _ in range(count)]
    await fault_all(store)
    return uids[::-1]


async def fault_all(store: Store) -> None:
    while claims := (await store.leases.take("w", 100)).claims:
        error = b'{"type":"x","status":500,"title":"no"}'
        await store.leases.commit([commit(each, status="faulted", error=error) for each in claims])


def of(name: str = "shop/order", **more: Any) -> BatchRequest:
    given: dict[str, Any] = {"action": "retry", "filter": RunFilter(api=name)} | more
    return BatchRequest(**given)


async def made(store: Store, request: BatchRequest, id_: str = "op", actor: Actor = ADA, **more: Any) -> Any:
    """Create a batch as the HTTP API does, with its entry in the activity."""
    record = Record()
    async with recorded(
        store, actor, f"batches.{request.action}", Target(type="batch"), "why", record=record
    ):
        return await batches.create(store, actor, request, operation=id_, record=record, **more)


async def carried_out(store: Store, executor: BatchExecutor | None = None, steps: int = 1000) -> None:
    """Carry out batches until none is due, without the pauses."""
    executor = executor or BatchExecutor(store, "w1")
    for _ in range(steps):
        for id_ in await store.call("ZRANGE", keys.BATCHES_DUE, 0, -1):
            await store.call("ZADD", keys.BATCHES_DUE, 0, id_)
        if await executor.step() is None:
            return


async def attempts(store: Store, uids: list[str]) -> set[int]:
    views = [await store.runs.show(uid) for uid in uids]
    return {view.attempt for view in views if view is not None}


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any number of runs wait for a worker, since no worker runs."""
    monkeypatch.setattr(batch_execution, "WAITING_MOST", 10_000)


@pytest.mark.usefixtures("roomy")
async def test_a_batch_retries_all_that_its_filter_matches(store: Store) -> None:
    uids = await faulted(store, 120)
    other = await faulted(store, 1, "shop/other")
    seen = await batch_selection.preview(store, of())
    assert (seen["action"], seen["count"], seen["workers"]) == ("retry", 120, 0)
    assert [each["uid"] for each in seen["sample"]] == uids[:10]
    batch = await made(store, of(), reason="the shop was down", expected=120)
    assert (batch["state"], batch["count"], batch["left"], batch["changed"]) == ("running", 120, 120, 0)
    assert re.fullmatch("[0-9a-f]{12}", batch["id"])
    assert batch["filter"] == {"api": "shop/order"}
    await carried_out(store)
    ended = await batches.show(store, batch["id"])
    assert (ended["state"], ended["changed"], ended["refused"], ended["left"]) == ("done", 120, 0, 0)
    assert (ended["reason"], ended["operator"]) == ("the shop was down", "ada")
    assert ended["endedAt"] >= ended["createdAt"]
    assert await attempts(store, uids) == {2}
    assert await attempts(store, other) == {1}
    (entry,) = (await activity.page(store))["activity"]
    assert (entry["action"], entry["operator"], entry["from"]) == ("batches.retry", "ada", "10.0.0.1")
    assert (entry["outcome"], entry["target"]["count"]) == ("done", 120)
    assert entry["message"] == f"batch {batch['id']}: retried 120 of 120"


async def test_a_child_that_a_parent_has_waited_for_is_left_to_the_parent(store: Store) -> None:
    (served,) = await published(store, "shop/order")
    parent = await accepted(store.intake(), served, program=DIGEST)
    (claim,) = (await store.leases.take("w", 1)).claims
    awaited, own = child(1, api=served.id), child(2, api=served.id, awaits=False)
    facts = msgspec.structs.replace(awaited.facts, parent=f"{parent}/1")
    awaited = msgspec.structs.replace(awaited, facts=facts)
    await store.leases.commit([commit(claim, "queue", head=b"h", children=[awaited, own])])
    await fault_all(store)

    async def selected(**chosen: Any) -> set[str]:
        wanted = RunFilter(api=served.id, **chosen)
        return {run.uid for run in (await batch_selection.select(store, of(filter=wanted))).runs}

    assert await selected() == {parent, own.uid}
    assert await selected(parent=parent) == {awaited.uid}


@pytest.mark.usefixtures("roomy")
async def test_a_run_that_faults_again_is_not_retried_twice(store: Store) -> None:
    """Neither by a repetition after a crash, nor after the ids of operations have expired."""
    uids = await faulted(store, 30)
    await made(store, of())
    taken, _ = await store.batches.take("dead")
    assert taken is not None
    dead = batch_execution._Step(taken=taken, left=list(taken.runs))
    dead.left = dead.left[:20]
    await BatchExecutor(store, "dead")._change(dead)
    assert dead.changed == 20
    await fault_all(store)
    await store.call("DEL", *await store.call("KEYS", f"{keys.OPERATION}*"))
    await carried_out(store)
    batch = await batches.show(store, batches.batch_id("op"))
    assert (batch["changed"], batch["refused"], batch["state"]) == (10, 20, "done")
    assert "was retried meanwhile and faulted again" in batch["refusals"][0]["message"]
    assert len(batch["refusals"]) == 10
    assert await attempts(store, uids) == {2}


@pytest.mark.usefixtures("roomy")
async def test_a_killed_worker_loses_no_run_and_counts_none_twice(store: Store) -> None:
    uids = await faulted(store, 60)
    await made(store, of())
    with scripted(batch_lease_ms=60_000):
        taken, _ = await store.batches.take("dead")
        assert taken is not None
        dead = batch_execution._Step(taken=taken, left=taken.runs[:20])
        await BatchExecutor(store, "dead")._change(dead)
        assert (await store.batches.take("w2"))[0] is None, "the lease lasts"
    await carried_out(store)
    batch = await batches.show(store, batches.batch_id("op"))
    assert (batch["state"], batch["changed"]) == ("done", 60)
    assert await attempts(store, uids) == {2}
    assert await store.batches.settle(taken, Results(changed=20)) == "lost"
    assert not await store.batches.renew(taken)
    assert (await batches.show(store, batch["id"]))["changed"] == 60


@pytest.mark.usefixtures("roomy")
async def test_a_batch_stops_before_its_next_run_and_continues(store: Store) -> None:
    uids = await faulted(store, 120)
    batch = await made(store, of())
    await carried_out(store, steps=1)
    stopped = await batches.stop(store, batch["id"])
    assert (stopped["state"], stopped["changed"], stopped["left"]) == ("stopped", 50, 70)
    await carried_out(store)
    assert (await batches.show(store, batch["id"]))["changed"] == 50
    (entry,) = (await activity.page(store))["activity"]
    assert (entry["outcome"], entry["target"]["count"]) == ("done", 50)
    assert entry["message"] == f"batch {batch['id']}: retried 50 of 120 and stopped"
    again = await batches.proceed(store, ADA, batch["id"])
    assert again["state"] == "running"
    await carried_out(store)
    done = await batches.stop(store, batch["id"])
    assert (done["state"], done["changed"]) == ("done", 120)
    assert await attempts(store, uids) == {2}
    with pytest.raises(Refused, match=f"batch {batch['id']} has ended: no run is left") as refused:
        await batches.proceed(store, ADA, batch["id"])
    assert refused.value.code == "IOG783"


@pytest.mark.usefixtures("roomy")
async def test_a_stop_waits_for_the_run_that_a_worker_is_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await faulted(store, 10)
    batch = await made(store, of())
    executor = BatchExecutor(store, "w1")
    at_third, go_on = asyncio.Event(), asyncio.Event()
    act, calls = BatchExecutor._act, 0

    async def slow(self: BatchExecutor, *given: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            at_third.set()
            await go_on.wait()
        return await act(self, *given)

    monkeypatch.setattr(BatchExecutor, "_act", slow)
    # Without a lease, which a busy machine may use up, there is no worker to wait for.
    with scripted(batch_lease_ms=600_000):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(executor.step())
            await at_third.wait()
            assert (await batches.stop(store, batch["id"], wait_s=0.0))["state"] == "stopping"
            assert (await batches.stop(store, batch["id"], wait_s=0.0))["state"] == "stopping"
            go_on.set()
            stopped = await batches.stop(store, batch["id"], wait_s=30)
    assert (stopped["state"], stopped["changed"], stopped["left"]) == ("stopped", 3, 7)


@pytest.mark.usefixtures("roomy")
async def test_a_worker_that_ends_hands_the_batch_over_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await faulted(store, 10)
    batch = await made(store, of())
    act, calls = BatchExecutor._act, 0

    async def stuck(self: BatchExecutor, *given: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 4:
            await asyncio.Event().wait()
        return await act(self, *given)

    monkeypatch.setattr(BatchExecutor, "_act", stuck)
    step = asyncio.create_task(BatchExecutor(store, "w1").step())
    async with asyncio.timeout(20):
        while calls < 4:
            await asyncio.sleep(0.001)
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    assert (await batches.show(store, batch["id"]))["changed"] == 3
    await BatchExecutor(store, "w2").step()
    assert (await batches.show(store, batch["id"]))["changed"] == 10


async def test_the_retried_runs_that_wait_for_a_worker_are_bounded(store: Store) -> None:
    """An API has up to 64 runs in the RQ queue; beyond these, a batch adds 50."""
    uids = await faulted(store, 200)
    batch = await made(store, of())
    await carried_out(store, steps=30)
    waiting = await batches.show(store, batch["id"])
    assert (waiting["state"], waiting["changed"], waiting["refused"]) == ("running", 114, 0)
    assert waiting["waiting"] == "API shop/order has no room in its queue"
    for _ in range(5):
        await fault_all(store)
        await carried_out(store, steps=30)
    done = await batches.show(store, batch["id"])
    assert (done["state"], done["changed"], done["waiting"]) == ("done", 200, None)
    assert await attempts(store, uids) == {2}


async def test_a_full_api_does_not_delay_the_others_of_a_batch(store: Store) -> None:
    full, free = await published(store, "shop/full", "shop/free", limits=Limits(running=1))
    intake = store.intake()
    first = [await accepted(intake, full, program=DIGEST) for _ in range(2)]
    await fault_all(store)
    last = [await accepted(intake, full, program=DIGEST) for _ in range(90)]
    first += [await accepted(intake, free, program=DIGEST) for _ in range(3)]
    last += [await accepted(intake, full, program=DIGEST) for _ in range(90)]
    assert len(first) == 5
    await fault_all(store)
    request = BatchRequest(action="retry", filter=RunFilter(project="default"))
    await made(store, request)
    await carried_out(store, steps=40)
    assert await attempts(store, first[2:]) == {2}


@pytest.mark.usefixtures("roomy")
async def test_a_store_that_fails_delays_a_batch_and_refuses_no_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await faulted(store, 3)
    batch = await made(store, of())
    act, calls = BatchExecutor._act, 0

    async def full(self: BatchExecutor, *given: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            from iogate.store.connection.failures import StoreFull

            raise StoreFull
        return await act(self, *given)

    monkeypatch.setattr(BatchExecutor, "_act", full)
    pause_s = await BatchExecutor(store, "w1").step()
    assert pause_s == batch_execution.AWAY_S
    shown = await batches.show(store, batch["id"])
    assert (shown["changed"], shown["refused"], shown["left"]) == (1, 0, 2)
    await carried_out(store)
    assert (await batches.show(store, batch["id"]))["changed"] == 3


@pytest.mark.usefixtures("roomy")
async def test_named_runs_are_changed_and_refusals_are_counted(store: Store) -> None:
    uids = await faulted(store, 1)
    (served,) = await published(store, "shop/order")
    running = await accepted(store.intake(), served, program=DIGEST)
    request = BatchRequest(action="retry", uids=(*uids, "77", running, uids[0]))
    with pytest.raises(NotFound, match="1 run of 3 do not exist, such as 77"):
        await batch_selection.preview(store, request)
    batch = await made(store, request)
    assert (batch["count"], batch["filter"]) == (3, None)
    await carried_out(store)
    ended = await batches.show(store, batch["id"])
    assert (ended["changed"], ended["refused"]) == (1, 2)
    assert ended["refusals"] == [
        {"uid": "77", "message": "no run 77"},
        {"uid": running, "message": f"run {running} is still pending: only faulted runs can be retried"},
    ]


async def test_runs_are_suspended_resumed_and_cancelled(store: Store) -> None:
    (served,) = await published(store, "shop/order")
    uids = [await accepted(store.intake(), served, program=DIGEST) for _ in range(3)]

    async def done(action: Any, id_: str, **more: Any) -> tuple[int, int, int]:
        batch = await made(store, of(action=action, **more), id_)
        await carried_out(store)
        found = await batches.show(store, batch["id"])
        assert found["state"] == "done"
        return found["changed"], found["unchanged"], found["refused"]

    async def statuses() -> set[str]:
        return {view.status for uid in uids if (view := await store.runs.show(uid)) is not None}

    assert await done("suspend", "1") == (3, 0, 0)
    assert await statuses() == {"suspended"}
    assert await done("resume", "2") == (3, 0, 0)
    assert await statuses() == {"pending"}
    assert await done("cancel", "3") == (3, 0, 0)
    assert await statuses() == {"cancelled"}
    assert await done("cancel", "4") == (0, 0, 0), "nothing matches"
    assert await done("cancel", "5", filter=None, uids=tuple(uids)) == (0, 3, 0)
    view = await store.runs.show(uids[0])
    assert view is not None
    assert view.cancel_reason is not None
    assert view.cancel_reason.startswith("ada")


async def test_a_batch_of_another_number_than_expected_is_refused(store: Store) -> None:
    await faulted(store, 3)
    with pytest.raises(
        Refused, match="3 runs match now, and 2 were expected: nothing was changed"
    ) as refused:
        await made(store, of(), expected=2)
    assert refused.value.code == "IOG780"
    with pytest.raises(Refused, match="3 runs match now, more than the 2 before: nothing was changed"):
        await made(store, of(), at_most=2)
    assert (await batches.listing(store))["batches"] == []
    assert (await made(store, of(), at_most=4))["count"] == 3


async def test_the_role_bounds_a_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await faulted(store, 4)
    monkeypatch.setattr(batches, "OPERATE_MOST", 3)
    with pytest.raises(NotAllowed) as refused:
        await made(store, of(), actor=EVE)
    assert refused.value.message == (
        "a batch of 4 runs takes the role admin; operator eve has the role operate, which may change "
        "3 at once"
    )
    assert refused.value.code == "IOG782"
    batch = await made(store, of(), actor=ADA)
    await batches.stop(store, batch["id"])
    with pytest.raises(NotAllowed):
        await batches.proceed(store, EVE, batch["id"])
    monkeypatch.setattr(batch_selection, "MOST", 3)
    with pytest.raises(Refused, match="the filter matches more than 3 runs, the most of one batch") as many:
        await made(store, of(), "other")
    assert many.value.code == "IOG781"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give either a filter, or the uids of runs"),
        ({"filter": RunFilter(api="a"), "uids": ("1",)}, "give either a filter, or the uids of runs"),
        ({"filter": RunFilter()}, "the filter is empty, and would match all runs"),
        ({"uids": ("1",) * 1001}, "at most 1000 runs can be named; choose more by a filter"),
        ({"filter": RunFilter(statuses=["completed"])}, "status completed: only faulted runs can be retried"),
        (
            {"action": "cancel", "filter": RunFilter(statuses=["faulted"])},
            "status faulted: only runs that have not ended can be cancelled",
        ),
        (
            {"action": "cancel", "uids": ("1",), "current": True},
            "from and on are for a retry, and this is: cancel",
        ),
    ],
)
def test_an_invalid_request_says_what_is_wrong(given: dict[str, Any], says: str) -> None:
    with pytest.raises(Misused, match=re.escape(says)):
        BatchRequest(**({"action": "retry"} | given))


async def test_an_unknown_api_is_named(store: Store) -> None:
    await published(store, "shop/order")
    with pytest.raises(NotFound, match='no API shop/ordre; did you mean "shop/order"'):
        await batch_selection.preview(store, of("shop/ordre"))


async def test_a_repeated_request_creates_no_second_batch(store: Store) -> None:
    await faulted(store, 2)
    first = await made(store, of(), "same")
    await batches.stop(store, first["id"])
    again = await made(store, of(), "same", expected=7)
    assert (again["id"], again["state"]) == (first["id"], "stopped")
    assert len((await batches.listing(store))["batches"]) == 1


async def test_batches_are_listed_newest_first_and_expire(store: Store) -> None:
    await faulted(store, 1)
    ids = [(await made(store, of(), str(number)))["id"] for number in range(5)]
    listed: list[str] = []
    cursor: str | None = None
    while True:
        page = await batches.listing(store, limit=2, cursor=cursor)
        listed += [each["id"] for each in page["batches"]]
        if (cursor := page["nextCursor"]) is None:
            break
    assert sorted(listed) == sorted(ids)
    created = [(await batches.show(store, id_))["createdAt"] for id_ in listed]
    assert created == sorted(created, reverse=True)
    for key in (keys.BATCH, keys.BATCH_RUNS):
        assert 0 < await store.call("PTTL", key + ids[0]) <= keys.BATCH_MS
    with pytest.raises(Misused, match="the cursor is not one that a list of batches has returned"):
        await batches.listing(store, cursor="x")
    for verb in (batches.show(store, "x"), batches.stop(store, "x"), batches.proceed(store, ADA, "x")):
        with pytest.raises(NotFound, match="no batch x"):
            await verb


async def test_an_old_batch_makes_room_for_a_new_one(store: Store) -> None:
    await faulted(store, 1)
    with scripted(batches_kept=2):
        first, second = (await made(store, of(), "1"))["id"], (await made(store, of(), "2"))["id"]
        with pytest.raises(Refused, match="too many batches are in progress") as refused:
            await made(store, of(), "3")
        assert refused.value.code == "IOG784"
        await batches.stop(store, second)
        third = (await made(store, of(), "3"))["id"]
    assert {each["id"] for each in (await batches.listing(store))["batches"]} == {first, third}


async def test_forged_runs_are_never_changed(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    uids = await faulted(store, 3)
    batch = await made(store, of())
    chunk: bytes = await store.call("LINDEX", keys.BATCH_RUNS + batch["id"], 0)
    await store.call(
        "LSET", keys.BATCH_RUNS + batch["id"], 0, chunk.replace(uids[0].encode(), uids[1].encode())
    )
    await carried_out(store)
    failed = await batches.show(store, batch["id"])
    assert (failed["state"], failed["changed"]) == ("failed", 0)
    assert failed["failure"] == "its runs were not written by a process that has the link_key"
    assert f"batch {batch['id']} is refused: its runs do not verify" in caplog.text
    assert await attempts(store, uids) == {1}
    with pytest.raises(IogateError, match="were not written by a process that has the link_key"):
        await batches.proceed(store, ADA, batch["id"])


async def test_forged_records_hide_no_batch_and_stop_no_worker(store: Store) -> None:
    await faulted(store, 1)
    request = Request(action="retry", actor="a", role="admin", via="cli", origin="h")
    await store.batches.create("bad", request, [BatchRun(uid="1")])
    await store.call("HSET", keys.BATCH + "bad", "made", "{}", "messages", b"\xff")
    await store.call("ZADD", keys.BATCHES, 1, "gone")
    await store.call("ZADD", keys.BATCHES_DUE, 1, "gone")
    good = await made(store, of())
    await carried_out(store)
    assert [each["id"] for each in (await batches.listing(store))["batches"]] == [good["id"]]
    assert (await batches.show(store, good["id"]))["state"] == "done"


async def test_no_message_of_a_batch_has_a_secret(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await faulted(store, 1)

    async def refuse(*_: Any) -> bool:
        raise Refused("token: canary-0123456789")

    monkeypatch.setattr(BatchExecutor, "_act", refuse)
    batch = await made(store, of(), reason="password=canary-9876543210")
    await carried_out(store)
    assert "canary" not in str(await batches.show(store, batch["id"]))
    assert "canary" not in str(await activity.page(store))
