"""State transitions of runs: each run is in exactly one state."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from iogate.compiler.revision import Limits
from iogate.security.keyring import digest
from iogate.store import keys
from iogate.store.runs.claims import Claim
from iogate.store.runs.leases import Leases, TaskRow
from iogate.store.store import Store
from tests.keys import RING
from tests.store.builders import PROGRAM, RunStore, accepted, api, commit, publish, state_of, until

WORKER = "worker-1"


async def now_ms(store: RunStore) -> int:
    return (await store.leases.take("nobody", 0)).now_ms


async def test_a_run_moves_from_queue_to_lease_to_end(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake(), input=b'{"n":1}', caller="shop")
    view = await run_store.runs.show(uid)
    assert view is not None
    assert (view.status, view.state, view.started_at_ms) == ("pending", "queue", None)

    (claim,) = (await run_store.leases.take(WORKER, 10)).claims
    assert (claim.uid, claim.token, claim.seq, claim.attempt, claim.deaths) == (uid, 1, 0, 1, 0)
    assert (claim.input, claim.caller, claim.workflow, claim.program) == (
        b'{"n":1}',
        "shop",
        "shop/orders:1",
        PROGRAM,
    )
    view = await run_store.runs.show(uid)
    assert view is not None
    assert (view.status, view.state, view.worker) == ("running", "lease", WORKER)

    (verdict,) = await run_store.leases.commit([commit(claim, output=b'{"ok":true}')])
    assert verdict.applied
    view = await run_store.runs.show(uid)
    assert view is not None
    assert (view.status, view.state, view.output, view.input) == (
        "completed",
        "end",
        b'{"ok":true}',
        b'{"n":1}',
    )
    assert view.created_at_ms <= (view.started_at_ms or 0) <= (view.ended_at_ms or 0)


async def test_progress_survives_between_leases(run_store: RunStore) -> None:
    """Head, frames and values are read as committed, and only changes are written."""
    await publish(run_store)
    await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    sha = hashlib.sha256(b"v" * 70_000).hexdigest()[:32]
    named = b'{"$values":{"output":"%b"}}' % sha.encode()
    kept = {"1": digest(b"\x00\xff"), "3": digest(b"three"), "4": digest(named)}
    first = commit(
        claim,
        "keep",
        head=b"h1",
        frames={"1": b"\x00\xff", "2": b"two", "4": named},
        values={sha: b"v" * 70_000},
    )
    await run_store.leases.commit([first])
    second = commit(
        claim,
        "queue",
        seq=2,
        head=b"h2",
        frames={"3": b"three"},
        frames_gone=["2"],
        digests=kept,
        deadline_ms=99,
    )
    await run_store.leases.commit([second])
    (again,) = (await run_store.leases.take("worker-2", 1)).claims
    assert (again.token, again.seq, again.head, again.deadline_ms) == (2, 2, b"h2", 99)
    assert again.frames == {"1": b"\x00\xff", "3": b"three", "4": named}
    assert again.values == {sha: b"v" * 70_000}


async def test_a_due_parked_run_is_queued_behind_other_runs(run_store: RunStore) -> None:
    await publish(run_store)
    intake = run_store.intake()
    uid, later = [await accepted(intake) for _ in range(2)]
    claims = {claim.uid: claim for claim in (await run_store.leases.take(WORKER, 2)).claims}
    fresh = await accepted(intake)
    waiting = b'{"kind":"timer","task":"/do/0/nap","until":1}'
    now = await now_ms(run_store)
    due, much_later = now + 60, now + 600_000
    await run_store.leases.commit([commit(claims[uid], "park", due_ms=due, waiting_for=waiting)])
    await run_store.leases.commit([commit(claims[later], "park", due_ms=much_later, waiting_for=waiting)])
    view = await run_store.runs.show(later)
    assert view is not None
    assert (view.status, view.state, view.waiting_for) == ("waiting", "timer", waiting)

    async def woken() -> bool:
        assert (await run_store.leases.take(WORKER, 0)).claims == ()
        return await state_of(run_store, uid) == "queue"

    await until(woken)
    assert await now_ms(run_store) >= due
    assert [c.uid for c in (await run_store.leases.take(WORKER, 9)).claims] == [fresh, uid]
    assert await state_of(run_store, later) == "timer"


async def test_woken_runs_continue_in_the_order_of_their_wake_up(run_store: RunStore) -> None:
    await publish(run_store)
    intake = run_store.intake()
    uids = [await accepted(intake) for _ in range(4)]
    claims = {claim.uid: claim for claim in (await run_store.leases.take(WORKER, 4)).claims}
    fresh = await accepted(intake)
    for uid in uids[:3]:  # due already: each wakes with its commit
        await run_store.leases.commit([commit(claims[uid], "park", due_ms=1)])
    (first,) = (await run_store.leases.take(WORKER, 1)).claims
    await run_store.leases.commit([commit(claims[uids[3]], "park", due_ms=1)])
    rest = (await run_store.leases.take(WORKER, 9)).claims
    assert [first.uid, *(claim.uid for claim in rest)] == [fresh, *uids]


async def test_a_timer_that_is_due_already_is_queued_by_the_same_commit(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    (verdict,) = await run_store.leases.commit([commit(claim, "park", due_ms=1)])
    assert (verdict.applied, verdict.woken) == (True, True)
    assert await state_of(run_store, uid) == "queue"


async def test_a_burst_of_due_timers_is_leased_over_several_takes(each_store: Store) -> None:
    """Each take wakes some of the due runs and leases some, until none is left."""
    await publish(each_store)
    intake = each_store.intake()
    count = 600
    await asyncio.gather(*(accepted(intake) for _ in range(count)))
    while claims := (await each_store.leases.take(WORKER, 64)).claims:
        due = claims[0].created_at_ms + 600_000
        await each_store.leases.commit([commit(claim, "park", due_ms=due) for claim in claims])
    for uid in await each_store.call("ZRANGE", keys.TIMERS, 0, -1):
        await each_store.call("ZADD", keys.TIMERS, 1, uid)
    taken = 0
    while claims := (await each_store.leases.take(WORKER, 50)).claims:
        await each_store.leases.commit([commit(claim) for claim in claims])
        taken += len(claims)
    assert taken == count
    assert await each_store.call("ZCARD", keys.TIMERS) == 0


async def test_many_woken_runs_leave_room_for_other_apis(each_store: Store) -> None:
    """At most QUEUED_IN_RQ runs of an API that wakes at once are ahead of another API's call."""
    other = api("orders/other")
    await publish(each_store, api(), other)
    intake = each_store.intake()
    count = 300
    herd = set(await asyncio.gather(*(accepted(intake) for _ in range(count))))
    while claims := (await each_store.leases.take(WORKER, 64)).claims:
        due = claims[0].created_at_ms + 600_000
        await each_store.leases.commit([commit(claim, "park", due_ms=due) for claim in claims])
    for uid in await each_store.call("ZRANGE", keys.TIMERS, 0, -1):
        await each_store.call("ZADD", keys.TIMERS, 1, uid)
    await each_store.leases.take(WORKER, 10)
    waited = []
    for _ in range(3):
        called, ahead = await accepted(intake, other), 0
        while called not in (uids := [c.uid for c in (await each_store.leases.take(WORKER, 10)).claims]):
            assert set(uids) <= herd
            ahead += len(uids)
        waited.append(ahead + uids.index(called))
    assert max(waited) <= keys.QUEUED_IN_RQ


