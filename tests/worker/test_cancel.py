"""Cancellation ends a run in any state: waiting, listening, or with a child."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.counting import CountingServer
from tests.worker.site import until, workflow
from tests.worker.test_events import cloud_event, listen, listening, run_workflow
from tests.worker.test_faults import post

if TYPE_CHECKING:
    from tests.worker.site import Site

NAP = {"wait": {"hours": 1}}
SOON_S = 25.0


async def children(site: Site, uid: str) -> list[str]:
    """Return the ids of all runs but this one, oldest first."""
    runs = await site.store.runs.list()
    return [run.uid for run in reversed(runs) if run.uid != uid]


async def cancelled(site: Site, uid: str) -> None:
    await site.store.runs.cancel(uid, "enough")
    run = await site.ended(uid, SOON_S)
    assert (run.status, run.cancel_reason) == ("cancelled", "enough")


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(NAP, id="wait"),
        pytest.param(listen(), id="listen"),
        pytest.param({"fork": {"branches": [{"naps": NAP}, {"hears": listen()}]}}, id="fork"),
        pytest.param(
            {
                "try": [{"fails": {"raise": {"error": {"type": "https://test/no", "status": 500}}}}],
                "catch": {"retry": {"delay": {"hours": 1}}},
            },
            id="retry",
        ),
    ],
)
async def test_cancelled_parked_run_leaves_no_keys(site: Site, task: dict[str, Any]) -> None:
    await site.publish(workflow("parks", {"here": task}))
    await site.worker()
    uid = await site.call("parks")
    await listening(site, uid)
    await cancelled(site, uid)
    rows = {row.reference: row.status for row in (await site.view(uid)).tasks}
    assert rows["/do/0/here"] == "cancelled"
    assert not await site.store.call("EXISTS", f"iogate:wanted:{uid}", f"iogate:inbox:{uid}")
    assert not await site.store.call("KEYS", "iogate:wants:*")
    await site.store.events.publish([cloud_event(1)])


async def test_cancelled_parent_cancels_waiting_child_and_grandchild(site: Site) -> None:
    await site.publish(
        workflow("parent", {"asks": run_workflow("child")}),
        workflow("child", {"asks": run_workflow("grandchild")}),
        workflow("grandchild", {"naps": NAP}),
    )
    await site.worker()
    uid = await site.call("parent")

    async def all_wait() -> bool:
        runs = await site.store.runs.list(statuses=("waiting",))
        return len(runs) == 3

    await until(all_wait, name="three waiting runs")
    below = await children(site, uid)
    await cancelled(site, uid)
    assert [run.status for run in await site.all_ended(below, SOON_S)] == ["cancelled"] * 2


async def test_cancelled_parent_closes_the_call_of_its_child(site: Site) -> None:
    async with CountingServer(delay_s=30) as server:
        await site.publish(
            workflow("parent", {"asks": run_workflow("child")}),
            workflow("child", {"calls": post(server, "/first")}),
        )
        await site.worker()
        uid = await site.call("parent")
        await until(lambda: len(server.calls) == 1, name="a call")
        (child,) = await children(site, uid)
        began = time.monotonic()
        await cancelled(site, uid)
        assert (await site.ended(child, SOON_S)).status == "cancelled"
        assert time.monotonic() - began < SOON_S


async def test_child_that_is_not_awaited_outlives_its_parent(site: Site) -> None:
    child = {"namespace": "test", "name": "child", "version": "1.0.0"}
    await site.publish(
        workflow("parent", {"asks": {"run": {"workflow": child, "await": False}}}, {"naps": NAP}),
        workflow("child", {"hears": listen()}),
    )
    await site.worker()
    uid = await site.call("parent")
    await listening(site, uid)
    await until_children(site, uid)
    (orphan,) = await children(site, uid)
    await listening(site, orphan)
    await cancelled(site, uid)
    await site.store.events.publish([cloud_event(1)])
    assert (await site.ended(orphan, SOON_S)).status == "completed"


async def until_children(site: Site, uid: str) -> None:
    async def there() -> bool:
        return bool(await children(site, uid))

    await until(there, name="a child")


async def test_parent_can_catch_the_cancellation_of_its_child(site: Site) -> None:
    caught = {
        "try": [{"asks": run_workflow("child")}],
        "catch": {"as": "wrong", "do": [{"says": {"set": {"status": "${ $wrong.status }"}}}]},
    }
    await site.publish(workflow("parent", {"tries": caught}), workflow("child", {"naps": NAP}))
    await site.worker()
    uid = await site.call("parent")
    await until_children(site, uid)
    (child,) = await children(site, uid)
    await listening(site, child)
    await cancelled(site, child)
    run = await site.ended(uid, SOON_S)
    assert (run.status, run.output) == ("completed", b'{"status":500}')


async def test_losing_branch_cancels_its_child(site: Site) -> None:
    branches = [{"asks": run_workflow("child")}, {"hears": listen()}]
    await site.publish(
        workflow("races", {"race": {"fork": {"compete": True, "branches": branches}}}),
        workflow("child", {"naps": NAP}),
    )
    await site.worker()
    uid = await site.call("races")
    await listening(site, uid)
    await until_children(site, uid)
    (child,) = await children(site, uid)
    await listening(site, child)
    await site.store.events.publish([cloud_event(1)])
    assert (await site.ended(uid, SOON_S)).status == "completed"
    assert (await site.ended(child, SOON_S)).status == "cancelled"


async def test_cancel_kills_processes_of_a_child(site: Site) -> None:
    """Also a grandchild process that left its session."""
    marker = site.folder / "pids"
    command = f"setsid sh -c 'sleep 60 & echo $! > {marker}.new; mv {marker}.new {marker}; wait' & wait"
    await site.publish(
        workflow("parent", {"asks": run_workflow("child")}),
        workflow("child", {"sleeps": {"run": {"shell": {"command": command}}}}),
    )
    await site.worker()
    uid = await site.call("parent")
    await until(marker.exists, name="a grandchild")
    await cancelled(site, uid)
    stat = Path(f"/proc/{marker.read_text().strip()}/stat")
    await until(lambda: not stat.exists() or stat.read_text().split()[2] == "Z", 20, "the grandchild's end")
