"""Lifecycle events of changes by the store itself: sent once and in order to the sinks that want them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iogate.store import keys
from iogate.store.runs.commits import TaskRow
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish, recovered_twice, scripted, state_of
from tests.store.test_children import child, parent_of
from tests.store.test_retry import claimed, taken

OUTER = TaskRow(reference="/do/0/outer", name="outer", status="running", started_at_ms=1)
INNER = TaskRow(reference="/do/0/outer/do/0/waits", name="waits", status="waiting", started_at_ms=2)
OVER = TaskRow(reference="/do/1/over", name="over", status="completed", started_at_ms=3, ended_at_ms=4)


async def entries(store: Store, sink: str = "audit") -> list[dict[str, Any]]:
    return [json.loads(each) for each in await store.outbox.take(sink, "c", 100)]


async def kinds(store: Store, sink: str = "audit") -> list[str]:
    return [each["line"]["kind"] if "line" in each else each["type"] for each in await entries(store, sink)]


async def journal(store: Store, uid: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in await store.runs.journal(uid)]


@pytest.fixture
async def sink_store(each_store: Store) -> Store:
    await publish(each_store)
    await each_store.outbox.register({"audit": True, "other": False})
    return each_store


async def parked(store: Store) -> str:
    claim = await claimed(store)
    await store.leases.commit([commit(claim, "park", head=b"h", tasks=[OVER, OUTER, INNER])])
    return claim.uid


async def test_suspension_and_resumption_are_reported_for_the_run_and_its_tasks(sink_store: Store) -> None:
    uid = await parked(sink_store)
    for _ in range(2):
        await sink_store.runs.suspend(uid)
    for _ in range(2):
        await sink_store.runs.resume(uid)
    found = await entries(sink_store)
    assert [(each["line"]["kind"], each["line"].get("reference")) for each in found] == [
        ("task.suspended", "/do/0/outer"),
        ("task.suspended", "/do/0/outer/do/0/waits"),
        ("workflow.suspended", None),
        ("workflow.resumed", None),
        ("task.resumed", "/do/0/outer"),
        ("task.resumed", "/do/0/outer/do/0/waits"),
    ]
    assert {(each["uid"], each["workflow"]) for each in found} == {(uid, "shop/orders:1")}
    assert [each["line"].get("detail") for each in found[3:]] == [
        {"status": "waiting"}, {"status": "running"}, {"status": "waiting"},
    ]  # fmt: skip
    assert [each["line"] for each in found] == await journal(sink_store, uid)
    assert await sink_store.outbox.take("other", "c") == []


async def test_each_entry_has_its_own_number_also_in_a_full_journal(sink_store: Store) -> None:
    with scripted(journal_entries=4):
        uid = await parked(sink_store)
        for _ in range(2):
            await sink_store.runs.suspend(uid)
            await sink_store.runs.resume(uid)
        found = await entries(sink_store)
        assert [each["number"] for each in found] == list(range(1, 13))
        assert await journal(sink_store, uid) == [each["line"] for each in found[-4:]]


async def test_the_suspension_of_a_leased_run_is_reported_after_its_commit(sink_store: Store) -> None:
    claim = await claimed(sink_store)
    await sink_store.runs.suspend(claim.uid)
    assert await entries(sink_store) == []
    last = commit(claim, "park", head=b"h", outbox={"audit": [b'{"type":"own"}']}, tasks=[OUTER])
    for _ in range(2):
        await sink_store.leases.commit([last])
    assert await kinds(sink_store) == ["own", "task.suspended", "workflow.suspended"]


async def test_a_run_that_is_resumed_before_its_suspension_is_never_suspended(sink_store: Store) -> None:
    claim = await claimed(sink_store)
    await sink_store.runs.suspend(claim.uid)
    assert await sink_store.runs.resume(claim.uid) == "resumed"
    await sink_store.leases.commit([commit(claim, "park", head=b"h")])
    assert await entries(sink_store) == []


async def test_the_suspension_of_a_released_run_is_reported(sink_store: Store) -> None:
    claim = await claimed(sink_store)
    await sink_store.runs.suspend(claim.uid)
    await sink_store.leases.release("w", {claim.uid: claim.token})
    assert await kinds(sink_store) == ["workflow.suspended"]
    assert await state_of(sink_store, claim.uid) == "suspended"


async def test_the_cancellation_of_an_unstarted_run_is_reported(sink_store: Store) -> None:
    uid = await accepted(sink_store.intake())
    for _ in range(2):
        await sink_store.runs.cancel(uid, 'a "reason"')
    (found,) = await entries(sink_store)
    assert (found["line"]["kind"], found["line"]["detail"]) == (
        "workflow.cancelled",
        {"reason": 'a "reason"'},
    )
    assert await journal(sink_store, uid) == [found["line"]]


async def test_changes_before_the_start_of_a_run_stay_in_its_journal(sink_store: Store) -> None:
    """Whether it is cancelled then, or starts and ends with one commit."""
    uids = [await accepted(sink_store.intake()) for _ in range(2)]
    for uid in uids:
        await sink_store.runs.suspend(uid)
    await sink_store.runs.cancel(uids[0])
    await sink_store.runs.resume(uids[1])
    end = commit(await taken(sink_store), journal=[b'{"kind":"last"}'], tasks=[OVER])
    await sink_store.leases.commit([end])
    assert [line["kind"] for line in await journal(sink_store, uids[0])] == [
        "workflow.suspended", "workflow.cancelled",
    ]  # fmt: skip
    assert [line["kind"] for line in await journal(sink_store, uids[1])] == [
        "workflow.suspended", "workflow.resumed", "last",
    ]  # fmt: skip
    view = await sink_store.runs.show(uids[1])
    assert view is not None
    assert [task.reference for task in view.tasks] == ["/do/1/over"]


async def test_the_end_of_a_child_with_its_parent_is_reported(sink_store: Store) -> None:
    parent = await parent_of(sink_store, child())
    (uid,) = [each.uid for each in await sink_store.runs.list() if each.uid != parent.uid]
    await sink_store.runs.cancel(parent.uid)
    (ahead,) = (await sink_store.leases.take("w", 1)).claims
    (again,) = (await sink_store.leases.take("w", 1)).claims
    await sink_store.leases.release("w", {ahead.uid: ahead.token})
    await sink_store.leases.commit([commit(again, status="cancelled")])
    found = [(each["uid"], each["line"]["kind"]) for each in await entries(sink_store)]
    assert (again.uid, found) == (parent.uid, [(uid, "workflow.cancelled")])


async def test_a_poisoned_run_is_reported_with_its_error(sink_store: Store) -> None:
    claim = await claimed(sink_store)
    await recovered_twice(sink_store, "w")
    for _ in range(keys.DEATHS):
        await sink_store.leases.take("alone", 1, solitary=True)
        await sink_store.leases.recover("alone")
    view = await sink_store.runs.show(claim.uid)
    assert view is not None
    assert view.status == "faulted"
    (found,) = await entries(sink_store)
    assert found["line"]["kind"] == "workflow.faulted"
    assert found["line"]["detail"]["error"]["title"] == "poisoned"


async def test_an_unused_sink_is_reported_once_and_removed_once(sink_store: Store) -> None:
    """With any entries; a sink that is used again in time loses nothing."""
    await sink_store.runs.cancel(await accepted(sink_store.intake()))

    async def passes(name: str, field: str, ms: int) -> None:
        at = int(await sink_store.call("HGET", keys.SINK + name, field))
        await sink_store.call("HSET", keys.SINK + name, field, at - ms)

    assert await sink_store.outbox.register({}) == []
    for _ in range(2):
        await passes("audit", "named", keys.SINK_NAMED_MS + 1)
        (unnamed,) = await sink_store.outbox.register({"other": False})
        assert (unnamed.name, unnamed.waiting, unnamed.forgotten) == ("audit", 1, False)
        assert await sink_store.outbox.register({"other": False}) == []
        await passes("audit", "unnamed", keys.SINK_KEPT_MS + 1)
        assert await sink_store.outbox.register({"audit": True}) == []
    await passes("audit", "named", keys.SINK_NAMED_MS + 1)
    await sink_store.outbox.register({"other": False})
    await passes("audit", "unnamed", keys.SINK_KEPT_MS + 1)
    (forgotten,) = await sink_store.outbox.register({"other": False})
    assert (forgotten.name, forgotten.waiting, forgotten.forgotten) == ("audit", 1, True)
    assert await sink_store.outbox.register({"other": False}) == []
    assert [each.name for each in await sink_store.outbox.sinks()] == ["other"]
    assert await sink_store.call("EXISTS", keys.OUTBOX + "audit", keys.SINK + "audit") == 0
