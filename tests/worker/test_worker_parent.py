"""The supervising parent: runs of a dead worker go on soon, and a run that kills workers ends alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iogate.supervisor import Supervisor
from iogate.worker.workforce import Workforce
from tests.faults.counting import CountingServer
from tests.worker.site import ROOT, decoded, until, workflow
from tests.worker.test_worker_faults import two_calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.worker.site import Site

KILLER = workflow("killer", {"kills": {"run": {"shell": {"command": "kill -9 $PPID; sleep 5"}}}})
STUCK = workflow("stuck", {"spins": {"set": {"never": "${ def f: f; f }"}}})
SLOW = workflow("slow", {"naps": {"run": {"shell": {"command": "sleep 1"}}}})


@asynccontextmanager
async def parent(
    site: Site, monkeypatch: pytest.MonkeyPatch, tick_s: float = 10.0
) -> AsyncIterator[Supervisor]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    force = Workforce(site.settings, site.folder)
    make = force._child

    def child(name: str, *, solitary: bool = False) -> object:
        return replace(make(name, solitary=solitary), tick_s=tick_s)

    monkeypatch.setattr(force, "_child", child)
    async with Supervisor(exited=force.exited) as supervisor:
        watch = asyncio.create_task(force.watch(supervisor))
        await supervisor.scale(force.children(1), prefix="worker-")
        try:
            assert await supervisor.ready(15)
            yield supervisor
        finally:
            await supervisor.stop()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def test_runs_of_a_killed_worker_go_on_within_seconds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with CountingServer(delay_s=0.3) as server, parent(site, monkeypatch) as supervisor:
        await site.publish(two_calls(server))
        uids = [await site.call("two-calls") for _ in range(5)]
        await until(lambda: len(server.calls) == 5)
        os.kill(supervisor.pids()["worker-1"], signal.SIGKILL)
        runs = await site.all_ended(uids, 10)
        assert [(run.status, run.deaths, run.attempt) for run in runs] == [("completed", 0, 1)] * 5
        assert not server.repeated_after_commit()


async def test_new_parent_goes_on_with_the_runs_of_a_parent_that_was_killed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for leases to end: the workers of the old one are seen to be dead."""
    async with CountingServer(delay_s=0.5) as server:
        await site.publish(two_calls(server))
        orphan = await site.worker()
        uid = await site.call("two-calls")
        await until(lambda: uid in server.calls)
        orphan.signal(signal.SIGKILL)
        await orphan.wait()
        killed_at = time.monotonic()
        async with parent(site, monkeypatch):
            assert (await site.ended(uid, 12)).status == "completed"
            assert time.monotonic() - killed_at < 12


@pytest.mark.timeout(60)
async def test_run_that_kills_its_worker_is_poisoned_and_its_neighbours_complete(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with parent(site, monkeypatch):
        await site.publish(KILLER, SLOW)
        neighbours = [await site.call("slow") for _ in range(3)]
        killer = await site.call("killer")
        run = await site.ended(killer, 30)
        assert (run.status, run.deaths, decoded(run.error)["title"]) == ("faulted", 3, "poisoned")
        others = await site.all_ended(neighbours, 20)
        assert [(other.status, other.deaths) for other in others] == [("completed", 0)] * 3


@pytest.mark.timeout(60)
async def test_worker_that_hangs_in_an_expression_is_killed_by_its_parent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with parent(site, monkeypatch, tick_s=1.5):
        await site.publish(STUCK)
        uid = await site.call("stuck")
        run = await site.ended(uid, 40)
        assert (run.status, run.deaths) == ("faulted", 3)
