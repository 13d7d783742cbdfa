"""Operations on runs: list, wait, follow."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from iogate.store import keys
from iogate.store.runs import operations
from iogate.store.runs.operations import RunView
from iogate.store.runs.uids import UidSource, created_ms
from iogate.store.store import Store
from tests.store.builders import ORDERS, accepted, api, commit, publish, until


async def test_lists_are_newest_first_and_filter_by_api_status_and_time(each_store: Store) -> None:
    other = api("other/one")
    await publish(each_store, ORDERS, other)
    intake = each_store.intake()
    uids = [await accepted(intake, ORDERS if n % 10 else other) for n in range(130)]
    for claim in (await each_store.leases.take("w", 20)).claims:
        await each_store.leases.commit([commit(claim)])
    newest = uids[::-1]
    assert [s.uid for s in await each_store.runs.list(limit=5)] == newest[:5]
    assert [s.uid for s in await each_store.runs.list(limit=1000)] == newest
    assert [s.uid for s in await each_store.runs.list(api="other/one", limit=7)] == newest[9::10][:7]
    done = await each_store.runs.list(statuses=["completed"], limit=50)
    assert [s.uid for s in done] == uids[:20][::-1]
    assert {s.status for s in done} == {"completed"}
    assert await each_store.runs.list(since_ms=int(time.time() * 1000) + 60_000) == []
    counts = await each_store.runs.counts()
    assert (counts["completed"], counts["pending"]) == (20, 110)


async def test_a_wait_ends_with_the_run_and_at_its_deadline(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    waits = [asyncio.create_task(each_store.runs.wait(uid, 60)) for _ in range(20)]
    view = await each_store.runs.wait(uid, 0.02)
    assert view is not None
    assert view.status == "pending"
    (claim,) = (await each_store.leases.take("w", 1)).claims
    begun = time.monotonic()
    await each_store.leases.commit([commit(claim, output=b"1")])
    views = await asyncio.gather(*waits)
    assert {v.status for v in views if v} == {"completed"}
    assert len(views) == 20
    assert time.monotonic() - begun < 50
    assert await each_store.runs.wait("1", 10) is None


async def test_a_message_wakes_only_the_waiters_of_its_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the message alone: without it they would look again long after the test's deadline."""
    for name in ("LOOK_AGAIN_S", "LOOK_AGAIN_AT_LATEST_S"):
        monkeypatch.setattr(operations, name, 60.0)
    looks: Counter[str] = Counter()

    async def show(uid: str, **options: Any) -> RunView | None:
        looks[uid] += 1
        return await show_run(uid, **options)

    show_run = store.runs.show
    monkeypatch.setattr(store.runs, "show", show)
    await publish(store)
    intake = store.intake()
    uids = [await accepted(intake) for _ in range(30)]
    impatient = await store.runs.wait(uids[0], 0.02)
    assert impatient is not None
    assert not impatient.ended
    looks.clear()
    waits = {uid: [asyncio.create_task(store.runs.wait(uid, 50)) for _ in range(2)] for uid in uids}

    async def all_wait() -> bool:
        return all(looks[uid] == 4 for uid in uids)

    await until(all_wait)
    going = [claim.uid for claim in (await store.leases.take("w", 15)).claims]
    ending = (await store.leases.take("w", 15)).claims
    waits[ending[0].uid].pop().cancel()
    looks.clear()
    await store.leases.commit([commit(claim) for claim in ending])
    views = await asyncio.gather(*(task for claim in ending for task in waits[claim.uid]))
    assert {view.status for view in views if view} == {"completed"}
    assert set(looks) == {claim.uid for claim in ending}
    for uid in going:
        for task in waits[uid]:
            task.cancel()


async def test_following_yields_each_entry_once_and_stops_at_the_end(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, "keep", journal=[b"1", b"2"])])
    follow = each_store.runs.follow(uid)
    assert [await anext(follow), await anext(follow)] == [(1, b"1"), (2, b"2")]
    await each_store.leases.commit([commit(claim, "keep", seq=2, journal=[b"3"])])
    assert await anext(follow) == (3, b"3")
    await each_store.leases.commit([commit(claim, seq=3, journal=[b"4"])])
    assert [line async for line in follow] == [(4, b"4")]


