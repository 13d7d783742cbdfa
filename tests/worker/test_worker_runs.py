"""Runs go from the queue to their end in a real worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.counting import CountingServer
from tests.worker.site import NOOP, decoded, workflow

if TYPE_CHECKING:
    from tests.worker.site import Site


async def test_run_completes_in_one_commit(site: Site) -> None:
    await site.publish(NOOP)
    await site.worker()
    uid = await site.call()
    run = await site.ended(uid)
    assert (run.status, decoded(run.output)) == ("completed", {"ok": True})
    assert [(task.reference, task.status, task.count) for task in run.tasks] == [
        ("/do/0/done", "completed", 1)
    ]
    kinds = [decoded(line)["kind"] for line in await site.store.runs.journal(uid)]
    assert kinds == ["workflow.started", "task.started", "task.completed", "workflow.completed"]


async def test_run_calls_http_with_a_key_of_its_own(site: Site) -> None:
    async with CountingServer() as server:
        post = {"method": "post", "endpoint": f"{server.url}/first", "body": {"uid": "${ $workflow.id }"}}
        await site.publish(workflow("http", {"call": {"call": "http", "with": post}}))
        await site.worker()
        uid = await site.call("http")
        run = await site.ended(uid)
        assert run.status == "completed", run.error
        assert [call.key for call in server.calls[uid]] == [f"{uid}/do/0/call/0"]
