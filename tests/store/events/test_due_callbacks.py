"""Callbacks in the store: a try without an outcome is followed by another one, and no longer counts."""

from __future__ import annotations

from iogate.store import keys
from iogate.store.events.due_callbacks import Due, Settled
from iogate.store.runs.run_ends import RunEnds
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish


async def ended(store: Store) -> str:
    """End a run that has a callback."""
    await publish(store)
    uid = await accepted(store.intake(), after=RunEnds(letters="c"))
    (claim,) = (await store.leases.take("w", 1)).claims
    await store.leases.commit([commit(claim)])
    return uid


async def taken(store: Store) -> list[Due]:
    found, _, _ = await store.callbacks.take(10)
    return found


async def test_a_worker_that_dies_between_take_and_outcome_costs_one_try(each_store: Store) -> None:
    uid = await ended(each_store)
    (lost,) = await taken(each_store)
    assert (lost.uid, lost.id, lost.number) == (uid, f"run_{uid}_1", 1)
    assert await taken(each_store) == [], "no other worker tries it at the same time"
    due_ms = int(float(await each_store.call("ZSCORE", keys.CALLBACKS, uid)))
    assert 0 < due_ms - await each_store.now_ms() <= keys.CALLBACK_LEASE_MS

    await each_store.call("ZADD", keys.CALLBACKS, 1, uid)  # the lease is over
    (again,) = await taken(each_store)
    assert (again.id, again.number, again.since_ms) == (lost.id, 2, lost.since_ms)
    late = Settled(due=lost, outcome="stopped", error="too late")
    assert await each_store.callbacks.settle([late]) == 0
    assert await each_store.callbacks.settle([Settled(due=again, outcome="delivered")]) == 1
    assert await each_store.callbacks.settle([Settled(due=again, outcome="delivered")]) == 1, "a lost reply"
    found = await each_store.callbacks.record(uid)
    assert found is not None
    assert (found.tries, found.error, found.stopped_ms, found.due_ms) == (2, None, None, None)
    assert found.delivered_ms is not None
    assert await each_store.call("ZCARD", keys.CALLBACKS) == 0


async def test_tries_begin_again_with_another_delivery(each_store: Store) -> None:
    uid = await ended(each_store)
    for number in (1, 2):
        (due,) = await taken(each_store)
        assert (due.number, due.number_since) == (number, number)
        await each_store.callbacks.settle([Settled(due=due, outcome="failed", error="no", next_ms=1)])
    assert await each_store.callbacks.redeliver(uid) == "ok"
    (due,) = await taken(each_store)
    assert (due.number, due.number_since) == (3, 1), "only the outcome of the third try counts"
    assert await each_store.callbacks.redeliver(uid) == "ok"
    await each_store.callbacks.settle([Settled(due=due, outcome="postponed", next_ms=1)])
    (due,) = await taken(each_store)
    assert (due.number, due.number_since) == (3, 1)


async def test_a_callback_continues_after_the_clock_was_set_back(each_store: Store) -> None:
    uid = await ended(each_store)
    (first,) = await taken(each_store)
    then = await each_store.now_ms() + 600_000
    failed = Settled(due=first, outcome="failed", status=500, error="no", next_ms=then + 1)
    assert await each_store.callbacks.settle([failed]) == 1
    # The clock was ten minutes ahead at the last take, and is right now.
    await each_store.call("SET", keys.UPKEEP, then)
    await each_store.leases.take("w", 0)
    found, now_ms, next_s = await each_store.callbacks.take(10)
    assert now_ms >= then
    assert [each.number for each in found] == [2] or (next_s is not None and next_s <= 0.1)
    assert await each_store.call("ZSCORE", keys.CALLBACKS, uid) is not None
