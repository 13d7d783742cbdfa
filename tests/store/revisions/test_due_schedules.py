"""Schedules in the store: a tick is taken once, with its runs; an apply replaces all of them atomically."""

from __future__ import annotations

import asyncio

import pytest

from iogate.compiler.revision import Bundle, Revision, Workflow, digest_of
from iogate.compiler.schedules import Schedule
from iogate.store import keys
from iogate.store.maintenance import audit
from iogate.store.revisions.due_schedules import Tick
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store
from tests.store.builders import commit

UIDS = UidSource()
PROGRAM = digest_of({})
EVERY = Schedule(kind="every", program=PROGRAM, milliseconds=60_000)
AFTER = Schedule(kind="after", program=PROGRAM, milliseconds=60_000)
STANDING = digest_of({"standing": True})
ON = Schedule(kind="on", program=STANDING)
ID = "schedule:shop/report"


async def publish(store: Store, *schedules: Schedule, program: str = PROGRAM) -> int:
    """Return a revision with one workflow that has this schedule, or none."""
    workflow = Workflow(program=program, schedule=schedules[0] if schedules else None)
    revision = Revision(apis={}, workflows={"shop/report:1.0.0": workflow})
    return await store.revisions.publish(
        Bundle(revision=revision, programs={program: b"{}", STANDING: b'{"standing":true}'})
    )


async def come(store: Store, due_ms: int | None = None) -> Tick:
    """Return the due tick."""
    now_ms = (await store.schedules.due()).now_ms
    await store.call("ZADD", keys.TICKS, now_ms if due_ms is None else due_ms, ID)
    (tick,) = (await store.schedules.due()).ticks
    return tick


async def runs(store: Store) -> list[str]:
    return [run.uid for run in await store.runs.list(api=ID)]


async def end(store: Store, uid: str, status: str = "completed") -> None:
    taken = await store.leases.take("w1", 100)
    (claim,) = [claim for claim in taken.claims if claim.uid == uid]
    (verdict,) = await store.leases.commit([commit(claim, status=status)])
    assert verdict.applied


async def test_an_interval_begins_at_the_apply_and_its_first_tick_is_one_interval_later(store: Store) -> None:
    before_ms = (await store.schedules.due()).now_ms
    await publish(store, EVERY)
    due = await store.schedules.due()
    assert due.ticks == ()
    assert due.next_ms is not None
    assert before_ms + 60_000 <= due.next_ms <= due.now_ms + 60_000


@pytest.mark.parametrize("schedule", [AFTER, ON])
async def test_after_and_on_first_tick_at_the_apply(store: Store, schedule: Schedule) -> None:
    await publish(store, schedule)
    due = await store.schedules.due()
    (tick,) = due.ticks
    assert tick.id == ID
    assert tick.scheduled.workflow == "shop/report:1.0.0"


async def test_concurrent_takes_of_one_tick_have_one_winner(each_store: Store) -> None:
    await publish(each_store, EVERY)
    tick = await come(each_store)
    takes = (each_store.schedules.take(tick, [UIDS.next()], tick.due_ms + 60_000) for _ in range(20))
    outcomes = await asyncio.gather(*takes)
    assert sorted(outcomes) == [("gone", 0, "")] * 19 + [("ok", 1, "")]
    (uid,) = await runs(each_store)
    view = await each_store.runs.show(uid)
    assert view is not None
    assert (view.status, view.api, view.caller, view.workflow) == (
        "pending",
        ID,
        "schedule",
        "shop/report:1.0.0",
    )
    assert (await each_store.schedules.due()).next_ms == tick.due_ms + 60_000


async def test_a_worker_takes_a_scheduled_run_like_any_other(store: Store) -> None:
    await publish(store, EVERY)
    tick = await come(store)
    uid = UIDS.next()
    await store.schedules.take(tick, [uid], tick.due_ms + 60_000)
    (claim,) = (await store.leases.take("w1", 1)).claims
    assert (claim.uid, claim.api, claim.input) == (uid, ID, b"{}")
    assert (await store.leases.audit(), await runs(store)) == (0, [uid])


async def test_a_tick_read_before_an_apply_is_validated_again(store: Store) -> None:
    await publish(store, EVERY)
    tick = await come(store)
    await publish(store, Schedule(kind="every", program="p2", milliseconds=60_000), program="p2")
    assert await store.schedules.take(tick, [UIDS.next()], tick.due_ms + 60_000) == ("gone", 0, "")
    (again,) = (await store.schedules.due()).ticks
    assert again.scheduled.schedule.program == "p2"


async def test_an_unchanged_schedule_keeps_its_next_tick_over_an_apply(store: Store) -> None:
    await publish(store, EVERY)
    await store.call("ZADD", keys.TICKS, 5_000_000_000_000, ID)
    await publish(store, Schedule(kind="every", program="p2", milliseconds=60_000), program="p2")
    assert (await store.schedules.due()).next_ms == 5_000_000_000_000
    await publish(store, Schedule(kind="every", program="p2", milliseconds=30_000), program="p2")
    due = await store.schedules.due()
    assert due.next_ms is not None
    assert due.next_ms <= due.now_ms + 30_000


async def test_an_apply_that_removes_a_schedule_stops_it_and_keeps_its_run(store: Store) -> None:
    await publish(store, EVERY)
    tick = await come(store)
    await store.schedules.take(tick, [UIDS.next()], tick.due_ms + 60_000)
    await publish(store)
    assert await store.schedules.upcoming() == {}
    due = await store.schedules.due()
    assert (due.ticks, due.next_ms) == ((), None)
    await end(store, *await runs(store))


