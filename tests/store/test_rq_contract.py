"""RQ's keys contain, field by field, what RQ's own methods write for the same job.

The same job goes through RQ's methods and through the store on the same server, and all of `rq:*` is
compared at each stage: types, fields, formats and lifetimes. Three differences are meant: `data` is not
compressed (RQ reads both, and the hash stays small), fields of a job without a value are absent, which RQ
reads as empty, and a canceled job expires.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
import zlib
from html.parser import HTMLParser
from typing import Any

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from iogate.store import keys
from iogate.store.runs.leases import Claim
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
HEX = re.compile(r"[0-9a-f]{32}")
ERROR = b'{"type":"runtime","status":500,"title":"boom"}'
WORKER = "worker-1"


@pytest.fixture
def worker(each_store: Store, plain: Redis) -> Worker:
    return born(plain)


def born(plain: Redis) -> Worker:
    queue = Queue(keys.QUEUE, connection=plain, serializer=JSONSerializer)
    worker = Worker([queue], connection=plain, name=WORKER, serializer=JSONSerializer)
    worker.register_birth()  # type: ignore[no-untyped-call] # RQ's own
    return worker


def enqueue(worker: Worker, uid: str) -> Job:
    return worker.queues[0].enqueue(
        keys.JOB_FUNCTION, uid, job_id=uid, job_timeout=-1, result_ttl=500, failure_ttl=500
    )


def start(worker: Worker, job: Job) -> Execution:
    worker.connection.lpop(keys.RQ_QUEUE)
    execution = worker.prepare_execution(job)
    worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
    return execution


def finish(worker: Worker, job: Job, execution: Execution, *, error: str = "") -> None:
    queue = worker.queues[0]
    worker.handle_execution_ended(job, queue, 500)
    if error:
        worker.handle_job_failure(job, queue, exc_string=error, execution=execution)
    else:
        worker.handle_job_success(job, queue, queue.started_job_registry, execution)
    worker.set_state("idle")


def normal(text: str, uid: str) -> str:
    text = HEX.sub("EXECUTION", text.replace(uid, "UID"))
    text = STAMP.sub("STAMP", text)
    if re.fullmatch(r"\d{10}\.\d+", text) and abs(float(text) - time.time()) < 60:
        return "EPOCH"
    return text


def text_of(field: Any, value: Any) -> str:
    """Return a field as RQ reads it: `data` may be compressed."""
    if field == b"data" and value[:1] == b"\x78":
        return zlib.decompress(value).decode()
    decoded: str = value.decode()
    return decoded


def content_of(plain: Any, key: str, kind: str, uid: str) -> Any:
    match kind:
        case "hash":
            fields = {f.decode(): normal(text_of(f, v), uid) for f, v in plain.hgetall(key).items()}
            fields.pop("total_working_time", None)
            if key.startswith("rq:job:"):
                return {field: value for field, value in fields.items() if value}
            return fields
        case "zset":
            now = time.time()
            members = plain.zrange(key, 0, -1, withscores=True)
            return [(normal(member.decode(), uid), coarse(score - now)) for member, score in members]
        case "set":
            return sorted(normal(member.decode(), uid) for member in plain.smembers(key))
        case "list":
            return [normal(member.decode(), uid) for member in plain.lrange(key, 0, -1)]
        case "stream":
            entries = plain.xrange(key)
            return [{f.decode(): normal(v.decode(), uid) for f, v in entry.items()} for _, entry in entries]
        case _:
            return plain.get(key)


def coarse(left_s: float) -> int:
    """Return a remaining time in half minutes, rounded up.

    Each lifetime of RQ keeps this number for at least 19 s.
    """
    return math.ceil((left_s - 0.5) / 30)


def snapshot(plain: Any, uid: str) -> dict[str, Any]:
    """Return all keys of RQ, with ids, timestamps and instants made equal."""
    found: dict[str, Any] = {}
    for name in plain.keys("rq:*"):
        key = name.decode()
        kind = plain.type(key).decode()
        found[normal(key, uid)] = (kind, coarse(plain.ttl(key)), content_of(plain, key, kind, uid))
    return found


def written_by_rq(plain: Redis, uid: str, stage: str) -> dict[str, Any]:
    plain.flushall()
    worker = born(plain)
    job = enqueue(worker, uid)
    if stage != "queued":
        execution = start(worker, job)
        if stage == "finished":
            finish(worker, job, execution)
        if stage == "failed":
            finish(worker, job, execution, error=ERROR.decode())
    return snapshot(plain, uid)


async def claimed(store: Store) -> Claim:
    (claim,) = (await store.leases.take(WORKER, 1)).claims
    return claim


@pytest.mark.parametrize("stage", ["queued", "started", "finished", "failed"])
async def test_every_key_equals_the_one_that_rq_writes(
    each_store: Store, plain: Redis, worker: Worker, stage: str
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    if stage != "queued":
        claim = await claimed(each_store)
        if stage == "finished":
            await each_store.leases.commit([commit(claim)])
        if stage == "failed":
            await each_store.leases.commit([commit(claim, status="faulted", error=ERROR)])
    assert snapshot(plain, uid) == written_by_rq(plain, uid, stage)


async def test_rq_reads_the_same_job_as_its_own(each_store: Store, plain: Redis) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())

    def read() -> dict[str, str]:
        job = Job.fetch(uid, connection=plain, serializer=JSONSerializer)
        return {
            field: normal(text_of(field.encode(), value) if isinstance(value, bytes) else str(value), uid)
            for field, value in job.to_dict().items()
        }

    ours = read()
    plain.flushall()
    enqueue(born(plain), uid)
    assert ours == read()


async def test_rq_reads_its_own_objects_back(each_store: Store, plain: Redis, worker: Worker) -> None:
    """Job, execution, registries and result, through RQ's classes."""
    await publish(each_store)
    uid = await accepted(each_store.intake())
    queue = worker.queues[0]
    job = Job.fetch(uid, connection=plain, serializer=JSONSerializer)
    assert (job.func_name, job.args, job.get_status()) == (keys.JOB_FUNCTION, [uid], "queued")
    assert queue.job_ids == [uid]

    claim = await claimed(each_store)
    job.refresh()  # type: ignore[no-untyped-call] # RQ's own
    assert job.get_status() == "started"
    assert job.worker_name == WORKER
    assert queue.started_job_registry.get_job_ids() == [uid]
    assert worker.get_current_executions(refresh=True)[0].job_id == uid
    assert [e.worker_name for e in job.get_executions()] == [WORKER]

    await each_store.leases.commit([commit(claim, status="faulted", error=ERROR)])
    assert queue.failed_job_registry.get_job_ids() == [uid]
    result = job.latest_result()
    assert result is not None
    assert result.exc_string == ERROR.decode()
    assert queue.started_job_registry.get_job_ids() == []
    worker.refresh()  # type: ignore[no-untyped-call] # RQ's own
    assert (worker.get_state(), worker.failed_job_count) == ("idle", 1)


