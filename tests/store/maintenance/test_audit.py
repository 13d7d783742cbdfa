"""Audit: changes to RQ's keys by other programs delay a run but never lose it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from types import SimpleNamespace

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from iogate.compiler.revision import Bundle, Limits, Revision, canonical, resource_uri
from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.maintenance import audit
from iogate.store.store import Store
from tests.store.builders import (
    ORDERS,
    accepted,
    api,
    bundle,
    commit,
    publish,
    recovered_twice,
    state_of,
    until,
)
from tests.store.events.test_bus import event, listening, matched, wanting
from tests.store.test_children import child, content_of, parent_of


@pytest.fixture
def queue(plain: Redis) -> Queue:
    return Queue(keys.QUEUE, connection=plain, serializer=JSONSerializer)


async def test_emptying_rqs_queue_loses_no_run(each_store: Store, queue: Queue) -> None:
    await publish(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake) for _ in range(70)]
    queue.empty()  # type: ignore[no-untyped-call] # RQ's own
    assert (await each_store.leases.take("w", 100)).claims == ()
    assert await each_store.leases.audit() == 64
    assert await each_store.leases.audit() == 0
    seen = []
    while claims := (await each_store.leases.take("w", 100)).claims:
        await each_store.leases.commit([commit(claim) for claim in claims])
        seen += [claim.uid for claim in claims]
    assert sorted(seen) == uids


async def test_a_deleted_job_is_written_again(each_store: Store, plain: Redis, queue: Queue) -> None:
    await publish(each_store)
    intake = each_store.intake()
    queued, unqueued = await accepted(intake), await accepted(intake)
    plain.delete(keys.RQ_JOB + queued)
    Job.fetch(unqueued, connection=plain, serializer=JSONSerializer).delete()
    assert await each_store.leases.audit() == 2
    assert set(queue.job_ids) == {queued, unqueued}
    assert Job.fetch(queued, connection=plain, serializer=JSONSerializer).is_queued


async def test_a_job_deleted_while_its_run_is_leased_changes_nothing(each_store: Store, plain: Redis) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    plain.delete(keys.RQ_JOB + uid)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    assert Job.fetch(uid, connection=plain, serializer=JSONSerializer).is_started
    plain.delete(keys.RQ_JOB + uid)
    (verdict,) = await each_store.leases.commit([commit(claim)])
    assert verdict.applied
    assert plain.exists(keys.RQ_JOB + uid) == 0


async def test_requeueing_an_ended_run_through_rq_does_not_run_it_again(
    each_store: Store, plain: Redis, queue: Queue
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, status="faulted", error=b"{}")])
    queue.failed_job_registry.requeue(uid)
    assert queue.job_ids == [uid]
    assert (await each_store.leases.take("w", 1)).claims == ()
    assert queue.job_ids == []
    assert plain.exists(keys.RQ_JOB + uid) == 0
    view = await each_store.runs.show(uid)
    assert view is not None
    assert view.status == "faulted"


async def test_an_audit_reads_each_list_once(each_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE", 10)
    await publish(each_store)
    intake = each_store.intake()
    await asyncio.gather(*(accepted(intake) for _ in range(300)))

    async def commandstats() -> dict[str, int]:
        stats = (await each_store.call("INFO", "commandstats")).decode().splitlines()
        calls = dict(line.removeprefix("cmdstat_").split(":calls=", 1) for line in stats if ":calls=" in line)
        return {name: int(calls.get(name, "0").split(",", 1)[0]) for name in ("lrange", "lpos")}

    before = await commandstats()
    assert await each_store.leases.audit() == 0
    after = await commandstats()
    # Queue, suspects, backlog, woken; the queue once more, to count it.
    assert {name: after[name] - before[name] for name in after} == {"lrange": 5, "lpos": 0}


async def test_a_run_queued_during_an_audit_is_not_queued_twice(
    each_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(each_store)
    uids = [await accepted(each_store.intake()) for _ in range(3)]

    async def nothing(_line: object) -> dict[str, set[int]]:
        return {}

    monkeypatch.setattr(audit, "_waiting", nothing)
    assert await each_store.leases.audit() == 0
    assert [uid.decode() for uid in await each_store.call("LRANGE", keys.RQ_QUEUE, 0, -1)] == uids


async def test_an_unknown_queue_entry_is_removed(each_store: Store, queue: Queue) -> None:
    """S9: write access to Redis does not allow to run code in a worker."""
    await publish(each_store)
    own = await accepted(each_store.intake())
    queue.enqueue("os.system", "true", job_id="evil")
    claims = (await each_store.leases.take("w", 10)).claims
    assert [claim.uid for claim in claims] == [own]
    assert queue.job_ids == []


async def test_a_missing_lease_timer_or_suspect_entry_is_restored(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake) for _ in range(3)]
    held, parked, dead = (await each_store.leases.take("w", 3)).claims
    await each_store.leases.commit([commit(parked, "park", due_ms=held.created_at_ms + 600_000)])
    await recovered_twice(each_store, "w")
    (alone,) = (await each_store.leases.take("alone", 1, solitary=True)).claims
    await each_store.call("DEL", keys.LEASES, keys.TIMERS, keys.SUSPECTS)
    assert await each_store.leases.audit() == 3
    places = {uid: await state_of(each_store, uid) for uid in uids}
    assert places == {alone.uid: "lease", parked.uid: "timer", dead.uid: "suspect"}
    assert await each_store.call("ZCARD", keys.TIMERS) == 1
    assert await each_store.leases.suspects() == 1


async def test_wrong_counts_are_counted_again_and_let_runs_in(each_store: Store) -> None:
    one = api(limits=Limits(running=1))
    await publish(each_store, one)
    intake = each_store.intake()
    await accepted(intake, one)
    await accepted(intake, one)
    (claim,) = (await each_store.leases.take("w", 5)).claims
    await each_store.call("HSET", keys.GATE + one.id, "run", 7, "inq", 9, "bl", 0)
    assert (await audit.audit(each_store._connection)).recounted == 1
    state = (await each_store.gates.states())[one.id]
    assert (state.queued, state.running) == (1, 1)
    await each_store.leases.commit([commit(claim)])
    assert len((await each_store.leases.take("w", 5)).claims) == 1


async def test_expired_runs_leave_the_index(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), retention_s=0.01)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim)])

    async def is_deleted() -> bool:
        return await each_store.runs.show(uid) is None

    await until(is_deleted)
    assert (await audit.audit(each_store._connection)).forgotten == 1
    assert sum((await each_store.runs.counts()).values()) == 0


async def test_only_unreferenced_programs_are_dropped(
    each_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BLOB_GRACE_S", -1)
    monkeypatch.setattr(keys, "REVISIONS_KEPT", 1)
    await publish(each_store)
    await accepted(each_store.intake())
    await each_store.revisions.publish(bundle())
    assert (await audit.audit(each_store._connection)).dropped == 0
    (claim,) = (await each_store.leases.take("w", 1)).claims
    assert await each_store.revisions.program(claim.program) == b"{}"
    await each_store.leases.commit([commit(claim)])
    assert (await audit.audit(each_store._connection)).dropped == 1
    assert (await each_store.gates.states()) == {}
    assert await each_store.call("EXISTS", keys.GATE + ORDERS.id) == 0


async def test_a_program_that_is_published_again_during_an_audit_is_kept(
    each_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last look at the kept revisions, which did not name it yet."""
    monkeypatch.setattr(keys, "REVISIONS_KEPT", 1)
    await publish(each_store)
    await each_store.revisions.publish(bundle())
    await each_store.call("ZADD", keys.BLOBS, 1, keys.PROGRAM + ORDERS.program)
    needed = audit._needed
    looks = 0

    async def needed_then_publish(connection: Connection, pinned: set[str]) -> set[str]:
        nonlocal looks
        found = await needed(connection, pinned)
        looks += 1
        if looks == 2:
            await publish(each_store)
        return found

    monkeypatch.setattr(audit, "_needed", needed_then_publish)
    assert (await audit.audit(each_store._connection)).dropped == 0
    assert looks == 2
    assert await each_store.revisions.program(ORDERS.program) == b"{}"


