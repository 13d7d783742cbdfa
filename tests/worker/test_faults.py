"""Workers whose processes die, freeze or are told to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

from iogate.settings import Settings
from iogate.store.embedded.server import start_embedded
from iogate.store.store import open_store
from tests.faults.counting import CountingServer
from tests.keys import LINK_KEY, RING
from tests.worker.site import NOOP, Site, Worker, decoded, until, workflow


def post(server: CountingServer, path: str) -> dict[str, Any]:
    body = {"uid": "${ $workflow.id }"}
    return {"call": "http", "with": {"method": "post", "endpoint": f"{server.url}{path}", "body": body}}


def two_calls(server: CountingServer) -> dict[str, Any]:
    return workflow("two-calls", {"first": post(server, "/first")}, {"second": post(server, "/second")})


async def begin_first_call(site: Site, server: CountingServer) -> tuple[Worker, str]:
    """Start a worker and a run; return the worker and the uid once the first of two calls is under way."""
    await site.publish(two_calls(server))
    worker = await site.worker()
    uid = await site.call("two-calls")
    await until(lambda: uid in server.calls)
    return worker, uid


def assert_each_call_once_but_in_flight(server: CountingServer, uids: list[str]) -> None:
    assert set(server.calls) == set(uids)
    assert not server.repeated_after_commit()
    assert not server.changed_keys()


async def test_killed_workers_lose_no_run_and_repeat_no_committed_call(site: Site) -> None:
    """SIGKILL at random times under load; a recovering parent replaces the supervisor."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    async with CountingServer(delay_s=0.05) as server:  # long enough for a kill to hit a run
        await site.publish(two_calls(server))
        uids = [await site.call("two-calls") for _ in range(60)]
        worker = await site.worker(concurrency=10)
        buried = 0
        for _ in range(3):
            await until(lambda: len(server.calls) >= chance.randrange(5, 50), name="progress")
            worker.signal(signal.SIGKILL)
            assert await worker.wait() == -9
            worker = await site.worker(concurrency=10)
            buried += await site.store.leases.recover(site.workers[-2].name)
            while await site.store.leases.suspects():
                alone = await site.worker("--solitary", ready=False)
                assert await alone.wait() == 0
        assert buried, "no kill hit a run"
        runs = await site.all_ended(uids)
        assert [run.status for run in runs] == ["completed"] * len(uids)
        assert [run.attempt for run in runs] == [1] * len(uids)
        assert_each_call_once_but_in_flight(server, uids)


async def test_a_faulted_run_is_logged(site: Site) -> None:
    error = {"type": "https://example.com/sold-out", "status": 409, "title": "Sold out", "detail": "A-1"}
    await site.publish(workflow("fails", {"check": {"raise": {"error": error}}}))
    worker = await site.worker(log_format="json")
    uid = await site.call("fails")
    assert (await site.ended(uid)).status == "faulted"
    await until(lambda: '"run.faulted"' in worker.log_text())
    (line,) = [json.loads(each) for each in worker.log_text().splitlines() if '"run.faulted"' in each]
    del line["time"], line["logger"]
    assert line == {
        "level": "warning",
        "message": f"run {uid} faulted: Sold out",
        "action": "run.faulted",
        "uid": uid,
        "api": "test/fails",
        "workflow": "test/fails:1.0.0",
        "error": "https://example.com/sold-out",
        "status": 409,
        "task": "/do/0/check",
    }


async def test_frozen_worker_writes_nothing_after_its_lease(site: Site) -> None:
    async with CountingServer(delay_s=0.5) as server:
        frozen, uid = await begin_first_call(site, server)
        frozen.signal(signal.SIGSTOP)
        # What the end of its lease does, without the wait for it.
        assert await site.store.leases.recover(frozen.name) == 1
        other = await site.worker(ready=False)
        run = await site.ended(uid)
        assert run.status == "completed"
        calls = len(server.calls[uid])
        again = [decoded(line) for line in await site.store.runs.journal(uid)]
        assert [(each["name"], each["detail"]) for each in again if each["kind"] == "task.restarted"] == [
            ("first", {"worker": frozen.name})
        ]
        assert {task.name: task.count for task in run.tasks} == {"first": 2, "second": 1}
        frozen.signal(signal.SIGCONT)
        await until(lambda: "lease.lost" in frozen.log_text(), name="a lost lease")
        after = await site.view(uid)
        assert after == run
        assert len(server.calls[uid]) == calls
        other.signal(signal.SIGTERM)
        assert await other.wait() == 0
        assert_each_call_once_but_in_flight(server, [uid])


async def test_at_most_once_call_is_not_repeated(site: Site) -> None:
    async with CountingServer(delay_s=30) as server:
        task = {**post(server, "/first"), "metadata": {"iogate": {"atMostOnce": True}}}
        await site.publish(workflow("once", {"first": task}))
        worker = await site.worker()
        uid = await site.call("once")
        await until(lambda: uid in server.calls)
        worker.signal(signal.SIGKILL)
        await worker.wait()
        assert await site.store.leases.recover(worker.name) == 1
        await site.worker(ready=False)
        run = await site.ended(uid)
        assert run.status == "faulted"
        assert len(server.calls[uid]) == 1


