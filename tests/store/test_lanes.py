"""Concurrency keys: a place is held until the end of a run, and given to the next one exactly once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iogate.compiler.revision import Api, Concurrency, Limits
from iogate.store import keys
from iogate.store.runs.traffic import Traffic, key_hash
from iogate.store.store import Store
from tests.store.builders import accepted, api, commit, publish, recovered_twice, state_of

WORKER = "w1"


def serial(limit: int = 1, **more: Any) -> Api:
    rules = Concurrency(key="/customer", limit=limit)
    return api("serial/one", limits=Limits(concurrency=rules, **({"queued": 20_000} | more)))


async def call(store: Store, of: Api, key: str, **more: Any) -> str:
    return await accepted(store.intake(), of, traffic=Traffic(key=key_hash(key)), **more)


async def taken(store: Store, count: int = 50) -> list[Any]:
    return list((await store.leases.take(WORKER, count)).claims)


async def states(store: Store, uids: list[str]) -> list[str]:
    return [await state_of(store, uid) for uid in uids]


async def nothing_is_left(store: Store) -> None:
    for pattern in (f"{keys.HOLDERS}*", f"{keys.LANE}*", f"{keys.WINDOWS}*"):
        assert await store.call("KEYS", pattern) == []
    gate = (await store.gates.states())["serial/one"]
    assert (gate.queued, gate.running) == (0, 0)


async def test_runs_of_one_key_are_serialised_in_order_and_keys_are_independent(each_store: Store) -> None:
    of = serial()
    await publish(each_store, of)
    first, second, third = [await call(each_store, of, "ada") for _ in range(3)]
    other = await call(each_store, of, "bob")
    free = await accepted(each_store.intake(), of, traffic=Traffic())  # an input without the key
    assert await states(each_store, [first, second, third, other, free]) == [
        *("queue", "lane", "lane", "queue", "queue")
    ]
    assert (await each_store.gates.states())[of.id].queued == 5
    assert (await each_store.runs.queue()).depth == 5
    view = await each_store.runs.show(second)
    assert view is not None
    assert view.behind == (first,)

    claims = await taken(each_store)
    assert [claim.uid for claim in claims] == [first, other, free]
    await each_store.leases.commit([commit(claims[0], "park", due_ms=claims[0].created_at_ms + 3_600_000)])
    assert await taken(each_store) == []  # a waiting run keeps its place
    await each_store.leases.commit([commit(claims[0], seq=2)])  # void: it is not leased
    assert await each_store.runs.cancel(first, "enough") == "asked"
    (again,) = await taken(each_store)
    assert again.uid == first
    await each_store.leases.commit([commit(again, status="cancelled")])
    order = []
    while claims_now := await taken(each_store):
        (claim,) = claims_now
        order.append(claim.uid)
        await each_store.leases.commit([commit(claim, status="faulted")])
    assert order == [second, third]
    await each_store.leases.commit([commit(claim) for claim in claims[1:]])
    await nothing_is_left(each_store)


async def test_a_key_with_many_runs_does_not_delay_another(store: Store) -> None:
    """Also by a limit of the API: runs without a place take none of `running`."""
    of = serial(running=2)
    await publish(store, of)
    intake, busy = store.intake(), Traffic(key=key_hash("busy"))
    await asyncio.gather(*(accepted(intake, of, traffic=busy) for _ in range(600)))
    other = await call(store, of, "idle")
    assert other in {claim.uid for claim in await taken(store)}
    assert await store.call("LLEN", keys.LANE + of.id + ":" + key_hash("busy")) == 599


async def test_a_limit_above_one_and_a_raised_or_removed_limit_let_more_runs_start(each_store: Store) -> None:
    of = serial(2)
    await publish(each_store, of)
    uids = [await call(each_store, of, "k") for _ in range(6)]
    assert await states(each_store, uids) == ["queue"] * 2 + ["lane"] * 4
    await publish(each_store, serial(4))
    assert await states(each_store, uids) == ["queue"] * 4 + ["lane"] * 2
    await publish(each_store, api("serial/one"))
    assert await states(each_store, uids) == ["queue"] * 6
    await each_store.leases.commit([commit(claim) for claim in await taken(each_store)])
    await nothing_is_left(each_store)


async def test_runs_of_a_deleted_api_still_end_one_after_the_other(each_store: Store) -> None:
    of = serial()
    await publish(each_store, of)
    uids = [await call(each_store, of, "k") for _ in range(3)]
    await publish(each_store, api("other/one"))
    await each_store.leases.audit()
    for uid in uids:
        (claim,) = await taken(each_store)
        assert claim.uid == uid
        await each_store.leases.commit([commit(claim)])
    await each_store.leases.audit()
    assert await each_store.call("EXISTS", keys.GATE + of.id) == 0
    assert await each_store.call("KEYS", f"{keys.HOLDERS}*") == []


@pytest.mark.parametrize("ends", ["cancel", "death", "suspend", "prune", "deleted", "poison"])
async def test_each_end_of_a_run_gives_its_place_to_the_next_once(each_store: Store, ends: str) -> None:
    of = serial()
    await publish(each_store, of)
    first, second, third = [await call(each_store, of, "k") for _ in range(3)]
    match ends:
        case "cancel":
            assert await each_store.runs.cancel(second, "in the lane") == "cancelled"
            assert await each_store.runs.cancel(first, "in the queue") == "cancelled"
            assert await states(each_store, [first, second, third]) == ["end", "end", "queue"]
        case "death":
            await taken(each_store)
            await each_store.leases.recover(WORKER)
            assert await states(each_store, [first, second]) == ["queue", "lane"]
            (claim,) = await taken(each_store)
            assert (claim.uid, claim.token) == (first, 2)
            await each_store.leases.commit([commit(claim)])
            assert await states(each_store, [second, third]) == ["queue", "lane"]
        case "poison":
            await taken(each_store)
            await recovered_twice(each_store, WORKER)
            for _ in range(keys.DEATHS):
                assert (await each_store.leases.take(WORKER, 1, solitary=True)).claims
                await each_store.leases.recover(WORKER)
            assert await states(each_store, [first, second, third]) == ["end", "queue", "lane"]
        case "suspend":
            assert await each_store.runs.suspend(second) == "suspended"
            (claim,) = await taken(each_store)
            await each_store.leases.commit([commit(claim)])
            assert await states(each_store, [second, third]) == ["suspended", "queue"]
            assert await each_store.runs.resume(second) == "resumed"
            assert await states(each_store, [second, third]) == ["lane", "queue"]
        case "prune":
            (claim,) = await taken(each_store)
            await each_store.leases.commit([commit(claim)])
            assert await each_store.runs.prune([first], claim.created_at_ms + 3_600_000) == 1
            assert await states(each_store, [second, third]) == ["queue", "lane"]
        case _:
            await each_store.call("DEL", keys.RUN + first)
            assert await taken(each_store) == []
            await each_store.leases.audit()
            assert await states(each_store, [second, third]) == ["queue", "lane"]
    for uid in (first, second, third):
        await each_store.runs.cancel(uid, "over")
    while claims := await taken(each_store):
        await each_store.leases.commit([commit(claim, status="cancelled") for claim in claims])
    await each_store.leases.audit()
    await nothing_is_left(each_store)


async def test_a_retried_run_needs_a_place_again(each_store: Store) -> None:
    of = serial()
    await publish(each_store, of)
    first, second = [await call(each_store, of, "k") for _ in range(2)]
    (claim,) = await taken(each_store)
    await each_store.leases.commit([commit(claim, status="faulted", head=b"h")])
    assert await each_store.runs.retry(first) is not None
    assert await states(each_store, [first, second]) == ["lane", "queue"]
    (claim,) = await taken(each_store)
    await each_store.leases.commit([commit(claim)])
    (claim,) = await taken(each_store)
    assert (claim.uid, claim.attempt) == (first, 2)
    await each_store.leases.commit([commit(claim)])
    await nothing_is_left(each_store)


async def test_the_audit_restores_lanes_and_places_that_were_deleted(each_store: Store) -> None:
    of = serial()
    await publish(each_store, of)
    uids = [await call(each_store, of, "k") for _ in range(3)]
    await each_store.call("DEL", keys.LANE + of.id + ":" + key_hash("k"))
    await each_store.leases.audit()
    assert await states(each_store, uids) == ["queue", "lane", "lane"]
    assert await each_store.call("LLEN", keys.LANE + of.id + ":" + key_hash("k")) == 2
    await each_store.call("DEL", keys.HOLDERS + of.id)
    await each_store.leases.audit()
    await each_store.leases.audit()
    assert set(await states(each_store, uids)) <= {"queue", "lane"}
    ended = 0
    while claims := await taken(each_store):
        await each_store.leases.commit([commit(claim) for claim in claims])
        ended += len(claims)
    assert ended == 3
    await nothing_is_left(each_store)


async def test_a_hold_keeps_runs_that_leave_a_lane(each_store: Store) -> None:
    of = serial()
    await publish(each_store, of)
    first, second = [await call(each_store, of, "k") for _ in range(2)]
    (claim,) = await taken(each_store)
    await each_store.gates.set_enabled([of.id], True, author="me", hold=True)
    await each_store.leases.commit([commit(claim)])
    assert await state_of(each_store, second) == "backlog"
    await each_store.gates.set_enabled([of.id], True, author="me")
    assert [claim.uid for claim in await taken(each_store)] == [second]
    assert await state_of(each_store, first) == "end"
