"""A dead worker's runs are taken alone; the one that keeps killing is faulted, its neighbours are not."""

from __future__ import annotations

import json

from iogate.store import keys
from iogate.store.connection import Store
from iogate.store.leases import POISONED
from tests.store.builders import accepted, commit, place, publish


async def test_the_third_solitary_death_faults_the_run_and_spares_its_neighbours(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake) for _ in range(3)]
    await each_store.leases.take("worker-1", 10)
    assert await each_store.leases.bury("worker-1") == 3
    assert await each_store.leases.suspects() == 3
    killer = uids[0]

    deaths = []
    while await each_store.leases.suspects():
        (claim,) = (await each_store.leases.take("alone", 10, solitary=True)).claims
        if claim.uid == killer:
            deaths.append(claim.deaths)
            assert await each_store.leases.bury("alone") == 1
        else:
            assert (claim.attempt, claim.deaths) == (1, 0)
            await each_store.leases.commit([commit(claim)])
    assert deaths == [0, 1, 2]

    view = await each_store.runs.show(killer)
    assert view is not None
    assert (view.status, view.error, view.deaths) == ("faulted", POISONED, 3)
    error = json.loads(POISONED)
    assert (error["type"].rsplit("/", 1)[1], error["title"], error["status"]) == ("runtime", "poisoned", 500)
    assert error["detail"] == (
        "the worker that ran this run alone died 3 times: most likely an expression that does not end, or "
        "takes more memory than a worker may have. Bound it, or move the work to a script, which has limits "
        "of its own"
    )
    assert "instance" not in error
    for uid in uids[1:]:
        view = await each_store.runs.show(uid)
        assert view is not None
        assert (view.status, view.attempt) == ("completed", 1)
    assert await each_store.call("ZSCORE", keys.RQ_FAILED, killer) is not None


async def test_what_is_known_of_a_run_is_its_error_and_no_others(each_store: Store) -> None:
    await publish(each_store)
    known, other = [await accepted(each_store.intake()) for _ in range(2)]
    await each_store.leases.take("w", 10)
    await each_store.leases.bury("w")
    for _ in range(keys.DEATHS):
        for _ in range(2):
            await each_store.leases.take("alone", 1, solitary=True)
        assert await each_store.leases.bury("alone", uid=known, error=b'{"title":"known"}') == 2
    views = [await each_store.runs.show(uid) for uid in (known, other)]
    assert [view and view.error for view in views] == [b'{"title":"known"}', POISONED]


async def test_a_death_among_others_counts_for_no_one(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.leases.take("worker-1", 10)
    await each_store.leases.bury("worker-1")
    view = await each_store.runs.show(uid)
    assert view is not None
    assert (view.place, view.deaths, view.status) == ("suspect", 0, "running")


async def test_a_solitary_take_gets_exactly_one_suspect_and_a_normal_take_none(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    for _ in range(3):
        await accepted(intake)
    await each_store.leases.take("worker-1", 10)
    await each_store.leases.bury("worker-1")
    taken = await each_store.leases.take("worker-2", 10)
    assert (taken.claims, taken.suspects) == ((), 3)
    taken = await each_store.leases.take("alone", 10, solitary=True)
    assert (len(taken.claims), taken.suspects) == (1, 2)


async def test_burying_touches_no_other_workers_runs_and_forgets_the_worker_in_rq(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    mine, other = await accepted(intake), await accepted(intake)
    await each_store.call("SADD", keys.RQ_WORKERS, f"{keys.RQ_WORKER}worker-1")
    await each_store.call("HSET", f"{keys.RQ_WORKER}worker-1", "birth", "")
    assert [c.uid for c in (await each_store.leases.take("worker-1", 1)).claims] == [mine]
    assert [c.uid for c in (await each_store.leases.take("worker-2", 1)).claims] == [other]
    assert await each_store.leases.bury("worker-1") == 1
    assert await each_store.leases.bury("worker-1") == 0
    assert (await place(each_store, mine), await place(each_store, other)) == ("suspect", "lease")
    assert await each_store.call("EXISTS", f"{keys.RQ_WORKER}worker-1") == 0
    assert await each_store.call("SMEMBERS", keys.RQ_WORKERS) == []


async def test_a_solitary_worker_that_stops_leaves_its_suspect_a_suspect(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.leases.take("worker-1", 1)
    await each_store.leases.bury("worker-1")
    (claim,) = (await each_store.leases.take("alone", 1, solitary=True)).claims
    await each_store.leases.hand_back("alone", {uid: claim.token})
    assert await place(each_store, uid) == "suspect"
    (claim,) = (await each_store.leases.take("alone", 1, solitary=True)).claims
    assert claim.deaths == 0
