"""Overlap of scheduled runs, their jitter, skipped ticks, and the switch of a person."""

from __future__ import annotations

import asyncio
from typing import get_args

import msgspec
import pytest

from iogate.compiler.schedules import LATE_MS, MOST, Overlap, Schedule
from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.revisions.revision_errors import Foreign
from iogate.store.revisions.schedule_states import ScheduleState, ScheduleStates
from iogate.store.store import Store
from tests.store.builders import commit, until
from tests.store.revisions.test_due_schedules import AFTER, EVERY, ID, ON, UIDS, come, end, publish, runs

NAME = "shop/report"


def overlapping(overlap: Overlap) -> Schedule:
    return msgspec.structs.replace(EVERY, overlap=overlap)


async def tick(store: Store, count: int = 1, due_ms: int | None = None) -> tuple[str, int, str]:
    """Let a tick come, and take it."""
    due = await come(store, due_ms)
    return await store.schedules.take(due, [UIDS.next() for _ in range(count)], due.due_ms + 60_000)


async def state(store: Store) -> ScheduleState:
    return (await store.schedule_states.read([NAME], await store.now_ms()))[NAME]


async def statuses(store: Store) -> list[str]:
    """Return the statuses of all runs, oldest first."""
    return [run.status for run in await store.runs.list(api=ID)][::-1]


async def lease(store: Store) -> None:
    assert (await store.leases.take("w1", 10)).claims


async def test_by_default_runs_overlap(store: Store) -> None:
    await publish(store, EVERY)
    assert [await tick(store) for _ in range(3)] == [("ok", 1, "")] * 3
    found = await state(store)
    assert (found.run, found.skipped, found.pause) == ((await runs(store))[0], 0, None)


async def test_skip_starts_no_run_while_one_is_not_over_and_records_it(store: Store) -> None:
    await publish(store, overlapping("skip"))
    assert await tick(store) == ("ok", 1, "")
    for _ in range(3):
        assert await tick(store) == ("skipped", 1, "the run before is not over")
    found = await state(store)
    assert (found.skipped, found.skipped_reason) == (3, "the run before is not over")
    assert await store.schedule_states.skips() == {NAME: {"overlap": 3}}
    assert found.skipped_at_ms is not None
    (uid,) = await runs(store)
    assert found.run == uid
    upcoming = (await store.schedules.upcoming())[NAME].next_ms
    assert upcoming is not None
    assert upcoming > await store.now_ms(), "the ticks go on"
    await end(store, uid)
    assert await tick(store) == ("ok", 1, "")


@pytest.mark.parametrize("overlap", [each for each in get_args(Overlap) if each != "allow"])
async def test_of_several_ticks_at_once_one_starts_a_run(store: Store, overlap: Overlap) -> None:
    await publish(store, overlapping(overlap))
    assert await tick(store, 4) == ("ok", 1, "")
    assert len(await runs(store)) == 1
    assert (await state(store)).skipped == 3


async def test_queue_lets_one_tick_wait_for_the_end_and_keeps_the_phase(store: Store) -> None:
    await publish(store, overlapping("queue"))
    await tick(store)
    (first,) = await runs(store)
    assert await tick(store) == ("skipped", 0, "one tick waits already")
    assert (await state(store)).waits
    assert await tick(store) == ("skipped", 1, "one tick waits already")
    regular = (await store.schedules.upcoming())[NAME].next_ms
    await end(store, first)
    (due,) = (await store.schedules.due()).ticks
    outcome = await store.schedules.take(due, [UIDS.next()], due.due_ms + 60_000)
    assert outcome == ("ok", 1, "")
    found = await state(store)
    assert (found.waits, found.skipped) == (False, 1)
    assert (await store.schedules.upcoming())[NAME].next_ms == regular, "not an interval after the end"
    assert len(await runs(store)) == 2


async def test_a_waiting_tick_that_is_missed_keeps_the_phase_and_starts_no_second_run(store: Store) -> None:
    await publish(store, msgspec.structs.replace(EVERY, overlap="queue", missed="skip"))
    await tick(store)
    (first,) = await runs(store)
    await tick(store)
    regular = (await store.schedules.upcoming())[NAME].next_ms
    await end(store, first)
    (due,) = (await store.schedules.due()).ticks
    assert await store.schedules.take(due, [], due.due_ms + 60_000, missed=1) == ("ok", 0, "")
    found = await state(store)
    assert (found.waits, found.skipped) == (False, 1)
    assert (await store.schedules.upcoming())[NAME].next_ms == regular
    assert await tick(store) == ("ok", 1, "")
    assert (await store.schedules.due()).ticks == ()


