"""Schedules with real workers: one run per tick, with any number of workers, however they end."""

from __future__ import annotations

import asyncio
import itertools
import signal
from functools import partial
from typing import Any

import pytest

from iogate.compiler.revision import Bundle, Revision, Workflow, canonical, digest_of
from iogate.compiler.schedules import LATE_MS, MOST, Missed, Schedule, standing
from iogate.store import keys
from iogate.store.revisions.due_schedules import BATCH
from iogate.store.runs.operations import RunView
from tests.worker.events.test_sink_delivery import sinks
from tests.worker.sink import SinkServer
from tests.worker.site import Site, decoded, until, workflow

ID = "schedule:test/noop"
TICK = workflow("noop", {"done": {"set": {"ok": True}}})
FAULTY = workflow(
    "noop", {"fails": {"raise": {"error": {"type": "about:blank", "status": 500, "title": "no"}}}}
)


async def publish(site: Site, definition: dict[str, Any], *, version: str = "1.0.0", **schedule: Any) -> None:
    """Publish one scheduled workflow; without a schedule, one that is not."""
    program = digest_of(definition)
    programs = {program: canonical(definition)}
    given = {"program": program} | schedule
    if schedule.get("kind") == "on":
        stands = standing(definition)
        given["program"] = digest_of(stands)
        programs[given["program"]] = canonical(stands)
    compiled = Workflow(program=program, schedule=Schedule(**given) if schedule else None)
    revision = Revision(apis={}, workflows={f"test/noop:{version}": compiled})
    site.revision = await site.store.revisions.publish(Bundle(revision=revision, programs=programs))


async def runs(site: Site, api: str = ID) -> list[RunView]:
    found = [await site.store.runs.show(run.uid) for run in await site.store.runs.list(api=api, limit=1000)]
    return [run for run in found if run is not None]


async def next_ms(site: Site) -> int:
    return int(float(await site.store.call("ZSCORE", keys.TICKS, ID)))


async def now_ms(site: Site) -> int:
    return (await site.store.schedules.due()).now_ms


async def overdue(site: Site, by_ms: int) -> None:
    """Simulate that no worker ran for that long."""
    await site.store.call("ZADD", keys.TICKS, await now_ms(site) - by_ms, ID)


async def test_two_workers_start_one_run_per_tick_though_one_is_killed(site: Site) -> None:
    """Counted exactly: after all workers stop, the next due time gives the number of ticks.

    Of the ticks that a busy machine delays, at most 100, which take 20 seconds here, start runs.
    """
    killed, other = await asyncio.gather(site.worker(), site.worker())
    await publish(site, TICK, kind="every", milliseconds=200, missed="all")
    began_ms = await next_ms(site)
    await until(lambda: came(site, began_ms + 200 * 8), name="eight ticks")
    killed.signal(signal.SIGKILL)
    third = await site.worker()
    await until(lambda: came(site, began_ms + 200 * 24), name="25 ticks")
    for worker in (other, third):
        worker.signal(signal.SIGTERM)
        assert await worker.wait() == 0
    ticks = (await next_ms(site) - began_ms) // 200
    found = await runs(site)
    assert len(found) == len({run.uid for run in found}) == ticks >= 25
    assert (await next_ms(site) - began_ms) % 200 == 0, "the phase is kept"


async def came(site: Site, moment_ms: int) -> bool:
    return await next_ms(site) > moment_ms


async def fires_in_time(site: Site) -> bool:
    """Return whether one of the next three ticks starts its run within a second; one may be stalled."""
    for _ in range(3):
        due_ms = await next_ms(site)
        await until(partial(came, site, due_ms), name="the tick")
        moments = [run.created_at_ms for run in await runs(site)]
        if any(due_ms <= each < due_ms + 1_000 for each in moments):
            return True
    return False


async def test_a_tick_fires_within_a_second_of_its_time(site: Site) -> None:
    await site.worker()
    published_ms = await now_ms(site)
    await publish(site, TICK, kind="every", milliseconds=1_500)
    assert await fires_in_time(site)
    run = (await runs(site))[-1]
    assert run.created_at_ms >= published_ms + 1_500
    assert (run.api, run.caller, run.workflow) == (ID, "schedule", "test/noop:1.0.0")
    ended = await site.ended(run.uid)
    assert ended.status == "completed"


async def test_ticks_that_nobody_can_take_do_not_hide_others(site: Site) -> None:
    """Such as those of a project whose live revision is refused: they stay the first ones."""
    await publish(site, TICK, kind="every", milliseconds=3_600_000)
    entry = await site.store.call("HGET", keys.SCHEDULES, ID)
    for number in range(2 * BATCH + 1):
        name = f"schedule:gone/s{number}"
        await site.store.call("HSET", keys.SCHEDULES, name, entry)
        await site.store.call("HSET", keys.GATE + name, "project", "gone")
        await site.store.call("ZADD", keys.TICKS, 1, name)
    await overdue(site, 0)
    await site.worker()

    async def has_started() -> bool:
        return len(await runs(site)) == 1

    await until(has_started, name="a run of the other schedule")


