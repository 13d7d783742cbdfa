"""Coalesced calls: one run with the latest input, which starts after a window without a call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iogate.compiler.revision import Api, Coalesce, Concurrency, Limits
from iogate.store import keys
from iogate.store.runs.intake import Accepted, Refusal
from iogate.store.runs.run_ends import RunEnds
from iogate.store.runs.traffic import Traffic, key_hash
from iogate.store.store import Store
from tests.store.builders import ORDERS, api, commit, publish, request, state_of, until

WORKER = "w1"
HOUR_MS = 3_600_000


def rules(
    key: str = "A-1", *, by: str = "", window: int = HOUR_MS, most: int = HOUR_MS, **more: Any
) -> Traffic:
    return Traffic(merge=key_hash(key), key=by, window=window, most=most, **more)


async def called(store: Store, body: bytes, traffic: Traffic, of: Api = ORDERS, **more: Any) -> Accepted:
    intake = store.intake()
    outcome = await intake.accept(request(intake, of, input=body, traffic=traffic, **more))
    assert isinstance(outcome, Accepted), outcome
    return outcome


async def end_windows(store: Store) -> list[Any]:
    for uid in await store.call("ZRANGE", keys.TIMERS, 0, -1):
        await store.call("ZADD", keys.TIMERS, 1, uid)
    return list((await store.leases.take(WORKER, 50)).claims)


async def test_calls_of_one_key_become_one_run_with_the_latest_input(each_store: Store) -> None:
    await publish(each_store)
    first = await called(each_store, b'{"n":1}', rules(), caller="ada")
    last = await called(each_store, b'{"n":2}', rules(), caller="bob", revision=7)
    other = await called(each_store, b'{"n":3}', rules("B-2"))
    assert (first.coalesced, last.coalesced, other.coalesced) == (False, True, False)
    assert last.uid == first.uid != other.uid
    view = await each_store.runs.show(first.uid)
    assert view is not None
    assert (view.status, view.state, view.input, view.caller, view.revision) == (
        *("pending", "window", b'{"n":2}', "bob", 7),
    )
    assert view.waiting_for is not None
    assert b'"kind":"coalesce"' in view.waiting_for
    assert (await each_store.gates.states())[ORDERS.id].queued == 2
    assert (await each_store.leases.take(WORKER, 50)).claims == ()

    claims = await end_windows(each_store)
    assert [(claim.uid, claim.input) for claim in claims if claim.uid == first.uid] == [
        (first.uid, b'{"n":2}')
    ]
    after = await called(each_store, b'{"n":4}', rules())
    assert after.uid != first.uid
    assert not after.coalesced
    await each_store.leases.commit([commit(claim) for claim in claims])
    await each_store.runs.cancel(after.uid)
    assert await each_store.call("EXISTS", keys.WINDOWS + ORDERS.id) == 0
    assert (await each_store.gates.states())[ORDERS.id].queued == 0


async def test_a_thousand_concurrent_calls_of_one_key_make_one_run(each_store: Store) -> None:
    await publish(each_store)
    intakes = [each_store.intake() for _ in range(4)]
    calls = [
        request(intakes[n % 4], input=b'{"n":%d}' % n, traffic=rules(), idempotency_key=f"k{n}")
        for n in range(200)
    ]
    outcomes = await asyncio.gather(*(intakes[n % 4].accept(call) for n, call in enumerate(calls)))
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    assert len(accepted) == 200
    assert len({outcome.uid for outcome in accepted}) == 1
    assert sum(not outcome.coalesced for outcome in accepted) == 1
    assert (await each_store.runs.counts())["pending"] == 1
    view = await each_store.runs.show(accepted[0].uid)
    assert view is not None
    assert view.merged == 199
    again = await intakes[0].accept(calls[7])
    assert again == Accepted(uid=accepted[0].uid, replayed=True)


async def test_the_window_moves_with_each_call_and_ends_at_its_longest(each_store: Store) -> None:
    await publish(each_store)
    first = await called(each_store, b"1", rules(window=10_000, most=15_000))

    async def due() -> int:
        return int(await each_store.call("ZSCORE", keys.TIMERS, first.uid))

    created = int(await each_store.call("HGET", keys.RUN + first.uid, "crt"))
    assert await due() == created + 10_000
    await each_store.call("HSET", keys.RUN + first.uid, "crt", created - 3_000)
    await called(each_store, b"2", rules(window=10_000, most=15_000))
    assert created + 10_000 <= await due() <= created + 12_000
    await each_store.call("HSET", keys.RUN + first.uid, "crt", created - 14_000)
    await called(each_store, b"3", rules(window=10_000, most=15_000))
    assert await due() == created + 1_000


async def test_a_run_that_waits_behind_others_takes_calls_until_a_worker_has_it(each_store: Store) -> None:
    limited = api(limits=Limits(running=1))
    await publish(each_store, limited)
    busy = await called(each_store, b"0", Traffic(), limited)
    await each_store.leases.take(WORKER, 1)
    first = await called(each_store, b"1", rules(window=1), limited)

    async def behind() -> bool:
        await each_store.leases.take(WORKER, 0)
        return await state_of(each_store, first.uid) == "backlog"

    await until(behind)
    assert (await called(each_store, b"2", rules(), limited)).uid == first.uid
    assert await state_of(each_store, first.uid) == "backlog"
    assert busy.uid != first.uid


async def test_an_idempotency_key_is_looked_up_before_a_call_is_coalesced(each_store: Store) -> None:
    await publish(each_store)

    async def send(body: bytes, key: str, print_: str = "p") -> Accepted | Refusal:
        intake = each_store.intake()
        return await intake.accept(
            request(intake, input=body, traffic=rules(), idempotency_key=key, fingerprint=print_)
        )

    first = await send(b"1", "one")
    assert isinstance(first, Accepted)
    uid = first.uid
    assert await send(b"2", "two") == Accepted(uid=uid, coalesced=True)
    assert await send(b"1", "one") == Accepted(uid=uid, replayed=True)
    other = await send(b"3", "two", "q")
    assert isinstance(other, Refusal)
    assert other.reason == "mismatch"
    view = await each_store.runs.show(uid)
    assert view is not None
    assert (view.input, view.merged) == (b"2", 1), "a repeated call brings its input not back"
    (claim,) = await end_windows(each_store)
    assert await send(b"2", "two") == Accepted(uid=uid, replayed=True), "also once the run has started"
    await each_store.leases.commit([commit(claim)])
    assert await send(b"1", "one") == Accepted(uid=uid, replayed=True), "and after its end"
    view = await each_store.runs.show(uid)
    assert view is not None
    assert (view.status, view.merged) == ("completed", 1)
    new = await send(b"4", "three")
    assert isinstance(new, Accepted)
    assert new.uid != uid


@pytest.mark.parametrize("how", ["cancel", "suspend", "audit"])
async def test_a_run_in_its_window_can_be_cancelled_suspended_and_restored(
    each_store: Store, how: str
) -> None:
    await publish(each_store)
    first = await called(each_store, b"1", rules())
    match how:
        case "cancel":
            assert await each_store.runs.cancel(first.uid, "no") == "cancelled"
            assert await each_store.call("ZCARD", keys.TIMERS) == 0
            second = await called(each_store, b"2", rules())
            assert second.uid != first.uid
        case "suspend":
            assert await each_store.runs.suspend(first.uid) == "suspended"
            assert (await called(each_store, b"2", rules())).uid == first.uid
            assert await state_of(each_store, first.uid) == "suspended"
            assert await each_store.runs.resume(first.uid) == "resumed"
            (claim,) = (await each_store.leases.take(WORKER, 5)).claims
            assert (claim.uid, claim.input) == (first.uid, b"2")
        case _:
            await each_store.call("DEL", keys.TIMERS)
            await each_store.call("HSET", keys.GATE + ORDERS.id, "dl", 9)
            await each_store.leases.audit()
            assert (await each_store.gates.states())[ORDERS.id].queued == 1
            assert [claim.uid for claim in await end_windows(each_store)] == [first.uid]


async def test_a_window_counts_towards_the_queue_and_further_calls_do_not(each_store: Store) -> None:
    small = api(limits=Limits(queued=2))
    await publish(each_store, small)
    for key in ("a", "b"):
        await called(each_store, b"1", rules(key), small)
    intake = each_store.intake()
    refused = await intake.accept(request(intake, small, traffic=rules("c")))
    assert isinstance(refused, Refusal)
    assert refused.reason == "queue_full"
    assert (await called(each_store, b"2", rules("a"), small)).coalesced


async def test_a_coalesced_run_waits_for_its_concurrency_key_after_its_window(each_store: Store) -> None:
    of = api(
        limits=Limits(concurrency=Concurrency(key="/c")), coalesce=Coalesce(key="/s", window_s=1.0, max_s=1.0)
    )
    await publish(each_store, of)
    held = await called(each_store, b"0", Traffic(key="c1"), of)
    merged = await called(each_store, b"1", rules(key="s", window=1, most=1), of)
    assert merged.uid != held.uid
    keyed = await called(each_store, b"2", Traffic(key="c1", merge="m", window=HOUR_MS, most=HOUR_MS), of)
    await end_windows(each_store)
    assert await state_of(each_store, keyed.uid) == "lane"
    assert (
        await called(each_store, b"3", Traffic(key="c1", merge="m", window=1, most=1), of)
    ).uid == keyed.uid


async def test_a_merged_run_ends_as_the_latest_call_says(each_store: Store) -> None:
    await publish(each_store)
    told = RunEnds(letters="c", url="https://alice.example/")
    first = await called(each_store, b'{"n":1}', rules(), after=told)
    before = await each_store.call("HGET", keys.RUN + first.uid, "aft")
    await called(each_store, b'{"n":2}', rules(), after=RunEnds(letters="cf", url="https://bob.example/"))
    after = await each_store.call("HGET", keys.RUN + first.uid, "aft")
    assert b"alice" in before
    assert b"bob" in after
    assert b"alice" not in after
    await called(each_store, b'{"n":3}', rules(), retention_s=60.0)
    assert await each_store.call("HMGET", keys.RUN + first.uid, "aft", "ret") == [None, b"60000"]


async def test_a_merged_run_has_the_concurrency_key_of_the_latest_call(each_store: Store) -> None:
    keyed = api("shop/order", limits=Limits(concurrency=Concurrency(key="/customer", limit=1)))
    await publish(each_store, keyed)
    await called(each_store, b'{"customer":"B"}', Traffic(key=key_hash("B")), keyed)
    (running,) = (await each_store.leases.take(WORKER, 5)).claims
    first = await called(each_store, b'{"customer":"A"}', rules(by=key_hash("A")), keyed)
    last = await called(each_store, b'{"customer":"B"}', rules(by=key_hash("B")), keyed)
    assert last.uid == first.uid
    assert await end_windows(each_store) == []  # B has no free place
    await each_store.leases.commit([commit(running)])
    (claim,) = (await each_store.leases.take(WORKER, 5)).claims
    assert claim.input == b'{"customer":"B"}'


async def test_a_call_with_another_concurrency_key_leaves_a_run_after_its_window_alone(
    each_store: Store,
) -> None:
    keyed = api("shop/order", limits=Limits(concurrency=Concurrency(key="/customer", limit=1)))
    await publish(each_store, keyed)
    await called(each_store, b"0", Traffic(key=key_hash("A")), keyed)
    assert len((await each_store.leases.take(WORKER, 5)).claims) == 1
    first = await called(each_store, b"1", rules(by=key_hash("A")), keyed)
    assert await end_windows(each_store) == []
    assert await each_store.call("HGET", keys.RUN + first.uid, "pl") == b"lane"
    second = await called(each_store, b"2", rules(by=key_hash("B")), keyed)
    assert (second.uid != first.uid, second.coalesced) == (True, False)
