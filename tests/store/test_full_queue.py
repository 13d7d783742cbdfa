"""A full queue: when a refused call is to return, replacing the oldest run, and priorities."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from iogate.compiler.revision import Api, Concurrency, Limits
from iogate.store import keys
from iogate.store.runs.intake import Accepted, AcceptRequest, Intake, Refusal
from iogate.store.runs.traffic import Traffic, key_hash
from iogate.store.store import Store
from tests.store.builders import accepted, api, commit, publish, request, state_of

WORKER = "w1"
SMALL = api("small/one", limits=Limits(queued=10))


async def refused(intake: Intake, of: Api, **more: Any) -> Refusal:
    outcome = await intake.accept(request(intake, of, **more))
    assert isinstance(outcome, Refusal), outcome
    return outcome


async def drained(store: Store, count: int) -> None:
    claims = (await store.leases.take(WORKER, count)).claims
    await store.leases.commit([commit(claim) for claim in claims])


async def measured(store: Store, of: Api, per_s: float) -> None:
    """Set the measured drain rate, as if workers had taken runs for a long time."""
    now = (await store.leases.take("nobody", 0)).now_ms
    count = per_s * keys.DRAIN_MS / 1000
    await store.call("HSET", keys.GATE + of.id, "dr", f"{now - 100 * keys.DRAIN_MS} {now} {count:.4f}")


async def test_a_refused_call_is_told_when_its_turn_is_and_accepted_then(each_store: Store) -> None:
    await publish(each_store, SMALL)
    intake = each_store.intake()
    for _ in range(10):
        await accepted(intake, SMALL)
    await measured(each_store, SMALL, 100.0)
    assert (await refused(intake, SMALL, input=b'"soon"')).retry_after_s == 1, "not earlier"
    promised = keys.PROMISED + SMALL.id
    await each_store.call("DEL", promised)
    # At this rate, no turn comes before the end of the test, also on a busy machine.
    began = time.monotonic()
    await measured(each_store, SMALL, 0.05)
    waits = [
        (await refused(intake, SMALL, idempotency_key=f"k{n}", fingerprint="f")).retry_after_s
        for n in range(6)
    ]
    assert waits == sorted(waits)
    # The measured rate decays in the meantime.
    slower = math.exp((time.monotonic() - began) / (keys.DRAIN_MS / 1000))
    for n, wait_s in enumerate(waits):
        assert 20 * (n + 1) <= wait_s <= 20 * (n + 1) * 1.2 * slower
    # A call that returns too early keeps its turn.
    early = await refused(intake, SMALL, idempotency_key="k5", fingerprint="f")
    assert waits[5] - (time.monotonic() - began) - 0.1 < early.retry_after_s <= waits[5]

    await drained(each_store, 6)
    entries = await each_store.call("ZRANGE", promised, 0, -1)
    assert len(entries) == 6
    for entry in entries[:5]:
        await each_store.call(
            "ZADD", promised, 1 + (await each_store.leases.take("nobody", 0)).now_ms - 10, entry
        )
    # Five of the six free places are kept for those that were told to return now.
    assert isinstance(await intake.accept(request(intake, SMALL, input=b'"new"')), Accepted)
    assert (await refused(intake, SMALL, input=b'"newer"')).retry_after_s >= 1
    for n in range(5):
        call = request(intake, SMALL, idempotency_key=f"k{n}", fingerprint="f")
        assert isinstance(await intake.accept(call), Accepted), n
    assert await each_store.call("ZCARD", promised) == 2


async def test_the_rate_is_that_of_the_runs_taken_while_others_wait(each_store: Store) -> None:
    of = api("busy/one", limits=Limits(queued=300))
    await publish(each_store, of)
    intake = each_store.intake()
    await asyncio.gather(*(accepted(intake, of) for _ in range(300)))
    before = time.monotonic()
    await drained(each_store, 4)  # begins the measurement
    began = time.monotonic()
    for _ in range(20):
        await drained(each_store, 4)
        await asyncio.sleep(0.02)
    lasted_s = time.monotonic() - began
    await asyncio.gather(*(accepted(intake, of) for _ in range(84)))
    told = [(await refused(intake, of, input=b'"%d"' % n)).retry_after_s for n in range(80)]
    assert lasted_s / 2 < told[-1] < (time.monotonic() - before) * 2 + 1, "80 were taken in that time"
    while (await each_store.gates.states())[of.id].queued:
        await drained(each_store, 64)
    await each_store.call("DEL", keys.PROMISED + of.id)
    await accepted(intake, of)
    await drained(each_store, 1)
    assert await each_store.call("HMGET", keys.GATE + of.id, "dr", "pms") == [None, None]


async def test_the_time_is_bounded_without_workers_and_on_hold(each_store: Store) -> None:
    await publish(each_store, SMALL)
    intake = each_store.intake()
    for _ in range(10):
        await accepted(intake, SMALL)
    assert 1 <= (await refused(intake, SMALL, input=b'"a"')).retry_after_s < 2.5
    await measured(each_store, SMALL, 0.0)
    assert 100 < (await refused(intake, SMALL, input=b'"b"')).retry_after_s <= 300
    await each_store.gates.set_enabled([SMALL.id], True, author="me", hold=True)
    assert 250 < (await refused(intake, SMALL, input=b'"c"')).retry_after_s <= 300
    ttl = await each_store.call("PTTL", keys.PROMISED + SMALL.id)
    assert 0 < ttl <= keys.RETRY_MOST_MS + keys.PROMISE_GRACE_MS


async def test_a_rate_per_caller_is_shared_by_gateways_and_not_by_callers(each_store: Store) -> None:
    of = api("rated/one", limits=Limits(rate=0.01, burst=2, per="caller"))
    await publish(each_store, of)
    first, second = each_store.intake(), each_store.intake()

    def call(intake: Intake, who: str) -> AcceptRequest:
        return request(intake, of, traffic=Traffic(per=key_hash(who)))

    assert isinstance(await first.accept(call(first, "ada")), Accepted)
    assert isinstance(await second.accept(call(second, "ada")), Accepted)
    blocked = await first.accept(call(first, "ada"))
    assert isinstance(blocked, Refusal)
    assert (blocked.reason, 0 < blocked.retry_after_s <= 100) == ("rate", True)
    assert isinstance(await first.accept(call(first, "bob")), Accepted)
    rates = keys.RATES + of.id
    assert 0 < await each_store.call("PTTL", rates) <= 400_000
    await each_store.call("ZADD", rates, *(part for n in range(40) for part in (5, f"old{n}")))
    await first.accept(call(first, "eve"))
    assert await each_store.call("ZCARD", rates) == 3


@pytest.mark.parametrize("queued", [3, 100])
async def test_a_full_queue_replaces_its_oldest_run(each_store: Store, queued: int) -> None:
    of = api("latest/one", limits=Limits(queued=queued, on_full="replace"))
    await publish(each_store, of, api("other/one"))
    intake, replacing = each_store.intake(), Traffic(replace=True)
    other = await accepted(intake, api("other/one"))
    uids = [await accepted(intake, of, traffic=replacing) for _ in range(queued)]
    new = [await accepted(intake, of, traffic=replacing) for _ in range(2)]
    for old, by in zip(uids, new, strict=False):
        view = await each_store.runs.show(old)
        assert view is not None
        assert (view.status, view.cancel_reason) == (
            "cancelled",
            f"run {by} has replaced it, because the queue of its API was full",
        )
    assert await state_of(each_store, other) == "queue"
    assert (await each_store.gates.states())[of.id].queued == queued
    taken = []
    while claims := (await each_store.leases.take(WORKER, 50)).claims:
        taken += [claim.uid for claim in claims if claim.api == of.id]
        await each_store.leases.commit([commit(claim) for claim in claims])
    assert taken == [*uids[2:], *new]


async def test_a_full_queue_of_taken_runs_refuses(each_store: Store) -> None:
    of = api("latest/one", limits=Limits(queued=1, on_full="replace", running=1))
    await publish(each_store, of)
    intake = each_store.intake()
    uid = await accepted(intake, of)
    (claim,) = (await each_store.leases.take(WORKER, 1)).claims
    await each_store.leases.commit([commit(claim, "queue")])
    assert (await refused(intake, of, traffic=Traffic(replace=True))).reason == "queue_full"
    assert await state_of(each_store, uid) == "queue"


async def test_a_full_queue_replaces_a_run_of_the_same_key_only(each_store: Store) -> None:
    rules = Concurrency(key="/c")
    of = api("keyed/one", limits=Limits(queued=4, on_full="replace", concurrency=rules))
    await publish(each_store, of)
    intake = each_store.intake()

    def traffic(key: str) -> Traffic:
        return Traffic(key=key, replace=True)

    a = [await accepted(intake, of, traffic=traffic("a")) for _ in range(3)]
    b = await accepted(intake, of, traffic=traffic("b"))
    newer = await accepted(intake, of, traffic=traffic("a"))
    states = [await state_of(each_store, uid) for uid in (*a, b, newer)]
    assert states == ["end", "queue", "lane", "queue", "lane"]
    assert (await refused(intake, of, traffic=traffic("c"))).reason == "queue_full"


async def test_a_full_queue_replaces_the_oldest_run_in_a_window(each_store: Store) -> None:
    of = api("merged/one", limits=Limits(queued=3, on_full="replace"))
    await publish(each_store, of)
    intake = each_store.intake()

    def traffic(merge: str) -> Traffic:
        return Traffic(merge=merge, window=60_000, most=600_000, replace=True)

    uids = [await accepted(intake, of, traffic=traffic(f"sku{n}")) for n in range(3)]
    again = await intake.accept(request(intake, of, traffic=traffic("sku0")))
    assert isinstance(again, Accepted)
    assert (again.uid, again.coalesced) == (uids[0], True), "a call for a run that waits needs no room"
    newer = await accepted(intake, of, traffic=traffic("sku3"))
    assert [await state_of(each_store, uid) for uid in (*uids, newer)] == [
        "end",
        "window",
        "window",
        "window",
    ]
    plain = await accepted(intake, of, traffic=Traffic(replace=True))
    assert [await state_of(each_store, uid) for uid in (uids[1], plain)] == ["end", "queue"]
    newest = await accepted(intake, of, traffic=traffic("sku0"))
    assert newest != uids[0]
    assert [await state_of(each_store, uid) for uid in (uids[2], newer, plain, newest)] == [
        "end", "window", "queue", "window",
    ]  # fmt: skip
    assert (await each_store.gates.states())[of.id].queued == 3


async def test_a_run_in_a_window_is_replaced_by_calls_of_its_key_only(each_store: Store) -> None:
    of = api("both/one", limits=Limits(queued=2, on_full="replace", concurrency=Concurrency(key="/c")))
    await publish(each_store, of)
    intake = each_store.intake()

    def traffic(key: str, merge: str = "") -> Traffic:
        return Traffic(key=key, merge=merge, window=60_000, most=600_000, replace=True)

    first, second = [await accepted(intake, of, traffic=traffic(key, f"m{key}")) for key in "ab"]
    assert (await refused(intake, of, traffic=traffic("c", "mc"))).reason == "queue_full"
    assert (await refused(intake, of, traffic=Traffic(replace=True))).reason == "queue_full"
    newer = await accepted(intake, of, traffic=traffic("b"))
    states = [await state_of(each_store, uid) for uid in (first, second, newer)]
    assert states == ["window", "end", "queue"]


async def test_a_call_without_a_key_replaces_no_run_of_a_key(each_store: Store) -> None:
    of = api("keyed/one", limits=Limits(queued=2, on_full="replace", concurrency=Concurrency(key="/c")))
    await publish(each_store, of)
    intake = each_store.intake()
    keyed = await accepted(intake, of, traffic=Traffic(key="a", replace=True))
    plain = await accepted(intake, of, traffic=Traffic(replace=True))
    newer = await accepted(intake, of, traffic=Traffic(replace=True))
    assert [await state_of(each_store, uid) for uid in (keyed, plain, newer)] == ["queue", "end", "queue"]
    await accepted(intake, of, traffic=Traffic(key="a", replace=True))
    assert [await state_of(each_store, uid) for uid in (keyed, newer)] == ["end", "queue"]


async def test_a_higher_priority_is_taken_first_and_a_lower_one_not_never(each_store: Store) -> None:
    low, high = (api(f"{n}/one", limits=Limits(priority=p)) for n, p in (("low", 1), ("high", 9)))
    plain = api("plain/one")
    await publish(each_store, low, plain, high)
    intake = each_store.intake()
    for of in (low, plain, high):
        for _ in range(16):
            await accepted(intake, of)
    order = []
    while claims := (await each_store.leases.take(WORKER, 5)).claims:
        order += [claim.api.partition("/")[0] for claim in claims]
        await each_store.leases.commit([commit(claim) for claim in claims])
    assert len(order) == 48
    in_turn = [order[n] for n in range(7, 48, 8)]
    rest = [name for n, name in enumerate(order) if n % 8 != 7]
    assert rest == sorted(rest, key=("high", "plain", "low").index)
    assert in_turn[0] == "low"
    await publish(each_store, plain)
    assert await each_store.call("EXISTS", keys.PRIORITIES) == 0


async def test_a_take_of_an_empty_queue_writes_nothing_for_priorities(each_store: Store) -> None:
    await publish(each_store, api("high/one", limits=Limits(priority=9)))
    for _ in range(3):
        assert (await each_store.leases.take(WORKER, 5)).claims == ()
    assert await each_store.call("HGETALL", keys.PRIORITIES) == [b"high/one", b"9"]


async def test_a_full_queue_does_not_replace_a_suspended_run(each_store: Store) -> None:
    rules = Concurrency(key="/customer", limit=1)
    of = api("keyed/one", limits=Limits(queued=1, on_full="replace", concurrency=rules))
    await publish(each_store, of)
    intake, replacing = each_store.intake(), Traffic(key="a", replace=True)
    suspended = await accepted(intake, of, traffic=replacing)
    await each_store.runs.suspend(suspended)
    waiting = await accepted(intake, of, traffic=replacing)
    newest = await accepted(intake, of, traffic=replacing)
    statuses = [await status_of(each_store, uid) for uid in (suspended, waiting, newest)]
    assert statuses == ["suspended", "cancelled", "pending"]


async def status_of(store: Store, uid: str) -> str:
    view = await store.runs.show(uid)
    assert view is not None
    return view.status
