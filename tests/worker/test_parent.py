"""The supervising parent: runs of dead workers continue soon, and a run that kills workers runs alone."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iogate.store import keys
from iogate.supervision.supervisor import Supervisor
from iogate.worker.pool import standby
from iogate.worker.pool.pool import Pool
from tests.faults.counting import CountingServer
from tests.worker.site import NOOP, ROOT, decoded, until, workflow
from tests.worker.test_faults import begin_first_call, post, two_calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.worker.site import Site

KILLER = workflow("killer", {"kills": {"call": "die:1.0.0@default"}})
DEADLY = """\
import os
import signal

import iogate


@iogate.function("die", version="1.0.0")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""
RUNAWAY = "${ def f: f; f }"
STUCK = workflow("stuck", {"spins": {"set": {"never": RUNAWAY}}})
GREEDY = workflow("greedy", {"eats": {"set": {"never": "${ [range(1e12)] | length }"}}})
DEEP = workflow("deep", {"falls": {"set": {"never": "${ def f: [f]; f }"}}})
DEFINITE = workflow("definite", {"first": {"set": {"n": 1}}}, {"big": {"set": RUNAWAY}})
EATER = "held = []\nwhile True: held.append(bytearray(1 << 24))"
SLOW = workflow("slow", {"naps": {"run": {"shell": {"command": "sleep 1"}}}})


@asynccontextmanager
async def parent(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, tick_s: float = 10.0, grace_s: float = 25.0
) -> AsyncIterator[Supervisor]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pool = Pool(site.settings, site.folder)
    make = pool._child

    def child(name: str, *, solitary: bool = False) -> object:
        return replace(make(name, solitary=solitary), tick_s=tick_s, grace_s=grace_s)

    monkeypatch.setattr(pool, "_child", child)
    async with Supervisor(exited=pool.handle_exit) as supervisor:
        watch = asyncio.create_task(pool.watch(supervisor))
        await supervisor.scale(pool.children(1), prefix="worker-")
        try:
            assert await supervisor.ready(40)
            yield supervisor
        finally:
            await supervisor.stop()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def hold_leases(site: Site) -> None:
    """Let all leases last for an hour, so that the runs of a dead worker continue by a recovery alone."""
    end_ms = await site.store.now_ms() + 3_600_000
    for uid in await site.store.call("ZRANGE", keys.LEASES, 0, -1):
        await site.store.call("ZADD", keys.LEASES, "XX", end_ms, uid)


async def test_runs_of_a_killed_worker_continue_within_seconds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with CountingServer(delay_s=0.3) as server, parent(site, monkeypatch) as supervisor:
        await site.publish(two_calls(server))
        uids = [await site.call("two-calls") for _ in range(5)]
        await until(lambda: len(server.calls) == 5)
        worker = supervisor.pids()["worker-1"]
        os.kill(worker, signal.SIGSTOP)  # it renews no lease
        await hold_leases(site)
        os.kill(worker, signal.SIGKILL)
        runs = await site.all_ended(uids, 30)
        assert [(run.status, run.deaths, run.attempt) for run in runs] == [("completed", 0, 1)] * 5
        assert not server.repeated_after_commit()


async def test_new_parent_continues_the_runs_of_a_killed_parent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for leases to expire: it finds the workers of the old one dead."""
    async with CountingServer(delay_s=0.5) as server:
        orphan, uid = await begin_first_call(site, server)
        orphan.signal(signal.SIGKILL)
        await orphan.wait()
        await hold_leases(site)
        async with parent(site, monkeypatch):
            assert (await site.ended(uid, 40)).status == "completed"


@pytest.mark.timeout(240)
async def test_run_that_kills_its_worker_is_poisoned_and_others_complete(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.folder / "deadly.py").write_text(DEADLY)
    site.settings = replace(site.settings, functions=("deadly",))
    async with parent(site, monkeypatch):
        await site.publish(KILLER, SLOW)
        neighbours = [await site.call("slow") for _ in range(3)]
        killer = await site.call("killer")
        run = await site.ended(killer, 90)
        error = decoded(run.error)
        assert (run.status, run.deaths, error["title"]) == ("faulted", 3, "poisoned")
        assert error["instance"] == "/do/0/kills"
        assert "by signal 9: most likely a call of the task ended or blocked the worker" in error["detail"]
        others = await site.all_ended(neighbours, 20)
        assert [(other.status, other.deaths) for other in others] == [("completed", 0)] * 3


@pytest.fixture
def memory() -> Iterator[None]:
    """Limit the memory of processes started meanwhile to 1 GiB each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("memory")
