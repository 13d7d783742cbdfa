"""RQ's own tools: their view of a worker, and their commands to it."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from rq import Queue
from rq.command import send_shutdown_command, send_stop_job_command
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend
from rq.worker import BaseWorker

from iogate.worker import rq_worker as worker_of_rq
from iogate.worker.job import advance
from tests.faults.counting import CountingServer
from tests.worker.site import NOOP, until
from tests.worker.test_faults import two_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.worker.site import Site


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client
        client.connection_pool.disconnect()


def workers(redis: Redis) -> list[BaseWorker]:
    return BaseWorker.all(connection=redis)


async def test_rq_shows_the_worker_from_start_to_end(site: Site, redis: Redis) -> None:
    worker = await site.worker()
    await until(lambda: len(workers(redis)) == 1, name="a registered worker")
    (seen,) = workers(redis)
    assert (seen.name, seen.pid, seen.queue_names()) == (worker.name, worker.pid, ["iogate"])
    assert [each.name for each in BaseWorker.all(queue=Queue("iogate", connection=redis))] == [worker.name]
    worker.signal(signal.SIGTERM)
    assert await worker.wait() == 0
    assert workers(redis) == []


async def test_rq_stop_job_cancels_the_run(site: Site, redis: Redis) -> None:
    async with CountingServer(delay_s=30) as server:
        await site.publish(two_calls(server))
        await site.worker()
        await until(lambda: len(workers(redis)) == 1)
        uid = await site.call("two-calls")
        await until(lambda: uid in server.calls)
        send_stop_job_command(redis, uid, serializer=JSONSerializer)
        run = await site.ended(uid, 20)
        assert (run.status, run.cancel_reason) == ("cancelled", "stopped through RQ")
        assert Job.fetch(uid, connection=redis, serializer=JSONSerializer).get_status() == "canceled"


async def test_rq_suspend_stops_taking_until_resume(site: Site, redis: Redis) -> None:
    await site.publish(NOOP)
    worker = await site.worker()
    suspend(redis)
    await until(lambda: "worker.suspended" in worker.log_text())
    uid = await site.call()
    await until(lambda: [each.get_state() for each in workers(redis)] == ["suspended"])
    assert (await site.view(uid)).status == "pending"
    resume(redis)
    assert (await site.ended(uid, 20)).status == "completed"


async def test_rq_shutdown_ends_the_worker_gracefully(site: Site, redis: Redis) -> None:
    worker = await site.worker()
    await until(lambda: len(workers(redis)) == 1)
    send_shutdown_command(redis, worker.name)
    assert await worker.wait() == 0


async def test_the_worker_leaves_rq_at_once_while_it_waits_for_a_command(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_of_rq, "LISTEN_S", 60.0)
    redis.flushall()
    worker = worker_of_rq.WorkflowWorker("prompt", redis_url)
    commands: list[str] = []
    worker.start_listening(lambda kind, _: commands.append(kind))
    await until(lambda: [each.get_state() for each in workers(redis)] == ["idle"])
    await worker.leave()
    assert workers(redis) == []
    assert not commands


def test_rq_job_refuses_to_run_outside_of_iogate() -> None:
    with pytest.raises(Exception, match="taken by a plain RQ worker") as refusal:
        advance("7")
    assert 'start "iogate worker"' in getattr(refusal.value, "hint", "")


async def test_plain_rq_worker_takes_jobs_and_loses_no_run(site: Site, redis_url: str) -> None:
    await site.publish(NOOP)
    uids = [await site.call() for _ in range(3)]
    plain = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rq.cli", "worker", "--burst", "--quiet", "--url", redis_url,
        "--serializer", "rq.serializers.JSONSerializer", "iogate",
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await plain.wait()
    assert await site.store.call("LLEN", "rq:queue:iogate") == 0
    await site.worker()
    assert [run.status for run in await site.all_ended(uids, 30)] == ["completed"] * 3