@pytest.mark.parametrize("ended", [False, True])
async def test_an_entry_keeps_its_number_when_older_ones_are_dropped(
    each_store: Store, *, ended: bool
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    many = [b"%d" % number for number in range(1, keys.JOURNAL_ENTRIES + 501)]
    await each_store.leases.commit([commit(claim, "keep", journal=many[:600])])
    await each_store.leases.commit([commit(claim, "keep", seq=2, journal=many[600:1100])])
    await each_store.leases.commit([commit(claim, "keep", seq=3, journal=many[1100:])])
    if ended:
        await each_store.leases.commit([commit(claim, seq=4, journal=[b"1501"])])
    follow = each_store.runs.follow(uid)
    assert await anext(follow) == ((502, b"502") if ended else (501, b"501"))
    behind = each_store.runs.follow(uid, after=1498)
    assert [await anext(behind), await anext(behind)] == [(1499, b"1499"), (1500, b"1500")]
    await follow.aclose()
    await behind.aclose()


async def test_queue_depth_and_age_count_all_waiting_runs(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    assert (await each_store.runs.queue()).depth == 0
    await asyncio.gather(*(accepted(intake) for _ in range(100)))
    assert (await each_store.runs.queue()).depth == 100

    async def older() -> bool:
        return 0.01 <= (await each_store.runs.queue()).oldest_s < 10

    await until(older)


def test_uids_rise_with_time_and_fit_19_digits() -> None:
    source = UidSource()
    before_ms = time.time() * 1000
    drawn = [int(source.next()) for _ in range(10_000)]
    assert drawn == sorted(set(drawn))
    assert all(len(str(uid)) <= 19 for uid in drawn)
    assert before_ms - 5_000 < created_ms(str(drawn[0])) < time.time() * 1000 + 5_000


def test_a_clock_that_is_set_back_repeats_no_uid() -> None:
    from unittest.mock import patch

    source = UidSource()
    with patch(
        "iogate.store.runs.uids.epoch_ms",
        side_effect=[2_000_000_000_000, 1_900_000_000_000, 2_000_000_000_000],
    ):
        drawn = [int(source.next()) for _ in range(3)]
    assert drawn[0] < drawn[1] < drawn[2]


async def test_the_api_of_a_run_is_read_in_each_state(each_store: Store) -> None:
    await publish(each_store)
    intake, api_of = each_store.intake(), each_store.runs.api_of
    pending, waiting, completed, faulted = [await accepted(intake) for _ in range(4)]
    claims = {claim.uid: claim for claim in (await each_store.leases.take("w", 4)).claims}
    due_ms = claims[waiting].created_at_ms + 600_000
    await each_store.leases.commit(
        [
            commit(claims[waiting], "park", due_ms=due_ms),
            commit(claims[completed], output=b'"%b"' % (b"x" * 100_000)),
            commit(claims[faulted], status="faulted", error=b"{}"),
        ]
    )
    cancelled = await accepted(intake)
    await each_store.runs.cancel(cancelled)
    folded = await each_store.call("GET", keys.PARKED + waiting)
    assert folded is not None
    for uid in (pending, waiting, completed, faulted, cancelled):
        assert await api_of(uid) == ORDERS.id, uid
    assert await api_of("1") is None
    ended = await each_store.call("GET", keys.END + completed)
    for key, uid, parts in ((keys.PARKED, waiting, folded[:40]), (keys.END, completed, ended[:20])):
        for broken in (b"", b"evil", b"\x94", parts):
            await each_store.call("SET", key + uid, broken)
            assert await api_of(uid) is None, broken
    await each_store.call("DEL", keys.END + completed)
    await each_store.call("HSET", keys.END + completed, "a", "b")
    assert await api_of(completed) is None
