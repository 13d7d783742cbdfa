"""Waits: short ones stay in the worker, longer ones are parked."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from iogate.store import keys
from iogate.store.integrity.adoption import adopt
from tests.worker.site import NOOP, decoded, until, workflow

if TYPE_CHECKING:
    from tests.worker.site import Site

HOUR_MS = 3_600_000
EARLY = 1
"""Due time at which a test wakes a parked run."""


def waits(milliseconds: int) -> dict[str, object]:
    return workflow(
        "waits", {"pause": {"wait": {"milliseconds": milliseconds}}}, {"done": {"set": {"waited": True}}}
    )


async def test_short_wait_is_one_commit(site: Site) -> None:
    await site.publish(waits(300))
    await site.worker()
    uid = await site.call("waits")
    await until(lambda: site.worker is not None)
    run = await site.ended(uid)
    assert decoded(run.output) == {"waited": True}
    assert run.ended_at_ms is not None
    assert run.started_at_ms is not None
    assert run.ended_at_ms - run.started_at_ms >= 300


async def test_long_wait_is_parked_and_continued_by_another_worker(site: Site) -> None:
    await site.publish(waits(HOUR_MS))
    first = await site.worker()
    uid = await site.call("waits")

    async def parked() -> bool:
        score = await site.store.call("ZSCORE", keys.TIMERS, uid)
        return score is not None and float(score) != EARLY

    await until(parked, name="a parked run")
    view = await site.view(uid)
    assert view.status == "waiting"
    waiting = decoded(view.waiting_for)
    assert (waiting["kind"], waiting["task"]) == ("timer", "/do/0/pause")
    first.signal(signal.SIGKILL)
    await first.wait()
    await site.store.call("ZADD", keys.TIMERS, EARLY, uid)
    await site.worker()
    await until(parked, name="the run, parked by the other worker")
    # The other worker goes on with the wait: one of its own would end later.
    assert decoded((await site.view(uid)).waiting_for) == waiting
    state = await site.store.call("GET", f"iogate:parked:{uid}")
    due, past = (str(waiting["until_ms"] - by_ms).encode() for by_ms in (0, HOUR_MS))
    assert due in state
    await site.store.call("SET", f"iogate:parked:{uid}", state.replace(due, past))
    await adopt(site.store)
    await site.store.call("ZADD", keys.TIMERS, EARLY, uid)
    run = await site.ended(uid)
    assert decoded(run.output) == {"waited": True}
    assert run.started_at_ms is not None
    assert waiting["until_ms"] >= run.started_at_ms + HOUR_MS


async def test_cancel_ends_a_parked_run(site: Site) -> None:
    await site.publish(waits(60_000))
    await site.worker()
    uid = await site.call("waits")

    async def parked() -> bool:
        return (await site.view(uid)).state == "timer"

    await until(parked, name="a parked run")
    await site.store.runs.cancel(uid, "enough")
    run = await site.ended(uid, 20)
    assert (run.status, run.cancel_reason) == ("cancelled", "enough")


async def test_deadline_of_a_run_expires_while_it_is_parked(site: Site) -> None:
    await site.publish(waits(60_000), timeout_s=1.5)
    await site.worker()
    uid = await site.call("waits")
    run = await site.ended(uid, 20)
    assert (run.status, decoded(run.error)["status"]) == ("faulted", 408)


async def test_runs_that_wait_after_a_process_that_no_task_awaits_leave_room(site: Site) -> None:
    start = {"run": {"shell": {"command": "true"}, "await": False}}
    await site.publish(workflow("starts", {"start": start}, {"day": {"wait": {"days": 1}}}), NOOP)
    worker = await site.worker(concurrency=1)
    uids = [await site.call("starts") for _ in range(3)]
    assert (await site.ended(await site.call())).status == "completed"
    assert [(await site.view(uid)).state for uid in uids] == ["timer"] * 3
    worker.signal(signal.SIGTERM)
    assert await worker.wait() == 0
    assert "handing back" not in worker.log_text()