async def test_contents_live_as_long_as_a_run_whose_program_names_them(
    each_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if no kept revision names them: the run is pinned to its script as to its program."""
    monkeypatch.setattr(audit, "BLOB_GRACE_S", -1)
    monkeypatch.setattr(keys, "REVISIONS_KEPT", 1)
    digest = hashlib.sha256(b"print(1)").hexdigest()
    uri = resource_uri("scripts/a b.py", digest)
    source = {"run": {"script": {"language": "python", "source": {"endpoint": uri}}}}
    revision = Revision(apis={ORDERS.id: ORDERS}, workflows={}, resources={uri: digest})
    programs = {ORDERS.program: canonical({"do": [{"one": source}]})}
    contents = {digest: b"print(1)"}
    await each_store.revisions.publish(Bundle(revision=revision, programs=programs, contents=contents))
    await accepted(each_store.intake())
    nothing = Bundle(revision=Revision(apis={}, workflows={}), programs={})
    await each_store.revisions.publish(nothing)
    assert (await audit.audit(each_store._connection)).dropped == 0
    assert await each_store.revisions.content(digest) == b"print(1)"
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim)])
    assert (await audit.audit(each_store._connection)).dropped == 2
    with pytest.raises(NotFound, match=f"there is no content {digest[:12]}… in the store"):
        await each_store.revisions.content(digest)


async def test_a_subscription_missing_from_the_index_is_restored(each_store: Store) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()})
    await each_store.call("DEL", keys.WANTS + "order.paid")
    assert await each_store.leases.audit() == 1
    assert await each_store.leases.audit() == 0
    await each_store.events.publish([event()])
    await matched(each_store)
    assert await state_of(each_store, claim.uid) == "queue"


async def test_a_parked_run_with_a_lost_wake_up_is_woken_by_its_inbox(each_store: Store) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()})
    await each_store.events.publish([event()])
    await matched(each_store)
    await each_store.call("DEL", keys.RQ_QUEUE)
    await each_store.call("HSET", keys.RUN + claim.uid, "pl", "timer")
    assert await each_store.leases.audit() == 1
    assert len((await each_store.leases.take("w", 1)).claims) == 1


async def test_a_parent_is_notified_of_a_deleted_child(each_store: Store) -> None:
    await publish(each_store)
    lost = child(4)
    parent = await parent_of(each_store, lost)
    await each_store.call("DEL", keys.RUN + lost.uid)
    assert await each_store.leases.audit() == 1
    assert await each_store.leases.audit() == 0
    claims = {claim.uid: claim for claim in (await each_store.leases.take("w", 5)).claims}
    (message,) = claims[parent.uid].inbox
    assert content_of(message)["status"] == "faulted"
    assert content_of(message)["error"]["detail"] == "the record of the run that it waited for was deleted"


async def test_a_deleted_run_leaves_no_keys(each_store: Store) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()}, move="keep")
    one = child(2)
    await each_store.leases.commit(
        [commit(claim, "keep", seq=2, children=[one], frames={"1": b"f"}, journal=[b"{}"])]
    )
    await each_store.call("DEL", keys.RUN + claim.uid)
    await each_store.leases.audit()
    assert await each_store.call("KEYS", f"iogate:*:{claim.uid}") == []
    assert await each_store.call("EXISTS", keys.WANTS + "order.paid") == 0
    assert await state_of(each_store, one.uid) == "end"


async def test_an_audit_rests_nine_times_as_long_as_it_works(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(store)
    await accepted(store.intake())
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    clock = iter(range(1_000))  # one second between two looks at it
    monkeypatch.setattr(audit, "time", SimpleNamespace(monotonic=lambda: next(clock), time=time.time))
    monkeypatch.setattr(audit, "asyncio", SimpleNamespace(sleep=rest))
    await store.leases.audit()
    assert rests == [pytest.approx(9.0)] * 2  # for the runs of one status, and the index of one API
