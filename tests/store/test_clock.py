"""Time of the store: leases, timers and rates continue if the clock is set back."""

from __future__ import annotations

import pytest

from iogate.compiler.revision import Limits
from iogate.operators import schedules
from iogate.store import keys
from iogate.store.connection.connection import time_ms
from iogate.store.runs.intake import Accepted, Refusal
from iogate.store.runs.traffic import Traffic, key_hash
from iogate.store.store import Store
from tests.store.builders import accepted, api, commit, publish, request, scripted, state_of, until
from tests.store.revisions.test_due_schedules import EVERY, UIDS, come
from tests.store.revisions.test_due_schedules import publish as publish_schedule

MINUTES = 600_000
"""How far the clock is set back: as after ten minutes in which it was wrong by ten minutes."""


async def clock(store: Store) -> int:
    return time_ms(await store.call("TIME"))


async def set_back(store: Store) -> int:
    """Simulate a clock that was ten minutes ahead at the last take; return the store's time then."""
    then = await clock(store) + MINUTES
    await store.call("SET", keys.UPKEEP, then)
    return then


async def test_timers_and_leases_continue(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    parked, held = [await accepted(intake) for _ in range(2)]
    (claim, _) = (await each_store.leases.take("w", 2)).claims
    await each_store.leases.commit([commit(claim, "park", due_ms=claim.created_at_ms + MINUTES * 2)])
    then = await set_back(each_store)
    await each_store.call("ZADD", keys.TIMERS, then + 100, parked)
    await each_store.call("ZADD", keys.LEASES, then + 100, held)

    async def went_on() -> bool:
        assert (await each_store.leases.take("other", 0)).now_ms >= then
        return {await state_of(each_store, uid) for uid in (parked, held)} == {"queue"}

    await until(went_on, 60.0)  # a lease is longer after a silence of five seconds
    claims = (await each_store.leases.take("other", 2)).claims
    verdicts = await each_store.leases.commit([commit(each) for each in claims])
    assert [verdict.applied for verdict in verdicts] == [True, True]


async def test_an_override_ends_on_time(each_store: Store) -> None:
    """A gateway that reads the gate and the script that accepts agree on the time."""
    await publish(each_store)
    await set_back(each_store)
    await each_store.leases.take("w", 0)
    await each_store.gates.set_enabled(["orders/submit"], False, author="ada", ttl_s=60.0)
    intake = each_store.intake()
    assert not await each_store.gates.is_enabled("orders/submit")
    await each_store.gates.set_enabled(["orders/submit"], False, author="ada", ttl_s=0.001)

    async def over() -> bool:
        return await each_store.gates.is_enabled("orders/submit")

    await until(over)
    assert (await each_store.gates.states())["orders/submit"].enabled
    assert isinstance(await intake.accept(request(intake)), Accepted)


async def test_ticks_and_the_switch_of_a_schedule_continue(store: Store) -> None:
    """The worker that reads the ticks and the scripts that take and switch them agree on the time."""
    await publish_schedule(store, EVERY)
    then = await set_back(store)
    await store.leases.take("w", 0)
    due = await come(store, then)
    assert await store.schedules.take(due, [UIDS.next()], due.due_ms + 60_000) == ("ok", 1, "")
    await store.schedule_states.switch(["shop/report"], enabled=False, author="ada", reason="", ttl_s=0.001)

    async def is_enabled() -> bool:
        return not (await store.schedules.upcoming())["shop/report"].disabled

    await until(is_enabled)
    (row,) = (await schedules.list_all(store))["schedules"]
    assert row["disabled"] is None


async def test_the_rate_limiter_admits_the_next_call(each_store: Store) -> None:
    """Also if no worker takes anything, so that the change of the clock is not detected."""
    limited = api(limits=Limits(rate=10.0, burst=1))
    await publish(each_store, limited)
    intake = each_store.intake()
    await each_store.call("HSET", keys.GATE + limited.id, "tat", await clock(each_store) + MINUTES)
    assert isinstance(await intake.accept(request(intake, limited)), Accepted)
    refusal = await intake.accept(request(intake, limited))
    if isinstance(refusal, Refusal):
        assert refusal.reason == "rate"
        assert refusal.retry_after_s <= 0.1


async def test_the_rate_of_a_caller_admits_the_next_call(each_store: Store) -> None:
    limited = api(limits=Limits(rate=10.0, burst=1, per="caller"))
    await publish(each_store, limited)
    intake = each_store.intake()
    rules = Traffic(per=key_hash("ada"))
    far = await clock(each_store) + MINUTES
    await each_store.call("ZADD", keys.RATES + limited.id, far, key_hash("ada"), far, key_hash("bob"))
    assert isinstance(await intake.accept(request(intake, limited, traffic=rules)), Accepted)
    refusal = await intake.accept(request(intake, limited, traffic=rules))
    assert isinstance(refusal, Accepted) or (refusal.reason == "rate" and refusal.retry_after_s <= 0.1)


@pytest.mark.parametrize("noticed", [False, True])
async def test_a_window_ends_and_takes_calls_meanwhile(each_store: Store, *, noticed: bool) -> None:
    await publish(each_store)
    intake = each_store.intake()
    rules = Traffic(merge=key_hash("A-1"), window=1_000, most=2_000)
    uid = await accepted(intake, traffic=rules)
    then = await set_back(each_store)
    # As if the call had come while the clock was ahead.
    await each_store.call("HSET", keys.RUN + uid, "crt", then, "due", then + 1_000)
    await each_store.call("ZADD", keys.TIMERS, then + 1_000, uid)
    if noticed:
        await each_store.leases.take("w", 0)
    again = await intake.accept(request(intake, traffic=rules))
    assert isinstance(again, Accepted)
    assert (again.uid, again.coalesced) == (uid, True)

    async def is_queued() -> bool:
        await each_store.leases.take("w", 0)
        return await state_of(each_store, uid) == "queue"

    await until(is_queued)


async def test_a_full_queue_tells_no_time_beyond_its_bound(each_store: Store) -> None:
    """Also to a call whose turn was computed before the clock was set back."""
    small = api(limits=Limits(queued=1))
    await publish(each_store, small)
    intake = each_store.intake()
    await accepted(intake, small)
    call = request(intake, small, idempotency_key="k", fingerprint="f")
    assert isinstance(await intake.accept(call), Refusal)
    (entry,) = await each_store.call("ZRANGE", keys.PROMISED + small.id, 0, -1)
    await each_store.call("ZADD", keys.PROMISED + small.id, await clock(each_store) + MINUTES, entry)
    refusal = await intake.accept(request(intake, small, idempotency_key="k", fingerprint="f"))
    assert isinstance(refusal, Refusal)
    assert refusal.retry_after_s <= keys.RETRY_MOST_MS / 1000


async def test_the_clock_catches_up_and_time_stays_monotone(each_store: Store) -> None:
    # The clock catches up at once after a silence, and the machine may be slower than that between two takes.
    with scripted(silence_ms=60_000):
        await set_back(each_store)
        seen = [(await each_store.leases.take("w", 0)).now_ms]
        first = int(await each_store.call("GET", keys.CLOCK_AHEAD))
        assert MINUTES - 30_000 < first <= MINUTES
        for _ in range(50):
            # As if four seconds had passed since the last take.
            await each_store.call("SET", keys.UPKEEP, await clock(each_store) - 4_000)
            seen.append((await each_store.leases.take("w", 0)).now_ms + 4_000 * len(seen))
        assert seen == sorted(seen)
        ahead = int(await each_store.call("GET", keys.CLOCK_AHEAD))
        assert first - 50 * 200 - 1_000 <= ahead <= first - 50 * 200
    await each_store.call("SET", keys.UPKEEP, await clock(each_store) - MINUTES * 2)
    after = await each_store.leases.take("w", 0)
    assert int(await each_store.call("GET", keys.CLOCK_AHEAD)) == 0
    assert after.now_ms <= await clock(each_store)


@pytest.mark.parametrize(
    ("key", "value"),
    [(keys.UPKEEP, 9 * 10**15), (keys.CLOCK_AHEAD, "x"), (keys.CLOCK_AHEAD, 10**15), (keys.CLOCK_AHEAD, -5)],
)
async def test_a_forged_clock_offset_is_ignored(each_store: Store, key: str, value: str | int) -> None:
    await each_store.call("SET", key, value)
    before = await clock(each_store)
    now = (await each_store.leases.take("w", 0)).now_ms
    assert before <= now <= await clock(each_store)