async def test_the_error_of_a_faulted_run_contains_no_markup(
    each_store: Store, plain: Redis, worker: Worker
) -> None:
    """rq-dashboard inserts the error into its page of a job unescaped, by this template."""
    assert worker.name == WORKER
    document = {"detail": "<script>alert(1)</script> <img src=x onerror=alert(1)> &lt;b&gt;", "status": 500}
    await publish(each_store)
    uid = await accepted(each_store.intake())
    claim = await claimed(each_store)
    error = json.dumps(document).encode()
    await each_store.leases.commit([commit(claim, status="faulted", error=error)])
    result = Job.fetch(uid, connection=plain, serializer=JSONSerializer).latest_result()
    assert result is not None
    assert result.exc_string is not None

    page = '<pre class="exc_info col-12"><%= d.exc_info %></pre>'.replace(
        "<%= d.exc_info %>", result.exc_string
    )
    found = Elements()
    found.feed(page)
    assert found.tags == ["pre"]
    assert not set("<>&") & set(result.exc_string)
    assert json.loads(result.exc_string) == document
    view = await each_store.runs.show(uid)
    assert view is not None
    assert view.error == error


class Elements(HTMLParser):
    """Parser that collects the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - its signature
        self.tags.append(tag)


async def test_a_cancelled_run_is_in_rqs_canceled_registry(
    each_store: Store, plain: Redis, worker: Worker
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    assert await each_store.runs.cancel(uid, "no longer needed") == "cancelled"
    queue = worker.queues[0]
    assert queue.canceled_job_registry.get_job_ids() == [uid]
    assert queue.job_ids == []
    assert Job.fetch(uid, connection=plain, serializer=JSONSerializer).is_canceled
    assert 0 < plain.ttl(keys.RQ_JOB + uid) <= 500


async def test_parking_removes_the_job_and_waking_writes_it_again(
    each_store: Store, plain: Redis, worker: Worker
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    claim = await claimed(each_store)
    taken = await each_store.leases.take(WORKER, 0)
    await each_store.leases.commit([commit(claim, "park", due_ms=taken.now_ms + 600_000)])
    assert [key for key in plain.keys("rq:*") if uid in str(key)] == []
    assert worker.queues[0].started_job_registry.get_job_ids() == []

    plain.zadd(keys.TIMERS, {uid: 1})
    deadline = time.monotonic() + 20
    while plain.llen(keys.RQ_QUEUE) == 0:
        assert time.monotonic() < deadline
        await each_store.leases.take(WORKER, 0)
    assert Job.fetch(uid, connection=plain, serializer=JSONSerializer).is_queued
    assert plain.ttl(keys.RQ_JOB + uid) == -1


async def test_suspend_and_resume_of_rq_are_respected(
    each_store: Store, plain: Redis, worker: Worker
) -> None:
    await publish(each_store)
    await accepted(each_store.intake())
    rq(each_store, "suspend")
    taken = await each_store.leases.take(WORKER, 1)
    assert (taken.suspended, taken.claims) == (True, ())
    rq(each_store, "resume")
    taken = await each_store.leases.take(WORKER, 1)
    assert (taken.suspended, len(taken.claims)) == (False, 1)


async def test_rq_info_shows_correct_numbers(each_store: Store, worker: Worker) -> None:
    await publish(each_store)
    intake = each_store.intake()
    for _ in range(4):
        await accepted(intake)
    claims = (await each_store.leases.take(WORKER, 3)).claims
    await each_store.leases.commit([commit(claims[0]), commit(claims[1], status="faulted", error=ERROR)])
    shown = rq(each_store, "info", "--raw")
    assert "queue iogate 1, 1 executing, 1 finished, 1 failed" in shown
    assert re.search(rf"worker {WORKER} .* busy iogate\. jobs: 1 finished, 1 failed", shown), shown


def rq(store: Store, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rq.cli", *arguments, "-u", store.url],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    return done.stdout
