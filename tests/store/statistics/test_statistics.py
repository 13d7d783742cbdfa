"""Hourly counts of runs and groups of errors: exact, whatever repeats, crashes or expires."""

from __future__ import annotations

import json
from typing import Any

from redis import Redis

from iogate.compiler.revision import Limits
from iogate.store import keys
from iogate.store.runs.leases import Child, Claim
from iogate.store.runs.retry import NO_REQUEST
from iogate.store.runs.traffic import Traffic
from iogate.store.statistics.hourly_counts import HOUR_MS, Counts, decode_counts, total
from iogate.store.statistics.statistics import ErrorGroup
from iogate.store.store import Store
from tests.store.builders import ORDERS, accepted, api, commit, publish, recovered_twice, scripted
from tests.store.test_children import child

RUNTIME = "https://serverlessworkflow.io/spec/1.0.0/errors/runtime"


def error(detail: str, **members: Any) -> bytes:
    described = {"type": RUNTIME, "status": 500, "title": "failed", "detail": detail, "instance": "/do/0/a"}
    return json.dumps(described | members).encode()


async def counts(store: Store, *, child: bool = False, **filters: Any) -> Counts:
    """Return the counts of all hours and series, of runs that others have started or of the others."""
    hours = store.statistics.hours(0, await store.now_ms(), **filters)
    return total([counts async for series, _, counts in hours if series.child == child])


async def groups(store: Store, **filters: Any) -> list[ErrorGroup]:
    return await store.statistics.errors(0, **filters)


async def taken(store: Store) -> Claim:
    (claim,) = (await store.leases.take("w", 1)).claims
    return claim


async def test_a_run_counts_once_as_accepted_and_once_as_ended(each_store: Store) -> None:
    await publish(each_store)
    await accepted(each_store.intake())
    assert not (await counts(each_store)).numbers
    claim = await taken(each_store)
    found = await counts(each_store)
    assert (found.accepted, found.waits.count, found.completed) == (1, 1, 0)
    end = commit(claim)
    for _ in range(3):  # a repeated commit counts nothing
        await each_store.leases.commit([end])
    found = await counts(each_store, api="orders/submit", workflow="shop/orders")
    assert (found.accepted, found.completed, found.faulted, found.cancelled) == (1, 1, 0, 0)
    assert found.durations.count == 1
    assert not (await counts(each_store, workflow="shop/other")).numbers