@pytest.mark.parametrize("status", ["completed", "faulted", "cancelled"])
async def test_after_ticks_again_after_any_end(store: Store, status: str) -> None:
    await publish(store, AFTER)
    (tick,) = (await store.schedules.due()).ticks
    uid = UIDS.next()
    assert await store.schedules.take(tick, [uid], None, again_ms=60_000) == ("ok", 1, "")
    due = await store.schedules.due()
    assert (due.ticks, due.next_ms) == ((), None)
    upcoming = (await store.schedules.upcoming())["shop/report"]
    assert (upcoming.run, upcoming.next_ms) == (uid, None)
    await end(store, uid, status)
    ended = await store.schedules.due()
    assert ended.next_ms is not None
    assert due.now_ms + 60_000 <= ended.next_ms <= ended.now_ms + 60_000
    assert (await store.schedules.upcoming())["shop/report"].run is None


async def test_runs_of_after_do_not_overlap_if_its_delay_changes(
    store: Store,
) -> None:
    await publish(store, AFTER)
    (tick,) = (await store.schedules.due()).ticks
    uid = UIDS.next()
    await store.schedules.take(tick, [uid], None, again_ms=60_000)
    await publish(store, Schedule(kind="after", program=PROGRAM, milliseconds=5))
    assert (await store.schedules.due()).ticks == ()
    await end(store, uid)
    assert (await store.schedules.due()).next_ms is not None


async def test_a_standing_run_ends_with_its_schedule(store: Store) -> None:
    await publish(store, ON)
    (tick,) = (await store.schedules.due()).ticks
    uid = UIDS.next()
    await store.schedules.take(tick, [uid], None, again_ms=1_000)
    (claim,) = (await store.leases.take("w1", 1)).claims
    await store.leases.commit([commit(claim, "park")])
    await publish(store, ON, program="p2")
    assert (await store.leases.take("w1", 1)).claims == ()
    await publish(store)
    (again,) = (await store.leases.take("w1", 1)).claims
    assert (again.uid, again.cancelled) == (uid, True)
    assert await store.schedules.upcoming() == {}


@pytest.mark.parametrize(
    ("status", "has_listened", "delay_ms"),
    [("faulted", False, 60_000), ("faulted", True, 1_000), ("cancelled", False, 1_000)],
)
async def test_a_standing_run_that_cannot_listen_starts_again_after_a_minute(
    store: Store, *, status: str, has_listened: bool, delay_ms: int
) -> None:
    """Otherwise an expression that fails would store a faulted run each second."""
    await publish(store, ON)
    (tick,) = (await store.schedules.due()).ticks
    uid = UIDS.next()
    await store.schedules.take(tick, [uid], None, again_ms=1_000)
    if has_listened:
        (claim,) = (await store.leases.take("w1", 1)).claims
        await store.leases.commit([commit(claim, "queue")])
    before_ms = (await store.schedules.due()).now_ms
    await end(store, uid, status)
    after_ms = (await store.schedules.due()).now_ms
    next_ms = (await store.schedules.upcoming())["shop/report"].next_ms
    assert next_ms is not None
    assert before_ms + delay_ms <= next_ms <= after_ms + delay_ms


async def test_an_after_schedule_continues_if_its_run_was_deleted(store: Store) -> None:
    await publish(store, AFTER)
    (tick,) = (await store.schedules.due()).ticks
    uid = UIDS.next()
    await store.schedules.take(tick, [uid], None, again_ms=60_000)
    assert await store.schedules.relink() == 0
    await store.call("DEL", keys.RUN + uid)
    assert await store.schedules.relink() == 1
    assert len((await store.schedules.due()).ticks) == 1


async def test_foreign_data_stops_no_apply_and_no_list(store: Store) -> None:
    await publish(store, AFTER)
    for garbage in (b"\xc1", b"\x01", b"\x93\xa2on\xa1p\xa2{}", b"text"):
        await store.call("HSET", keys.SCHEDULES, ID, garbage, "schedule:a/b", garbage)
        await store.call("HSET", keys.CHAINS, "schedule:a/b", garbage)
        await store.call("ZADD", keys.TICKS, 1, "schedule:a/gone")
        assert await store.schedules.upcoming() == {}
        assert await store.schedules.relink() > 0
        await publish(store, EVERY)
        assert list(await store.schedules.upcoming()) == ["shop/report"]
        await publish(store)


async def test_the_program_of_a_standing_run_is_kept_before_its_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BLOB_GRACE_S", -1)
    await publish(store, ON)
    assert (await store.leases.audit(), await store.revisions.program(STANDING)) == (0, b'{"standing":true}')
    assert (await audit.audit(store._connection)).dropped == 0


async def test_a_full_store_leaves_the_tick_due(store: Store) -> None:
    await publish(store, EVERY)
    tick = await come(store)
    await store.call("SET", keys.FULL, "1")
    assert await store.schedules.take(tick, [UIDS.next()], tick.due_ms + 60_000) == ("memory", 0, "")
    assert (await store.schedules.due()).ticks == (tick,)
    await store.call("DEL", keys.FULL)
    assert await store.schedules.take(tick, [UIDS.next()], tick.due_ms + 60_000) == ("ok", 1, "")


async def test_a_uid_that_is_taken_starts_nothing(store: Store) -> None:
    await publish(store, EVERY)
    tick = await come(store)
    uid = UIDS.next()
    await store.schedules.take(tick, [uid], tick.due_ms)
    assert await store.schedules.take(tick, [UIDS.next(), uid], tick.due_ms + 60_000) == ("taken", 0, "")
    assert len(await runs(store)) == 1


async def test_schedules_are_not_listed_as_apis(store: Store) -> None:
    await publish(store, EVERY)
    assert await store.gates.states() == {}
    tick = await come(store)
    await store.schedules.take(tick, [UIDS.next()], tick.due_ms + 60_000)
    assert (await store.runs.queue()).depth == 1
