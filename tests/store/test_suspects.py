"""Suspects: runs of dead workers run alone; only a run that repeatedly kills its worker is faulted."""

from __future__ import annotations

import json

import pytest

from iogate.store import keys
from iogate.store.runs.leases import POISONED
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish, recovered_twice, scripted, state_of, until


async def test_the_third_solitary_death_faults_the_run_and_spares_its_neighbours(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake) for _ in range(3)]
    await each_store.leases.take("worker-1", 10)
    assert await recovered_twice(each_store, "worker-1") == 3
    assert await each_store.leases.suspects() == 3
    killer = uids[0]

    deaths = []
    while await each_store.leases.suspects():
        (claim,) = (await each_store.leases.take("alone", 10, solitary=True)).claims
        if claim.uid == killer:
            deaths.append(claim.deaths)
            assert await each_store.leases.recover("alone") == 1
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


async def test_a_specific_error_is_used_for_its_run_only(each_store: Store) -> None:
    await publish(each_store)
    known, other = [await accepted(each_store.intake()) for _ in range(2)]
    await each_store.leases.take("w", 10)
    await recovered_twice(each_store, "w")
    for _ in range(keys.DEATHS):
        for _ in range(2):
            await each_store.leases.take("alone", 1, solitary=True)
        assert await each_store.leases.recover("alone", uid=known, error=b'{"title":"known"}') == 2
    views = [await each_store.runs.show(uid) for uid in (known, other)]
    assert [view and view.error for view in views] == [b'{"title":"known"}', POISONED]