async def test_runaway_expressions_cost_other_runs_no_attempt(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other runs are in the middle of their calls when the worker stalls or dies; they continue."""
    # A worker ticks each second: a busy machine must not make a healthy one seem to hang.
    async with CountingServer(delay_s=1.0) as server, parent(site, monkeypatch, tick_s=3.0):
        await site.publish(two_calls(server), STUCK, GREEDY, DEEP)
        for _ in range(2):
            server.calls.clear()
            neighbours = [await site.call("two-calls") for _ in range(3)]
            await until(lambda: len(server.calls) == 3, name="calls under way")
            runaways = [await site.call(name) for name in ("stuck", "greedy", "deep")]
            others = await site.all_ended(neighbours, 100)
            assert [(each.status, each.attempt) for each in others] == [("completed", 1)] * 3
            assert not server.repeated_after_commit()
            assert not server.changed_keys()
            ended = await site.all_ended(runaways, 100)
            if not any(each.deaths for each in others):
                break  # otherwise the machine has stalled the worker that ran one of them alone
        assert [each.deaths for each in others] == [0] * 3
        assert [(each.status, each.attempt) for each in ended] == [("faulted", 1)] * 3
        errors = [decoded(each.error) for each in ended]
        assert [error["title"] for error in errors] == ["poisoned"] * 3
        assert [error["instance"] for error in errors] == ["/do/0/spins", "/do/0/eats", "/do/0/falls"]


@pytest.mark.timeout(240)
async def test_the_error_of_a_poisoned_run_names_task_and_remedy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for the task after the one whose result is not committed yet."""
    async with CountingServer() as server, parent(site, monkeypatch, tick_s=1.5):
        asks = {"asks": post(server, "/asks")}
        await site.publish(DEFINITE, workflow("after", asks, {"big": {"set": RUNAWAY}}))
        for _ in range(3):  # a worker that the machine stalls for 1.5 s dies at another task
            ended = await site.all_ended([await site.call(name) for name in ("definite", "after")], 100)
            assert [(run.status, run.deaths) for run in ended] == [("faulted", 3)] * 2
            errors = [decoded(run.error) for run in ended]
            calls = server.calls[ended[1].uid]
            if all(error["instance"] == "/do/1/big" for error in errors) and len(calls) <= 2:
                break
        for error in errors:
            assert (error["title"], error["instance"]) == ("poisoned", "/do/1/big")
            assert error["detail"] == (
                'task "big": the worker that ran this run alone died 3 times, the last time because it did '
                "not respond for 1.5 s: most likely an expression that does not end. Bound it, or move the "
                "work to a script, which has limits of its own"
            )
        # once in the midst of others, once alone, and committed there before what ends its worker
        assert len(calls) <= 2
        assert len({call.key for call in calls}) == 1


async def test_new_runs_are_executed_beside_a_blocked_worker(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The only worker is blocked, not killed; the standby worker ends once all workers tick."""
    caplog.set_level(logging.INFO, "iogate.supervision.supervisor")
    monkeypatch.setattr(standby, "CALM_S", 0.0)
    async with parent(site, monkeypatch, tick_s=600) as supervisor:
        await site.publish(STUCK, NOOP)
        silent = supervisor.pids()["worker-1"]
        stuck = await site.call("stuck")
        await until(lambda: (supervisor.silences()["worker-1"] or 0) > standby.SILENT_S)
        await hold_leases(site)  # or the standby worker would be blocked by the same run
        assert (await site.ended(await site.call())).status == "completed"
        pids = supervisor.pids()
        (standby_name,) = pids.keys() - {"worker-1"}
        assert pids["worker-1"] == silent
        await site.store.runs.cancel(stuck)  # or it would hold up the next one that takes it
        os.kill(silent, signal.SIGKILL)
        await until(lambda: supervisor.pids().keys() == {"worker-1"})
        assert supervisor.pids()["worker-1"] != silent
        assert f"{standby_name} exited" in caplog.messages  # by itself, as it was told to


@pytest.mark.usefixtures("memory")
async def test_script_over_its_memory_limit_faults_its_run_and_not_the_worker(site: Site) -> None:
    script = {"run": {"script": {"language": "python", "code": EATER}}}
    await site.publish(workflow("eats", {"eats": script}), SLOW)
    worker = await site.worker()
    slow, eats = await site.call("slow"), await site.call("eats")
    run = await site.ended(eats)
    assert (run.status, run.attempt, run.deaths) == ("faulted", 1, 0)
    assert "MemoryError" in decoded(run.error)["process"]["stderr"]
    assert (await site.ended(slow)).status == "completed"
    assert worker.process.poll() is None