async def test_a_run_that_no_worker_has_taken_counts_at_its_end(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    assert await each_store.runs.cancel(uid) == "cancelled"
    assert await each_store.runs.cancel(uid) == "ended"
    found = await counts(each_store)
    assert (found.accepted, found.waits.count, found.cancelled) == (1, 0, 1)


async def test_a_lost_lease_counts_nothing(each_store: Store) -> None:
    await publish(each_store)
    await accepted(each_store.intake())
    first = await taken(each_store)
    await each_store.leases.recover("w")
    second = await taken(each_store)
    await each_store.leases.commit([commit(first)])  # void: an older token
    assert (await counts(each_store)).completed == 0
    await each_store.leases.commit([commit(second)])
    found = await counts(each_store)
    assert (found.accepted, found.completed) == (1, 1)


async def test_each_attempt_of_a_retried_run_ends_once(each_store: Store, plain: Redis) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.leases.commit([commit(await taken(each_store), status="faulted", error=error("no"))])
    for _ in range(2):
        assert await each_store.runs.retry(uid, request=NO_REQUEST, operation="1") == "retried"
    # The time between a fault and its retry is no part of the duration.
    plain.hset(keys.RUN + uid, mapping={"crt": 1_000, "sta": 2_000})
    await each_store.leases.commit([commit(await taken(each_store))])
    found = await counts(each_store)
    assert (found.accepted, found.retried, found.faulted, found.completed) == (1, 1, 1, 1)
    assert found.durations.sum_ms < 60_000
    (group,) = await groups(each_store)
    assert (group.count, group.last_uid) == (1, uid)


async def test_children_are_counted_apart(each_store: Store) -> None:
    await publish(each_store)
    await accepted(each_store.intake())
    claim = await taken(each_store)
    started: Child = child(awaits=False)
    await each_store.leases.commit([commit(claim, children=[started])])
    await each_store.leases.commit([commit(await taken(each_store))])
    own, below = await counts(each_store), await counts(each_store, child=True)
    assert (own.accepted, own.completed) == (1, 1)
    assert (below.accepted, below.completed) == (1, 1)


async def test_counts_belong_to_the_hour_of_acceptance_and_of_the_end(
    each_store: Store, plain: Redis
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    before = await each_store.now_ms() - 2 * HOUR_MS
    plain.hset(keys.RUN + uid, "crt", before)
    await each_store.leases.commit([commit(await taken(each_store))])
    now_ms = await each_store.now_ms()
    first, last = [each async for each in each_store.statistics.hours(0, now_ms)]
    assert first.hour_ms == before // HOUR_MS * HOUR_MS
    assert (first.counts.accepted, first.counts.completed) == (1, 0)
    assert (last.counts.accepted, last.counts.completed) == (0, 1)
    wait_s = first.counts.waits.mean_ms
    assert wait_s is not None
    assert 2 * HOUR_MS <= wait_s < 2.1 * HOUR_MS
    for key in plain.keys(f"{keys.HOURS}*"):
        assert keys.STATISTICS_MS - 60_000 < plain.pttl(key) <= keys.STATISTICS_MS


async def test_equal_errors_are_one_group(each_store: Store) -> None:
    await publish(each_store)
    texts = ['order 17 of "Ada" was refused', 'order 18 of "Bo" was refused', "no stock"]
    uids = []
    for text in texts:
        uids.append(await accepted(each_store.intake()))
        fault = commit(await taken(each_store), status="faulted", error=error(text))
        for _ in range(2):
            await each_store.leases.commit([fault])
    found = {group.message: group for group in await groups(each_store, api="orders/submit")}
    assert {message: group.count for message, group in found.items()} == {
        "order … of … was refused": 2,
        "no stock": 1,
    }
    refused = found["order … of … was refused"]
    assert (refused.workflow, refused.task, refused.status) == ("shop/orders", "/do/0/a", 500)
    assert refused.last_uid == uids[1]
    assert refused.first_ms <= refused.last_ms
    assert await each_store.statistics.errors(refused.last_ms + 60_000) == []
    assert await groups(each_store, api="other/one") == []


async def test_equal_errors_of_one_batch_are_counted_together(each_store: Store) -> None:
    await publish(each_store)
    for _ in range(5):
        await accepted(each_store.intake())
    claims = (await each_store.leases.take("w", 5)).claims
    faults = [commit(each, status="faulted", error=error(f"number {n}")) for n, each in enumerate(claims)]
    await each_store.leases.commit(faults)
    await each_store.leases.commit(faults)
    (group,) = await groups(each_store)
    assert (group.count, group.message) == (5, "number …")
    assert (await counts(each_store)).faulted == 5


async def test_groups_are_bounded_and_the_least_recent_is_dropped(store: Store) -> None:
    with scripted(error_groups=3):
        await publish(store)
        for text in ("one", "two", "three", "one", "four"):
            await accepted(store.intake())
            fault = commit(await taken(store), status="faulted", error=error(text))
            await store.leases.commit([fault])
    found = [(group.message, group.count) for group in await groups(store)]
    assert sorted(found) == [("four", 1), ("one", 2), ("three", 1)]
    fields = await store.call("HKEYS", keys.ERRORS + "orders/submit")
    assert len(fields) == 3 * 4


async def test_a_poisoned_run_has_a_group(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.leases.take("w", 1)
    await recovered_twice(each_store, "w")
    for _ in range(keys.DEATHS):
        assert (await each_store.leases.take("alone", 1, solitary=True)).claims
        await each_store.leases.recover("alone")
    (group,) = await groups(each_store)
    assert (group.count, group.last_uid) == (1, uid)
    assert "died … times" in group.message
    assert (await counts(each_store)).faulted == 1


async def test_the_api_of_a_replaced_run_counts_it(each_store: Store) -> None:
    small = api(limits=Limits(queued=1, running=1, on_full="replace"))
    await publish(each_store, small)
    intake = each_store.intake()
    await accepted(intake, small)
    await accepted(intake, small, traffic=Traffic(replace=True))
    found = await counts(each_store)
    assert (found.accepted, found.cancelled) == (1, 1)


async def test_keys_of_another_program_cost_counts_and_not_runs(each_store: Store, plain: Redis) -> None:
    await publish(each_store)
    now_ms = await each_store.now_ms()
    plain.set(f"{keys.HOURS}{now_ms // HOUR_MS}:orders/submit shop/orders:1", "no hash")
    plain.set(keys.ERRORS + ORDERS.id, "no hash")
    plain.zadd(keys.SERIES, {b"nonsense": 1, b"a b c d": 2, b"\xff \xff": 3})
    uid = await accepted(each_store.intake())
    await each_store.leases.commit([commit(await taken(each_store), status="faulted", error=error("no"))])
    view = await each_store.runs.show(uid)
    assert view is not None
    assert view.status == "faulted"
    assert (await counts(each_store)).faulted in (0, 1)
    assert await groups(each_store) == []


def test_fields_of_another_program_are_left_out() -> None:
    found = decode_counts(
        [b"c12", b"3", b"c", b"4", b"c999", b"5", b"q", b"much", b"x", b"2", b"n", b"9" * 20]
    )
    assert (found.completed, found.cancelled, found.accepted) == (3, 2, 0)