async def test_a_cron_expression_fires_on_its_second(site: Site) -> None:
    await site.worker()
    await publish(site, TICK, kind="cron", cron="*/2 * * * * *", zone="Europe/Berlin")
    assert await next_ms(site) % 2_000 == 0
    assert await fires_in_time(site)
    assert await next_ms(site) % 2_000 == 0


@pytest.mark.parametrize(
    ("missed", "started"), [("once", 1), ("skip", 0), ("all", 5)], ids=["once", "skip", "all"]
)
async def test_missed_ticks_follow_the_policy(site: Site, missed: Missed, started: int) -> None:
    await publish(site, TICK, kind="every", milliseconds=3_600_000, missed=missed)
    await overdue(site, 4 * 3_600_000 + LATE_MS + 1_000)
    before_ms = await now_ms(site)
    await site.worker()
    await until(lambda: came(site, before_ms), name="the tick to be taken")
    assert len(await runs(site)) == started
    # The phase is kept: the next tick is where it would have been.
    assert before_ms < await next_ms(site) <= before_ms + 3_600_000 - LATE_MS


async def test_after_a_long_outage_the_newest_ticks_count(site: Site) -> None:
    await publish(site, TICK, kind="every", milliseconds=60_000, missed="all")
    await overdue(site, 1_000 * 60_000)
    before_ms = await now_ms(site)
    await site.worker()
    await until(lambda: came(site, before_ms), name="the tick to be taken")
    assert len(await runs(site)) == MOST


async def test_after_runs_sequentially_also_if_runs_fault(site: Site) -> None:
    await site.worker()
    await publish(site, FAULTY, kind="after", milliseconds=30)

    async def three() -> bool:
        return len([run for run in await runs(site) if run.ended]) >= 3

    await until(three, name="three runs")
    await publish(site, FAULTY)
    found = sorted(await runs(site), key=lambda run: run.created_at_ms)
    for before, after in itertools.pairwise(found):
        assert before.ended_at_ms is not None
        assert after.created_at_ms >= before.ended_at_ms + 30
    assert {run.status for run in found if run.ended} == {"faulted"}


async def test_a_broken_schedule_affects_no_other(site: Site) -> None:
    await publish(site, TICK, kind="every", milliseconds=100)
    await site.store.call("HSET", keys.SCHEDULES, "schedule:a/broken", b"\x93\xa5every\xa1p\xa2{}")
    await site.store.call("HSET", keys.SCHEDULES, "schedule:a/torn", b"\xc1")
    await site.store.call(
        "ZADD", keys.TICKS, 1, "schedule:a/broken", 1, "schedule:a/torn", 1, "schedule:a/gone"
    )
    worker = await site.worker()

    async def two() -> bool:
        return len(await runs(site)) >= 2

    await until(two, name="two ticks")
    assert worker.log_text().count("schedule:a/broken: ValidationError") == 1


ON = workflow("noop", {"keep": {"set": "${ . }"}}) | {
    "schedule": {"on": {"one": {"with": {"type": "order.placed"}}}}
}


def event(number: int) -> bytes:
    return canonical(
        {"specversion": "1.0", "id": str(number), "source": "/t", "type": "order.placed", "data": number}
    )


async def listen(site: Site, definition: dict[str, Any] = ON, **more: Any) -> None:
    """Publish it, and wait until its standing run listens."""
    await publish(site, definition, kind="on", **more)

    async def listens() -> bool:
        return any(run.status == "waiting" for run in await runs(site))

    await until(listens, name="a standing run")


async def started(site: Site, count: int, status: str = "completed") -> list[RunView]:
    """Return the runs that events started, once there are so many."""

    async def enough() -> bool:
        return len([run for run in await runs(site) if run.status == status]) >= count

    await until(enough, name=f"{count} runs")
    return [run for run in await runs(site) if run.status == status]


async def test_each_event_starts_a_run_and_the_standing_run_ends_with_its_schedule(site: Site) -> None:
    await site.worker()
    await listen(site)
    for number in range(20):
        assert await site.store.events.publish([event(number)]) == 1
    found = await started(site, 20)
    assert sorted(decoded(run.input)[0]["data"] for run in found) == list(range(20))
    assert {run.workflow for run in found} == {"test/noop:1.0.0"}
    await publish(site, TICK)

    async def gone() -> bool:
        return not any(run.status == "waiting" for run in await runs(site))

    await until(gone, name="the end of the standing run")