async def test_sigterm_finishes_current_effects_and_takes_no_more_runs(site: Site) -> None:
    async with CountingServer(delay_s=0.5) as server:
        await site.publish(workflow("one-call", {"first": post(server, "/first")}), NOOP)
        worker = await site.worker()
        uid = await site.call("one-call")
        await until(lambda: uid in server.calls)
        worker.signal(signal.SIGTERM)
        await until(lambda: "worker.stopping" in worker.log_text())
        later = await site.call()
        assert await worker.wait() == 0
        assert (await site.view(uid)).status == "completed"
        assert len(server.calls[uid]) == 1
        assert (await site.view(later)).status == "pending"


async def test_sigterm_releases_a_run_before_its_next_effect(site: Site) -> None:
    async with CountingServer(delay_s=0.5) as server:
        first, uid = await begin_first_call(site, server)
        first.signal(signal.SIGTERM)
        assert await first.wait() == 0
        view = await site.view(uid)
        assert (view.status, view.state, view.deaths) == ("running", "queue", 0)
        assert [call.path for call in server.calls[uid]] == ["/first"]
        await site.worker()
        assert (await site.ended(uid)).status == "completed"
        assert [call.path for call in server.calls[uid]] == ["/first", "/second"]


async def test_sigterm_completes_an_at_most_once_effect(site: Site) -> None:
    """For another worker its outcome would be unknown, though it never began."""
    async with CountingServer(delay_s=0.5) as server:
        once = {**post(server, "/second"), "metadata": {"iogate": {"atMostOnce": True}}}
        await site.publish(workflow("then-once", {"first": post(server, "/first")}, {"second": once}))
        worker = await site.worker()
        uid = await site.call("then-once")
        await until(lambda: uid in server.calls)
        worker.signal(signal.SIGTERM)
        assert await worker.wait() == 0
        assert (await site.view(uid)).status == "completed"
        assert [call.path for call in server.calls[uid]] == ["/first", "/second"]


async def test_sigterm_during_the_start_of_a_worker_is_not_lost(site: Site) -> None:
    """Between its connection and its first take."""
    worker = await site.worker(ready=False)
    while f"name={worker.name} ".encode() not in await site.store.call("CLIENT", "LIST"):
        await asyncio.sleep(0)
    worker.signal(signal.SIGTERM)
    assert await worker.wait() == 0


async def test_second_sigterm_releases_runs_at_once(site: Site) -> None:
    async with CountingServer(delay_s=30) as server:
        for _ in range(3):  # a stall may be longer than the time that a worker has to hand its runs back
            worker, uid = await begin_first_call(site, server)
            worker.signal(signal.SIGTERM)
            worker.signal(signal.SIGINT)
            assert await worker.wait(20) == 0
            if "runs.left" not in worker.log_text():
                break
        view = await site.view(uid)
        assert (view.state, view.deaths) == ("queue", 0)


async def test_cancel_closes_a_call_under_way(site: Site) -> None:
    async with CountingServer(delay_s=30) as server:
        _, uid = await begin_first_call(site, server)
        assert await site.store.runs.cancel(uid, "changed my mind") == "asked"
        run = await site.ended(uid, 20)
        assert (run.status, run.cancel_reason) == ("cancelled", "changed my mind")
        assert [call.path for call in server.calls[uid]] == ["/first"]


async def test_cancel_kills_a_shell_and_its_children(site: Site) -> None:
    marker = site.folder / "pids"
    shell = {
        "run": {"shell": {"command": f"sleep 60 & echo $! > {marker}.new; mv {marker}.new {marker}; wait"}}
    }
    await site.publish(workflow("shell", {"sleeps": shell}))
    await site.worker()
    uid = await site.call("shell")
    await until(marker.exists)
    await site.store.runs.cancel(uid)
    assert (await site.ended(uid, 20)).status == "cancelled"
    pid = marker.read_text().strip()
    stat = Path(f"/proc/{pid}/stat")
    await until(lambda: not stat.exists() or stat.read_text().split()[2] == "Z", 20, "the child's end")


async def test_run_deadline_faults_with_a_timeout(site: Site) -> None:
    async with CountingServer(delay_s=30) as server:
        await site.publish(two_calls(server), timeout_s=0.3)
        await site.worker()
        uid = await site.call("two-calls")
        run = await site.ended(uid, 20)
        assert (run.status, decoded(run.error)["status"]) == ("faulted", 408)


async def test_worker_continues_when_redis_is_reachable_again(tmp_path: Path) -> None:
    """A call that is under way during the outage is not repeated."""
    embedded = start_embedded(tmp_path)
    store = await open_store(embedded.url, client_name="test", keyring=RING)
    settings = Settings(redis_url=embedded.url, log_format="json", link_key=LINK_KEY)
    site = Site(store=store, intake=store.intake(), settings=settings, folder=tmp_path)
    try:
        async with CountingServer(delay_s=1.5) as server:
            worker, uid = await begin_first_call(site, server)
            with contextlib.suppress(ProcessLookupError):
                os.kill(embedded.pid, signal.SIGKILL)
            await until(lambda: not embedded.alive)
            await until(lambda: "store.unreachable" in worker.log_text(), name="a lost store")
            embedded = start_embedded(tmp_path)
            run = await site.ended(uid)
            assert run.status == "completed"
            assert [call.path for call in server.calls[uid]] == ["/first", "/second"]
            assert worker.process.poll() is None
    finally:
        await site.close()
        await store.close()
        embedded.stop()
