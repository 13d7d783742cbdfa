"""Recorded results of tasks: kept in order, within their limit, as long as the run."""

from __future__ import annotations

import time

from iogate.store import keys
from iogate.store.store import Store
from tests.store.builders import RunStore, accepted, commit, publish

ENTRIES = [b'{"kind":"effect","n":%d}' % n for n in range(4)]


async def test_results_of_several_commits_are_kept_in_order_beyond_the_end(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take("w", 1)).claims
    first = commit(claim, "keep", recorded=ENTRIES[:2])
    second = commit(claim, seq=claim.seq + 2, recorded=ENTRIES[2:])
    await run_store.leases.commit([first])
    # A repeated commit adds nothing.
    await run_store.leases.commit([first])
    assert await run_store.runs.recorded(uid) == ENTRIES[:2]
    (result,) = await run_store.leases.commit([second])
    assert result.applied
    assert await run_store.runs.recorded(uid) == ENTRIES


async def test_results_beyond_the_limit_of_a_run_are_replaced_by_one_mark(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take("w", 1)).claims
    large = b"x" * (keys.RECORDED_BYTES // 2)
    for number in range(4):
        await run_store.leases.commit([commit(claim, "keep", seq=claim.seq + 1 + number, recorded=[large])])
    mark = keys.RECORDED_FULL.encode()
    assert await run_store.runs.recorded(uid) == [large, large, mark]


async def test_results_expire_with_the_run(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), retention_s=300.0)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, "keep", recorded=ENTRIES)])
    assert await each_store.call("PTTL", keys.RECORDED + uid) == -1
    await each_store.leases.commit([commit(claim, seq=claim.seq + 2)])
    assert 290_000 < await each_store.call("PTTL", keys.RECORDED + uid) <= 300_000


async def test_results_of_the_only_commit_expire_too(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), retention_s=300.0)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, recorded=ENTRIES)])
    assert 290_000 < await each_store.call("PTTL", keys.RECORDED + uid) <= 300_000


async def test_results_are_kept_while_a_run_is_parked(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), retention_s=300.0)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, "park", due_ms=1, recorded=ENTRIES)])
    (again,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(again)])
    assert await each_store.runs.recorded(uid) == ENTRIES
    assert await each_store.call("PTTL", keys.RECORDED + uid) > 0


async def test_prune_deletes_results(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, recorded=ENTRIES)])
    assert await each_store.runs.prune([uid], int(time.time() * 1000) + 60_000) == 1
    assert await each_store.runs.recorded(uid) == []


async def test_another_attempt_begins_without_results(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, status="faulted", error=b"{}", recorded=ENTRIES)])
    assert await each_store.runs.recorded(uid) == ENTRIES
    assert await each_store.runs.retry(uid) == "retried"
    assert await each_store.runs.recorded(uid) == []
