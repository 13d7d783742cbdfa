"""Fencing: a commit is applied only under its lease, and only once."""

from __future__ import annotations

import pytest

from iogate.store import keys
from iogate.store.store import Store
from tests.store.builders import RunStore, accepted, commit, publish, scripted, state_of, until

WORKER = "worker-1"


async def test_a_repeated_commit_returns_applied_and_changes_nothing(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    keep = commit(claim, "keep", journal=[b'{"n":1}'])
    end = commit(claim, seq=2, journal=[b'{"n":2}'], output=b"1")
    for each in (keep, keep, end, end):
        (verdict,) = await run_store.leases.commit([each])
        assert verdict.applied
    assert await run_store.runs.journal(uid) == [b'{"n":1}', b'{"n":2}']
    assert (await run_store.runs.counts())["completed"] == 1


@pytest.mark.parametrize(("seq", "token"), [(3, 1), (0, 2), (1, 2), (1, 0)])
async def test_a_gap_or_a_foreign_token_is_void(run_store: RunStore, seq: int, token: int) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1)).claims
    (verdict,) = await run_store.leases.commit([commit(claim, seq=seq, token=token)])
    assert not verdict.applied
    assert await state_of(run_store, uid) == "lease"


async def test_a_lost_lease_is_not_committed(run_store: RunStore) -> None:
    """R4: a worker that was suspended beyond its lease resumes and commits; the new lease can commit."""
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (old,) = (await run_store.leases.take(WORKER, 1, lease_ms=1)).claims

    async def queued() -> bool:
        await run_store.leases.take("worker-2", 0)
        return await state_of(run_store, uid) == "queue"

    await until(queued, 60.0)  # the lease is longer after a silence of five seconds
    (new,) = (await run_store.leases.take("worker-2", 1)).claims
    assert (new.uid, new.token) == (uid, old.token + 1)
    (stale,) = await run_store.leases.commit([commit(old, output=b'"old"')])
    assert not stale.applied
    assert (await run_store.leases.renew(WORKER, {uid: old.token})).lost == {uid}
    (fresh,) = await run_store.leases.commit([commit(new, output=b'"new"')])
    assert fresh.applied
    view = await run_store.runs.show(uid)
    assert view is not None
    assert view.output == b'"new"'


async def test_a_renewed_lease_does_not_expire(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take(WORKER, 1, lease_ms=200)).claims
    renewed = await run_store.leases.renew(WORKER, {uid: claim.token}, lease_ms=60_000)
    assert renewed.lost == frozenset()
    start = (await run_store.leases.take("worker-2", 0)).now_ms

    async def past() -> bool:
        return (await run_store.leases.take("worker-2", 0)).now_ms > start + 250

    await until(past)
    assert await state_of(run_store, uid) == "lease"


async def test_one_bad_commit_does_not_spoil_its_batch(run_store: RunStore) -> None:
    await publish(run_store)
    intake = run_store.intake()
    for _ in range(3):
        await accepted(intake)
    a, b, c = (await run_store.leases.take(WORKER, 3)).claims
    verdicts = await run_store.leases.commit([commit(a), commit(b, token=9), commit(c)])
    assert [v.applied for v in verdicts] == [True, False, True]


async def test_leases_are_extended_after_an_outage_of_the_store(
    each_store: Store,
) -> None:
    """R6: a restart of the store takes no lease from a live worker."""
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take(WORKER, 1)).claims
    await each_store.call("ZADD", keys.LEASES, claim.created_at_ms - 20_000, uid)
    await each_store.call("SET", keys.UPKEEP, claim.created_at_ms - 35_000)
    with scripted(silence_ms=30_000):
        await each_store.leases.take("worker-2", 1)
        assert await state_of(each_store, uid) == "lease"
        assert (await each_store.leases.renew(WORKER, {uid: claim.token})).lost == frozenset()
        await each_store.call("ZADD", keys.LEASES, claim.created_at_ms - 20_000, uid)
        await each_store.leases.take("worker-2", 0)
    assert await state_of(each_store, uid) == "queue"


async def test_a_worker_renews_as_many_leases_as_it_may_hold(each_store: Store) -> None:
    uids = [str(number) for number in range(1, 4_201)]
    for uid in uids:
        await each_store.call("HSET", keys.RUN + uid, "pl", "lease", "tok", 1)
        await each_store.call("ZADD", keys.LEASES, 1, uid)
    held = dict.fromkeys(uids, 1) | {uids[0]: 2, uids[-1]: 2}
    assert (await each_store.leases.renew(WORKER, held)).lost == {uids[0], uids[-1]}
    ends = await each_store.call("ZRANGEBYSCORE", keys.LEASES, 2, "+inf")
    assert {uid.decode() for uid in ends} == set(uids[1:-1])