async def test_a_tick_goes_on_waiting_if_the_next_one_is_missed(store: Store) -> None:
    await publish(store, msgspec.structs.replace(EVERY, overlap="queue", missed="skip"))
    await tick(store)
    (first,) = await runs(store)
    await tick(store)
    due = await come(store)
    regular_ms = due.due_ms + 60_000
    assert await store.schedules.take(due, [], regular_ms, missed=1) == ("ok", 0, "")
    assert (await state(store)).waits
    await end(store, first)
    (due,) = (await store.schedules.due()).ticks
    assert await store.schedules.take(due, [UIDS.next()], due.due_ms + 60_000) == ("ok", 1, "")
    assert (await store.schedules.upcoming())[NAME].next_ms == regular_ms


@pytest.mark.parametrize(("overlap", "skipped"), [("allow", 1), ("replace", 1), ("skip", 2)])
async def test_a_waiting_tick_starts_no_run_after_an_apply_of_another_overlap(
    store: Store, overlap: Overlap, skipped: int
) -> None:
    await publish(store, overlapping("queue"))
    await tick(store)
    await tick(store)
    assert (await state(store)).waits
    await publish(store, overlapping(overlap))
    due = await come(store)
    outcome, _, _ = await store.schedules.take(due, [UIDS.next()], due.due_ms + 60_000)
    assert outcome == ("skipped" if overlap == "skip" else "ok")
    found = await state(store)
    assert (found.waits, found.skipped) == (False, skipped)
    assert (await store.schedules.due()).ticks == (), "neither the same tick nor the waiting one"
    upcoming = (await store.schedules.upcoming())[NAME]
    assert (upcoming.next_ms, upcoming.run) == (due.due_ms + 60_000, None)


async def test_replace_cancels_the_run_before(store: Store) -> None:
    await publish(store, overlapping("replace"))
    await tick(store)
    assert await tick(store) == ("ok", 1, "")
    assert await statuses(store) == ["cancelled", "pending"]
    await lease(store)
    assert await tick(store) == ("ok", 1, "")
    view = await store.runs.show((await runs(store))[1])
    assert view is not None
    assert view.cancel_reason == "the next tick of its schedule replaces it"


async def test_jitter_delays_the_run_and_not_the_tick(each_store: Store) -> None:
    store = each_store
    schedule = msgspec.structs.replace(EVERY, jitter_ms=30_000)
    delays = {schedule.delay_ms(ID, tick * 60_000) for tick in range(1_000)}
    assert max(delays) <= 30_000
    assert len(delays) > 900
    assert schedule.delay_ms(ID, 60_000) == schedule.delay_ms(ID, 60_000) != schedule.delay_ms("x", 60_000)
    await publish(store, schedule)
    # The delay depends on the time of the tick: one with a long delay, so that the run is not due yet.
    now_ms = await store.now_ms()
    due_ms = next(ms for ms in range(now_ms, 0, -1) if schedule.delay_ms(ID, ms) > 29_000)
    assert await tick(store, due_ms=due_ms) == ("ok", 1, "")
    (uid,) = await runs(store)
    view = await store.runs.show(uid)
    assert view is not None
    assert (view.state, view.status) == ("timer", "pending")
    assert not (await store.leases.take("w1", 10)).claims
    assert await store.leases.audit() == 0
    await store.call("ZADD", keys.TIMERS, 1, uid)
    (claim,) = (await store.leases.take("w1", 10)).claims
    assert (claim.uid, claim.seq) == (uid, 0)
    await store.runs.cancel(uid)


async def test_a_delayed_run_can_be_cancelled(store: Store) -> None:
    await publish(store, msgspec.structs.replace(EVERY, jitter_ms=30_000_000))
    await tick(store)
    (uid,) = await runs(store)
    await store.runs.cancel(uid)
    assert await statuses(store) == ["cancelled"]
    assert await store.call("ZCARD", keys.TIMERS) == 0


# the switch


async def disable(store: Store, ttl_s: float | None = None) -> None:
    await store.schedule_states.switch([NAME], enabled=False, author="ada", reason="quiet", ttl_s=ttl_s)


async def enable(store: Store) -> None:
    await store.schedule_states.switch([NAME], enabled=True, author="bob", reason="", ttl_s=None)


async def test_a_disabled_schedule_takes_its_ticks_without_runs_also_after_an_apply(store: Store) -> None:
    await publish(store, EVERY)
    await disable(store)
    assert await tick(store) == ("skipped", 1, "disabled")
    await publish(store, msgspec.structs.replace(EVERY, milliseconds=30_000))
    assert await tick(store, 2) == ("skipped", 2, "disabled")
    await publish(store)
    await publish(store, EVERY)
    found = await state(store)
    assert found.pause is not None
    assert (found.pause.author, found.pause.reason, found.pause.until_ms) == ("ada", "quiet", None)
    assert found.skipped == 3
    assert await runs(store) == []
    await enable(store)
    assert (await state(store)).pause is None
    assert await tick(store) == ("ok", 1, "")


