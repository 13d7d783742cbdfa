"""Attributes: runs are found by them as long as they exist, in the order of all lists."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.store import keys
from iogate.store.runs import traffic
from iogate.store.runs.run_index import RunFilter
from iogate.store.runs.traffic import Traffic
from iogate.store.store import Store
from tests.store.builders import ORDERS, accepted, api, commit, publish, request, until

RARE = api("orders/rare")


async def found(store: Store, name: str, value: str, *, limit: int = 50, **fields: Any) -> list[str]:
    uids: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.runs.page(RunFilter(where=(name, value), **fields), limit=limit, cursor=cursor)
        uids += [run.uid for run in page.runs]
        if (cursor := page.next_cursor) is None:
            return uids


async def members(store: Store, of: str = ORDERS.id) -> int:
    count: int = await store.call("ZCARD", keys.ATTRIBUTES + of)
    return count


def test_a_run_stores_its_attributes_with_their_hashes() -> None:
    packed = traffic.packed_attributes({"order": "A-1", "é": '"'})
    assert packed == traffic.attribute_hash("order", "A-1") + traffic.attribute_hash("é", '"') + (
        '{"order":"A-1","é":"\\""}'
    )
    assert len(traffic.attribute_hash("order", "A-1")) == keys.ATTRIBUTE_HASH
    assert traffic.attribute_hash("a", "bc") != traffic.attribute_hash("ab", "c")


async def test_runs_are_found_by_their_attributes(each_store: Store) -> None:
    await publish(each_store, api(), RARE)
    intake = each_store.intake()
    first = await accepted(intake, attributes={"order": "A-1", "paid": "true"})
    other = await accepted(intake, attributes={"order": "A-2"})
    plain = await accepted(intake)
    rare = await accepted(intake, RARE, attributes={"order": "A-1", "note": 'a "quoted" {text}'})
    assert await found(each_store, "order", "A-1") == [rare, first]
    assert await found(each_store, "order", "A-1", limit=1) == [rare, first]
    assert await found(each_store, "order", "A-1", api=RARE.id) == [rare]
    assert await found(each_store, "order", "A-1", project="default") == [rare, first]
    assert await found(each_store, "order", "A-2") == [other]
    assert await found(each_store, "paid", "true") == [first]
    assert await found(each_store, "note", 'a "quoted" {text}') == [rare]
    assert await found(each_store, "order", "A") == []
    assert await found(each_store, "customer", "A-1") == []
    runs = {run.uid: run.attributes for run in (await each_store.runs.page(RunFilter())).runs}
    assert runs[first] == {"order": "A-1", "paid": "true"}
    assert runs[plain] == {}


async def test_pages_of_runs_with_an_attribute_have_each_once(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    calls = [request(intake, attributes={"order": "A-1", "n": str(n)}) for n in range(30)]
    for call in calls:
        await intake.accept(call)
    created = [run.created_at_ms for run in (await each_store.runs.page(RunFilter())).runs]
    uids = await found(each_store, "order", "A-1", limit=7)
    assert uids == [run.uid for run in (await each_store.runs.page(RunFilter())).runs]
    assert len(set(uids)) == 30
    newest = await found(each_store, "order", "A-1", since_ms=max(created))
    assert newest == [uid for uid, at in zip(uids, created, strict=True) if at == max(created)]
    oldest = await found(each_store, "order", "A-1", until_ms=min(created), limit=2)
    assert oldest == [uid for uid, at in zip(uids, created, strict=True) if at == min(created)]


@pytest.mark.parametrize("status", ["completed", "faulted"])
async def test_attributes_live_as_long_as_their_run(each_store: Store, status: str) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), attributes={"order": "A-1"})
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, "park", head=b"h")])
    view = await each_store.runs.show(uid)
    assert view is not None
    assert view.attributes == {"order": "A-1"}
    assert await found(each_store, "order", "A-1", statuses=["waiting"]) == [uid]
    await each_store.runs.suspend(uid)
    await each_store.runs.resume(uid)
    await each_store.runs.cancel(uid)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, status=status)])
    assert await found(each_store, "order", "A-1", statuses=[status]) == [uid]
    view = await each_store.runs.show(uid)
    assert view is not None
    assert view.attributes == {"order": "A-1"}
    if status == "faulted":
        assert await each_store.runs.retry(uid) == "retried"
        assert await found(each_store, "order", "A-1", statuses=["pending"]) == [uid]
        (claim,) = (await each_store.leases.take("w", 1)).claims
        await each_store.leases.commit([commit(claim)])
        assert await found(each_store, "order", "A-1") == [uid]
    assert await each_store.runs.prune([uid], 2**45) == 1
    assert await members(each_store) == 0


async def test_expired_runs_leave_the_index_of_attributes(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    uid = await accepted(intake, attributes={"order": "A-1", "customer": "7"}, retention_s=0.01)
    kept = await accepted(intake, attributes={"order": "A-1"})
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim)])

    async def is_deleted() -> bool:
        return await each_store.runs.show(uid) is None

    await until(is_deleted)
    assert await found(each_store, "order", "A-1") == [kept]
    await each_store.leases.audit()
    assert await members(each_store) == 1


async def test_a_coalesced_run_has_the_attributes_of_its_last_call(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    rules = Traffic(merge="k", window=60_000, most=60_000)
    uid = await accepted(intake, attributes={"order": "A-1", "n": "1"}, traffic=rules)
    assert await accepted(intake, attributes={"order": "A-2"}, traffic=rules) == uid
    assert await found(each_store, "order", "A-1") == []
    assert await found(each_store, "order", "A-2") == [uid]
    assert await members(each_store) == 1
    assert await accepted(intake, traffic=rules) == uid
    assert await members(each_store) == 0
    (run,) = (await each_store.runs.page(RunFilter())).runs
    assert run.attributes == {}


async def test_attributes_that_another_program_wrote_do_no_harm(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), attributes={"order": "A-1"})
    for packed in ("", "{", "[]", '{"order":[]}', "zz{}"):
        await each_store.call("HSET", keys.RUN + uid, "at", packed)
        assert await found(each_store, "order", "A-1") == []
        assert [run.attributes for run in (await each_store.runs.page(RunFilter())).runs] == [{}]