async def test_a_death_with_several_runs_counts_for_none(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.leases.take("worker-1", 10)
    await recovered_twice(each_store, "worker-1")
    view = await each_store.runs.show(uid)
    assert view is not None
    assert (view.state, view.deaths, view.status) == ("suspect", 0, "running")


async def test_a_second_loss_at_the_same_step_makes_a_suspect(
    each_store: Store,
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    places = []
    for first in (1, 3, 5):
        (claim,) = (await each_store.leases.take("w", 1)).claims
        for seq in (first, first + 1):
            # It gets further: an earlier loss speaks against it no more.
            await each_store.leases.commit([commit(claim, "keep", seq=seq, head=b"h")])
        assert await each_store.leases.recover("w") == 1
        places.append(await state_of(each_store, uid))
    await each_store.leases.take("w", 1)
    assert await each_store.leases.recover("w") == 1
    assert [*places, await state_of(each_store, uid)] == ["queue", "queue", "queue", "suspect"]


@pytest.mark.parametrize("how", ["abandoned", "expired"])
async def test_unobserved_losses_poison_no_run(each_store: Store, how: str) -> None:
    """Four power cuts during one call leave the run in the queue; none counts as a death, even alone."""
    await publish(each_store)
    uid = await accepted(each_store.intake())

    async def lost(*, solitary: bool) -> str:
        assert len((await each_store.leases.take("w", 1, solitary=solitary, lease_ms=1)).claims) == 1
        if how == "abandoned":
            assert await each_store.leases.recover("w", seen=False) == 1

        async def ended() -> bool:
            await each_store.leases.take("other", 0)
            return await state_of(each_store, uid) != "lease"

        await until(ended, 60.0)  # a lease is longer after a silence of five seconds
        return await state_of(each_store, uid)

    assert [await lost(solitary=False) for _ in range(4)] == ["queue"] * 4
    assert await lost(solitary=False) == "suspect"
    assert [await lost(solitary=True) for _ in range(4)] == ["suspect"] * 4
    (claim,) = (await each_store.leases.take("w", 1, solitary=True)).claims
    assert claim.deaths == 0
    (verdict,) = await each_store.leases.commit([commit(claim)])
    assert verdict.applied


async def test_a_second_loss_after_resuming_the_same_effect_makes_a_suspect(each_store: Store) -> None:
    """A worker that resumes a call commits this before it repeats the call."""
    await publish(each_store)
    uid = await accepted(each_store.intake())
    for seq, expected in ((1, "queue"), (2, "suspect")):
        (claim,) = (await each_store.leases.take("w", 1)).claims
        await each_store.leases.commit([commit(claim, "keep", seq=seq, head=b"h")])
        await each_store.leases.recover("w")
        assert await state_of(each_store, uid) == expected


async def test_a_claim_names_the_last_worker_until_the_next_commit(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    left = []
    for worker, commits in (("w1", 1), ("w2", 0), ("w3", 1), ("w4", 0), ("w5", 0)):
        (claim,) = (await each_store.leases.take(worker, 1)).claims
        left.append(claim.left)
        assert (claim.inbox, claim.depth) == ((), 0)
        if commits:
            await each_store.leases.commit([commit(claim, "keep", head=b"h")])
        if worker in ("w1", "w2"):
            await each_store.leases.recover(worker, seen=False)
        elif worker == "w3":
            await each_store.leases.release(worker, {uid: claim.token})
        elif worker == "w4":
            await each_store.leases.commit([commit(claim, "queue")])
    assert left == ["", "w1", "w2", "w3", ""]


async def test_a_run_that_progresses_between_deaths_becomes_a_suspect(
    each_store: Store,
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    for loss in range(1, keys.SEEN_LOSSES + 1):
        assert await state_of(each_store, uid) == "queue"
        (claim,) = (await each_store.leases.take("w", 1)).claims
        for seq in (2 * loss - 1, 2 * loss):
            await each_store.leases.commit([commit(claim, "keep", seq=seq, head=b"h")])
        await each_store.leases.recover("w")
    assert await state_of(each_store, uid) == "suspect"


async def test_an_observed_loss_after_an_unobserved_one_makes_a_suspect(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    for seen, expected in ((False, "queue"), (True, "suspect")):
        await each_store.leases.take("w", 1)
        await each_store.leases.recover("w", seen=seen)
        assert await state_of(each_store, uid) == expected


async def test_a_solitary_take_gets_exactly_one_suspect_and_a_normal_take_none(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    for _ in range(3):
        await accepted(intake)
    await each_store.leases.take("worker-1", 10)
    await recovered_twice(each_store, "worker-1")
    taken = await each_store.leases.take("worker-2", 10)
    assert (taken.claims, taken.suspects) == ((), 3)
    taken = await each_store.leases.take("alone", 10, solitary=True)
    assert (len(taken.claims), taken.suspects) == (1, 2)


async def test_recovery_releases_the_roles_of_the_worker(each_store: Store) -> None:
    """Another worker gets the matcher and the outboxes at once, also if their keys were overwritten."""
    await publish(each_store)
    await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, outbox={"audit": [b"1"]})])

    async def matcher(asking: str) -> bytes:
        await each_store.events.take(asking)
        owner: bytes = await each_store.call("HGET", keys.MATCHER, "owner")
        return owner

    with scripted(matcher_ms=60_000):
        assert (await matcher("w"), await each_store.outbox.take("audit", "w")) == (b"w", [b"1"])
    await each_store.leases.recover("x")
    assert (await matcher("y"), await each_store.outbox.take("audit", "y")) == (b"w", [])
    await each_store.leases.recover("w")
    assert (await matcher("y"), await each_store.outbox.take("audit", "y")) == (b"y", [b"1"])
    assert not await each_store.events.deliver("w", 1, [])
    assert not await each_store.outbox.done("audit", "w", 1)
    for key in (keys.MATCHER, keys.SINKS, keys.SINK + "audit"):
        await each_store.call("SET", key, "rubbish")
    assert await each_store.leases.recover("y") == 0


async def test_recovery_changes_no_other_runs_and_removes_the_worker_from_rq(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    own, other = await accepted(intake), await accepted(intake)
    await each_store.call("SADD", keys.RQ_WORKERS, f"{keys.RQ_WORKER}worker-1")
    await each_store.call("HSET", f"{keys.RQ_WORKER}worker-1", "birth", "")
    assert [c.uid for c in (await each_store.leases.take("worker-1", 1)).claims] == [own]
    assert [c.uid for c in (await each_store.leases.take("worker-2", 1)).claims] == [other]
    assert await each_store.leases.recover("worker-1") == 1
    assert await each_store.leases.recover("worker-1") == 0
    assert (await state_of(each_store, own), await state_of(each_store, other)) == ("queue", "lease")
    assert await each_store.call("EXISTS", f"{keys.RQ_WORKER}worker-1") == 0
    assert await each_store.call("SMEMBERS", keys.RQ_WORKERS) == []


async def test_recovery_ends_a_bounded_number_of_leases_in_each_call(each_store: Store) -> None:
    """With no time at all, each call ends one lease, or skips those of others, and stops."""
    await publish(each_store)
    intake = each_store.intake()
    for name in ("other", "dead", "other", "dead", "dead", "other"):
        await accepted(intake)
        await each_store.leases.take(name, 1)
    ends = {bytes(end) for end in (await each_store.call("ZRANGE", keys.LEASES, 0, -1, "WITHSCORES"))[1::2]}
    arguments = ("dead", b"", b"", b"", "", b"", b"", b"", 1)
    with scripted(recover_ms=-1):
        # The caller dies after the first call, and the next one begins from the start.
        count, position = await each_store._connection.run("recover", *arguments, "-inf")
        assert count <= 1
        assert position in ends
        assert await each_store.leases.held_by(["dead"]) == 3 - count
        assert await each_store.leases.recover("dead") == 3 - count
        assert await each_store.leases.recover("dead") == 0
    assert await each_store.leases.held_by(["other"]) == 3
    assert await each_store.call("LLEN", keys.RQ_QUEUE) == 3


async def test_a_suspect_remains_one_if_its_solitary_worker_stops(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.leases.take("worker-1", 1)
    await recovered_twice(each_store, "worker-1")
    (claim,) = (await each_store.leases.take("alone", 1, solitary=True)).claims
    await each_store.leases.release("alone", {uid: claim.token})
    assert await state_of(each_store, uid) == "suspect"
    (claim,) = (await each_store.leases.take("alone", 1, solitary=True)).claims
    assert claim.deaths == 0