async def test_a_waiting_tick_of_a_disabled_schedule_starts_no_run(store: Store) -> None:
    await publish(store, overlapping("queue"))
    await tick(store)
    (first,) = await runs(store)
    await tick(store)
    await disable(store)
    assert await tick(store) == ("skipped", 1, "disabled")
    found = await state(store)
    assert (found.waits, found.skips) == (False, {"disabled": 2})
    await end(store, first)
    assert (await store.schedules.due()).ticks == ()


async def test_a_waiting_tick_that_comes_while_its_schedule_is_disabled_keeps_the_phase(store: Store) -> None:
    await publish(store, overlapping("queue"))
    await tick(store)
    (first,) = await runs(store)
    await tick(store)
    regular = (await store.schedules.upcoming())[NAME].next_ms
    await disable(store)
    await end(store, first)
    (due,) = (await store.schedules.due()).ticks
    taken = await store.schedules.take(due, [UIDS.next()], due.due_ms + 60_000)
    assert taken == ("skipped", 1, "disabled")
    assert (await store.schedules.upcoming())[NAME].next_ms == regular


async def test_a_ttl_ends_the_switch(store: Store) -> None:
    await publish(store, EVERY)
    await disable(store, ttl_s=600.0)
    assert await tick(store) == ("skipped", 1, "disabled")
    assert (await state(store)).pause is not None
    await disable(store, ttl_s=0.001)

    async def over() -> bool:
        return (await state(store)).pause is None

    await until(over)
    assert await tick(store) == ("ok", 1, "")


async def test_a_disabled_schedule_after_its_runs_continues_when_it_is_enabled(store: Store) -> None:
    await publish(store, AFTER)
    due = await come(store)
    await store.schedules.take(due, [UIDS.next()], None, again_ms=1)
    await disable(store)
    (uid,) = await runs(store)
    await end(store, uid)
    await asyncio.sleep(0.01)
    (due,) = (await store.schedules.due()).ticks
    assert await store.schedules.take(due, [UIDS.next()], None, again_ms=1) == ("skipped", 0, "disabled")
    assert (await store.schedules.due()).ticks == ()
    await enable(store)
    (due,) = (await store.schedules.due()).ticks
    assert await store.schedules.take(due, [UIDS.next()], None, again_ms=1) == ("ok", 1, "")


async def test_enabling_a_schedule_after_its_runs_keeps_its_next_tick(store: Store) -> None:
    await publish(store, AFTER)
    due = await come(store)
    await store.schedules.take(due, [UIDS.next()], None, again_ms=60_000)
    (uid,) = await runs(store)
    await end(store, uid)
    before = (await store.schedules.upcoming())[NAME].next_ms
    await enable(store)
    await disable(store)
    await enable(store)
    assert (await store.schedules.upcoming())[NAME].next_ms == before


async def test_a_tick_that_a_switch_has_postponed_follows_a_later_switch(store: Store) -> None:
    await publish(store, AFTER)
    await disable(store, ttl_s=60.0)
    (due,) = (await store.schedules.due()).ticks
    assert (await store.schedules.take(due, [UIDS.next()], None))[0] == "skipped"
    await disable(store, ttl_s=3_600.0)
    found = (await state(store)).pause
    assert found is not None
    assert (await store.schedules.upcoming())[NAME].next_ms == found.until_ms
    await disable(store)
    assert (await store.schedules.upcoming())[NAME].next_ms is None
    await enable(store)
    assert len((await store.schedules.due()).ticks) == 1


async def test_disabling_a_schedule_on_events_cancels_its_standing_run(store: Store) -> None:
    await publish(store, ON)
    due = await come(store)
    await store.schedules.take(due, [UIDS.next()], None, again_ms=1)
    await disable(store)
    assert await statuses(store) == ["cancelled"]
    await asyncio.sleep(0.01)
    (due,) = (await store.schedules.due()).ticks
    assert (await store.schedules.take(due, [UIDS.next()], None, again_ms=1))[0] == "skipped"
    await enable(store)
    (due,) = (await store.schedules.due()).ticks
    assert (await store.schedules.take(due, [UIDS.next()], None, again_ms=1))[0] == "ok"