async def test_an_apply_of_another_version_loses_no_event(site: Site) -> None:
    await site.worker()
    await listen(site)
    for number in range(40):
        await site.store.events.publish([event(number)])
        if number == 20:
            await publish(site, ON, version="1.1.0", kind="on")
    found = await started(site, 40)
    assert sorted(decoded(run.input)[0]["data"] for run in found) == list(range(40))
    await site.store.events.publish([event(40)])
    found = await started(site, 41)
    (last,) = [run for run in found if decoded(run.input)[0]["data"] == 40]
    assert last.workflow == "test/noop:1.1.0"


async def test_a_fault_of_a_started_run_does_not_fault_the_standing_run(site: Site) -> None:
    await site.worker()
    await listen(site, FAULTY | {"schedule": ON["schedule"]})
    await site.store.events.publish([event(1)])
    await started(site, 1, "faulted")
    await site.store.events.publish([event(2)])
    found = await started(site, 2, "faulted")
    assert sorted(decoded(run.input)[0]["data"] for run in found) == [1, 2]


async def test_a_cancelled_standing_run_is_restarted(site: Site) -> None:
    await site.worker()
    await listen(site)
    (standing_run,) = await runs(site)
    await site.store.runs.cancel(standing_run.uid, "by mistake")
    assert (await site.ended(standing_run.uid)).status == "cancelled"
    await listen(site)
    await site.store.events.publish([event(1)])
    await started(site, 1)


async def test_sinks_receive_events_of_started_runs_and_not_of_the_standing_run(site: Site) -> None:
    """Neither from a worker nor, if it is suspended, resumed or cancelled, from the store."""
    async with SinkServer() as sink:
        await site.worker(**sinks(all=sink.setting(lifecycle=True)))
        await listen(site)
        (standing_run,) = await runs(site)
        await site.store.runs.suspend(standing_run.uid)
        await site.store.runs.resume(standing_run.uid)
        await site.store.runs.cancel(standing_run.uid)
        assert (await site.ended(standing_run.uid)).status == "cancelled"
        await listen(site)
        await site.store.events.publish([event(1)])
        (run,) = await started(site, 1)
        await until(lambda: any("workflow.completed" in each["type"] for each in sink.taken), name="its end")
        assert {each["subject"] for each in sink.taken} == {f"noop-{run.uid}.test"}


async def test_events_of_all_are_collected_by_correlation(site: Site) -> None:
    both = [
        {"with": {"type": kind}, "correlate": {"order": {"from": ".data.order"}}}
        for kind in ("paid", "packed")
    ]
    definition = ON | {"schedule": {"on": {"all": both}, "read": "data"}}
    await site.worker()
    await listen(site, definition)
    for kind, order in (("paid", 1), ("paid", 2), ("packed", 2), ("packed", 1)):
        envelope = {"specversion": "1.0", "id": f"{kind}{order}", "source": "/t", "type": kind}
        await site.store.events.publish([canonical(envelope | {"data": {"order": order}})])
    found = await started(site, 2)
    assert sorted([each["order"] for each in decoded(run.input)] for run in found) == [[1, 1], [2, 2]]


async def test_runs_of_a_schedule_that_skips_never_overlap_and_skips_are_logged(site: Site) -> None:
    """Runs of 150 ms, a tick each 20 ms, two workers."""
    slow = workflow("noop", {"pause": {"wait": {"milliseconds": 150}}})
    workers = await asyncio.gather(site.worker(), site.worker())
    await publish(site, slow, kind="every", milliseconds=20, missed="all", overlap="skip")

    async def several() -> bool:
        return len([run for run in await runs(site) if run.ended]) >= 4

    await until(several, name="four runs")
    found = sorted(
        ((run.created_at_ms, run.ended_at_ms) for run in await runs(site)), key=lambda each: each[0]
    )
    for (_, ended_ms), (created_ms, _) in itertools.pairwise(found):
        assert ended_ms is not None
        assert created_ms >= ended_ms
    name = ID.removeprefix("schedule:")
    state = (await site.store.schedule_states.read([name], await now_ms(site)))[name]
    assert state.skipped >= 10
    assert any("schedule.skipped" in worker.log_text() for worker in workers)


async def test_a_run_that_replaces_another_cancels_it(site: Site) -> None:
    endless = workflow("noop", {"pause": {"wait": {"hours": 1}}})
    await site.worker()
    await publish(site, endless, kind="every", milliseconds=300, overlap="replace", jitter_ms=20)

    async def several() -> bool:
        return [run.status for run in await runs(site)].count("cancelled") >= 2

    await until(several, name="two replaced runs")

    async def few() -> bool:
        return sum(not run.ended for run in await runs(site)) <= 2

    # A busy machine may delay the end of a replaced run beyond the next tick.
    await until(few, name="the end of the replaced runs")