async def test_woken_runs_of_an_api_precede_its_new_ones_in_order(
    each_store: Store,
) -> None:
    limited = api(limits=Limits(running=2))
    await publish(each_store, limited)
    intake = each_store.intake()
    first, second = [await accepted(intake, limited) for _ in range(2)]
    claims = {claim.uid: claim for claim in (await each_store.leases.take(WORKER, 2)).claims}
    fresh = [await accepted(intake, limited) for _ in range(2)]
    await each_store.leases.commit([commit(claims[first], "park", due_ms=1)])
    await each_store.leases.commit([commit(claims[second], "park", due_ms=1)])
    taken = []
    while claims_now := (await each_store.leases.take(WORKER, 1)).claims:
        taken.append(claims_now[0].uid)
        await each_store.leases.commit([commit(claims_now[0])])
    assert taken == [first, second, *fresh]


async def test_released_runs_are_queued_as_before_the_take(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    await run_store.leases.release(WORKER, {uid: claim.token})
    view = await run_store.runs.show(uid)
    assert view is not None
    assert (view.status, view.state, view.started_at_ms, view.deaths) == ("pending", "queue", None, 0)
    assert (await run_store.runs.counts())["pending"] == 1


async def test_an_api_has_at_most_64_queued_runs_and_delays_no_other(each_store: Store) -> None:
    slow, quick = api("slow/one", limits=Limits(running=2)), api("quick/one")
    await publish(each_store, slow, quick)
    intake = each_store.intake()
    await asyncio.gather(*(accepted(intake, slow) for _ in range(100)))
    own = await accepted(intake, quick)
    taken = await each_store.leases.take(WORKER, 100)
    assert [c.api for c in taken.claims] == ["slow/one"] * 2 + ["quick/one"]
    assert taken.claims[-1].uid == own
    states = await each_store.gates.states()
    assert (states["slow/one"].queued, states["slow/one"].running) == (98, 2)

    many = api("many/one")
    await publish(each_store, slow, quick, many)
    await asyncio.gather(*(accepted(intake, many) for _ in range(70)))
    assert await each_store.call("LLEN", keys.RQ_QUEUE) == 64
    assert (await each_store.runs.queue()).depth == 70 + 98


async def test_the_running_limit_holds_and_ended_runs_admit_the_next_in_order(each_store: Store) -> None:
    one = api(limits=Limits(running=1))
    await publish(each_store, one)
    intake = each_store.intake()
    uids = [await accepted(intake, one) for _ in range(4)]
    seen = []
    for _ in uids:
        (claim,) = (await each_store.leases.take(WORKER, 10)).claims
        assert (await each_store.leases.take("worker-2", 10)).claims == ()
        seen.append(claim.uid)
        await each_store.leases.commit([commit(claim)])
    assert seen == uids


async def test_a_lowered_limit_applies_to_queued_runs(each_store: Store) -> None:
    wide, narrow = api(), api(limits=Limits(running=1))
    await publish(each_store, wide)
    intake = each_store.intake()
    for _ in range(3):
        await accepted(intake, wide)
    await publish(each_store, narrow)
    assert len((await each_store.leases.take(WORKER, 10)).claims) == 1
    state = (await each_store.gates.states())[narrow.id]
    assert (state.queued, state.running) == (2, 1)
    await publish(each_store, wide)
    assert len((await each_store.leases.take(WORKER, 10)).claims) == 2


async def test_cancel_ends_unstarted_runs_and_notifies_the_worker_of_others(run_store: RunStore) -> None:
    await publish(run_store)
    intake = run_store.intake()
    running, parked, queued = [await accepted(intake) for _ in range(3)]
    first, second = (await run_store.leases.take(WORKER, 2)).claims
    await run_store.leases.commit([commit(second, "park", due_ms=await now_ms(run_store) + 60_000)])

    assert await run_store.runs.cancel(queued, "why not") == "cancelled"
    assert await run_store.runs.cancel(parked, "late") == "asked"
    assert await run_store.runs.cancel(running, "stop") == "asked"
    assert await run_store.runs.cancel(queued) == "ended"
    assert await run_store.runs.cancel("1") == "unknown"

    view = await run_store.runs.show(queued)
    assert view is not None
    assert (view.status, view.cancel_reason, view.started_at_ms) == ("cancelled", "why not", None)
    renewed = await run_store.leases.renew(WORKER, {running: first.token})
    assert (renewed.cancelled, renewed.lost) == (frozenset({running}), frozenset())
    (verdict,) = await run_store.leases.commit(
        [commit(first, "park", due_ms=await now_ms(run_store) + 60_000)]
    )
    assert (verdict.applied, verdict.cancelled, verdict.woken) == (True, True, True)
    claims = (await run_store.leases.take(WORKER, 5)).claims
    assert {(c.uid, c.cancelled, c.reason) for c in claims} == {
        (running, True, "stop"),
        (parked, True, "late"),
    }


async def test_tasks_have_one_row_per_reference_in_the_order_of_their_start(run_store: RunStore) -> None:
    def row(reference: str, status: str, at: int, count: int = 1) -> TaskRow:
        return TaskRow(
            reference=reference,
            name=reference[-1],
            status=status,
            started_at_ms=at,
            ended_at_ms=at + 1,
            count=count,
        )

    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    rows = [row("/do/1/b", "completed", 5), row("/do/0/a", "completed", 6)]
    await run_store.leases.commit([commit(claim, "keep", tasks=rows, journal=[b'{"n":1}'])])
    more = [row("/do/1/b", "faulted", 7, count=3), row("/do/2/c", "completed", 8)]
    await run_store.leases.commit([commit(claim, seq=2, tasks=more, journal=[b'{"n":2}'])])
    view = await run_store.runs.show(uid)
    assert view is not None
    shown = [(t.reference, t.status, t.started_at_ms, t.ended_at_ms, t.count) for t in view.tasks]
    assert shown == [
        ("/do/1/b", "faulted", 5, 8, 4),
        ("/do/0/a", "completed", 6, 7, 1),
        ("/do/2/c", "completed", 8, 9, 1),
    ]
    assert await run_store.runs.journal(uid) == [b'{"n":1}', b'{"n":2}']


async def test_a_loop_of_many_references_keeps_at_most_a_thousand_rows(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    for seq in range(1, 4):
        rows = [
            TaskRow(reference=f"/do/{seq}/{n}", name="x", status="completed", started_at_ms=n)
            for n in range(500)
        ]
        lines = [b'{"n":%d}' % n for n in range(500)]
        await run_store.leases.commit([commit(claim, "keep", seq=seq, tasks=rows, journal=lines)])
    await run_store.leases.commit([commit(claim, seq=4)])
    view = await run_store.runs.show(uid)
    assert view is not None
    assert len(view.tasks) == keys.TASK_ROWS
    assert len(await run_store.runs.journal(uid)) == keys.JOURNAL_ENTRIES


async def test_a_run_of_one_commit_keeps_at_most_a_thousand_rows(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    rows = [
        TaskRow(reference=f"/do/{n}", name="x", status="completed", started_at_ms=n) for n in range(10_000)
    ]
    await run_store.leases.commit([commit(claim, tasks=rows)])
    view = await run_store.runs.show(uid)
    assert view is not None
    assert [task.reference for task in view.tasks] == [row.reference for row in rows[: keys.TASK_ROWS]]


async def test_large_parts_of_an_ended_run_are_read_completely(run_store: RunStore) -> None:
    await publish(run_store)
    big = b'"' + b"x" * 100_000 + b'"'
    uid = await accepted(run_store.intake(), input=big)
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    await run_store.leases.commit([commit(claim, output=big, journal=[b'{"n":1}'])])
    view = await run_store.runs.show(uid)
    assert view is not None
    assert (view.input, view.output) == (big, big)
    assert await run_store.runs.journal(uid) == [b'{"n":1}']


async def test_the_doorbell_rings_for_a_run_in_an_empty_queue(store: Store) -> None:
    await publish(store)
    bell, wired = store.leases.doorbell(WORKER)
    async with wired:
        await store.leases.take(WORKER, 1)
        await accepted(store.intake())
        assert await bell.wait(20)


async def test_a_run_wakes_one_worker_and_a_partial_take_wakes_the_next(each_store: Store) -> None:
    """Workers that do not listen, or have no capacity, are skipped."""
    await publish(each_store)
    intake, leases = each_store.intake(), each_store.leases
    rung: list[str] = []
    async with AsyncExitStack() as stack:
        for name in ("a", "b", "c"):
            ring = partial(lambda name, _: rung.append(name), name)
            channel = keys.WAKE_CHANNEL + name
            await stack.enter_async_context(each_store._pubsub.listening(channel, ring))
        for name in ("a", "b", "c", "dead-1", "dead-2"):
            await leases.take(name, 2)

        async def woken(count: int) -> list[str]:
            async def so_many() -> bool:
                return len(rung) >= count

            await until(so_many)
            assert len(rung) == count
            return rung

        for _ in range(5):
            await accepted(intake)
        first = (await woken(1))[0]
        assert len((await leases.take(first, 2)).claims) == 2
        second = (await woken(2))[1]
        assert len((await leases.take(second, 2)).claims) == 2
        third = (await woken(3))[2]
        assert len((await leases.take(third, 2)).claims) == 1
        assert {first, second, third} == {"a", "b", "c"}
        left = {name.decode() for name in await each_store.call("SMEMBERS", keys.IDLE)}
        assert left <= {third, "dead-1", "dead-2"}
        await accepted(intake)
        assert (await woken(4))[3] == third
        await leases.recover("dead-1")
        assert await each_store.call("SMEMBERS", keys.IDLE) in ([], [b"dead-2"])


async def test_two_workers_never_get_the_same_run(store: Store) -> None:
    await publish(store)
    intake = store.intake()
    uids = set(await asyncio.gather(*(accepted(intake) for _ in range(60))))
    takers = [Leases(store._connection, store._pubsub, RING, store.refusals) for _ in range(4)]
    taken: list[str] = []
    while len(taken) < len(uids):
        found = await asyncio.gather(*(taker.take(f"w{n}", 7) for n, taker in enumerate(takers)))
        taken += [c.uid for answer in found for c in answer.claims]
    assert sorted(taken) == sorted(uids)


async def test_concurrent_takes_of_one_worker_share_no_run(run_store: RunStore) -> None:
    await publish(run_store)
    intake = run_store.intake()
    uids = await asyncio.gather(*(accepted(intake) for _ in range(20)))
    found = await asyncio.gather(*(run_store.leases.take(WORKER, 5) for _ in range(4)))
    assert sorted(c.uid for taken in found for c in taken.claims) == sorted(uids)


async def test_a_take_of_large_runs_stops_at_its_byte_limit(each_store: Store) -> None:
    """Fifty states of megabytes in one reply would take longer than its timeout."""
    await publish(each_store)
    intake = each_store.intake()
    half = b'"' + random.Random(1).randbytes(keys.TAKE_BYTES // 2) + b'"'  # no smaller if compressed
    uids = [await accepted(intake, input=half) for _ in range(3)]
    sizes = dict.fromkeys(uids, len(half))

    async def take() -> Sequence[Claim]:
        claims = (await each_store.leases.take(WORKER, 50)).claims
        # The processor time of a take may end it before its bytes do.
        assert sum(sizes[claim.uid] for claim in claims[:-1]) < keys.TAKE_BYTES
        return claims

    first = await take()
    assert [claim.uid for claim in first] == uids[: len(first)] != []
    await each_store.leases.commit([commit(claim, "queue", values={"v": half}) for claim in first])
    sizes |= {claim.uid: 2 * len(half) for claim in first}  # a state counts like an input

    rest = [await take() for _ in range(4)]
    assert {claim.uid for claims in rest for claim in claims} == set(uids)