async def test_an_unknown_or_foreign_schedule_changes_nothing(store: Store) -> None:
    await publish(store, EVERY)
    with pytest.raises(NotFound, match=r"^no live schedule of shop/other$") as caught:
        await store.schedule_states.switch(
            [NAME, "shop/other"], enabled=False, author="ada", reason="", ttl_s=None
        )
    assert caught.value.code == "IOG722"
    with pytest.raises(Foreign, match="shop/report belongs to project default"):
        await ScheduleStates(store.schedules._connection, "other").switch(
            [NAME], enabled=False, author="ada", reason="", ttl_s=None
        )
    assert (await state(store)).pause is None


async def test_a_person_starts_a_run_now_and_the_ticks_stay(store: Store) -> None:
    await publish(store, overlapping("skip"))
    await disable(store)
    before = (await store.schedules.upcoming())[NAME].next_ms
    found = await store.schedules.find(NAME)
    assert found is not None
    assert await store.schedules.take(found, [UIDS.next()], None, caller="ada@host") == ("ok", 1, "")
    (uid,) = await runs(store)
    view = await store.runs.show(uid)
    assert view is not None
    assert view.caller == "ada@host"
    assert (await store.schedules.upcoming())[NAME].next_ms == before
    assert (await state(store)).run == uid
    await enable(store)
    assert (await tick(store))[0] == "skipped", "the run of a person counts"
    assert await store.schedules.find("shop/other") is None


async def manual(store: Store) -> str:
    """Start a run of a person; return its uid."""
    found = await store.schedules.find(NAME)
    assert found is not None
    uid = UIDS.next()
    assert await store.schedules.take(found, [uid], None, caller="ada@host") == ("ok", 1, "")
    return uid


@pytest.mark.parametrize(
    ("overlap", "outcome", "after"),
    [
        ("skip", ("skipped", 1, "the run before is not over"), ["running", "completed"]),
        ("queue", ("skipped", 0, "one tick waits already"), ["running", "completed"]),
        ("replace", ("ok", 1, ""), ["running", "completed", "pending"]),
    ],
)
async def test_a_run_of_a_person_does_not_hide_that_of_the_last_tick(
    store: Store, overlap: Overlap, outcome: tuple[str, int, str], after: list[str]
) -> None:
    await publish(store, overlapping(overlap))
    await tick(store)
    await lease(store)
    await end(store, await manual(store))
    assert await tick(store) == outcome
    assert await statuses(store) == after
    view = await store.runs.show((await runs(store))[-1])
    assert view is not None
    assert (view.cancel_reason is not None) == (overlap == "replace")


async def test_a_waiting_tick_waits_for_the_run_of_a_person_and_that_of_the_last_tick(store: Store) -> None:
    await publish(store, overlapping("queue"))
    await tick(store)
    await manual(store)
    claims = (await store.leases.take("w1", 10)).claims
    assert await tick(store) == ("skipped", 0, "one tick waits already")
    regular = (await store.schedules.upcoming())[NAME].next_ms
    outcomes = []
    for claim in reversed(claims):
        await store.leases.commit([commit(claim)])
        (due,) = (await store.schedules.due()).ticks
        outcomes.append(await store.schedules.take(due, [UIDS.next()], due.due_ms + 60_000))
        assert (await store.schedules.upcoming())[NAME].next_ms == regular
    assert outcomes == [("skipped", 0, "one tick waits already"), ("ok", 1, "")]
    assert ((await state(store)).waits, (await state(store)).skipped) == (False, 0)


async def test_missed_ticks_that_start_no_run_are_recorded(store: Store) -> None:
    schedule = msgspec.structs.replace(EVERY, missed="skip", overlap="queue")
    assert (schedule.count_skipped(0, 200_000), schedule.count_skipped(0, 1_000)) == (4, 0)
    assert EVERY.count_skipped(0, 200_000) == 0
    await publish(store, schedule)
    due = await come(store)
    assert await store.schedules.take(due, [], due.due_ms + 60_000, missed=4) == ("ok", 0, "")
    found = await state(store)
    assert (found.skipped, found.skipped_reason, found.waits) == (4, "missed", False)
    assert await store.schedule_states.skips() == {NAME: {"missed": 4}}


async def test_missed_ticks_of_a_disabled_schedule_are_recorded(store: Store) -> None:
    schedule = msgspec.structs.replace(EVERY, missed="skip")
    assert schedule.count_skipped(0, 1_000 * 60_000 + LATE_MS + 1) == MOST
    await publish(store, schedule)
    await disable(store)
    due = await come(store)
    taken = await store.schedules.take(due, [UIDS.next()], due.due_ms + 60_000, missed=4)
    assert taken == ("skipped", 5, "disabled")
    assert await store.schedule_states.skips() == {NAME: {"disabled": 5}}
