"""Holds: calls are stored and wait in the backlog until they are released, at once or by a rate."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from iogate.compiler.revision import Limits
from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.embedded.server import start_embedded
from iogate.store.revisions.gate_states import Gate, Switched
from iogate.store.revisions.origin import Origin
from iogate.store.runs.intake import Accepted, Refusal
from iogate.store.runs.leases import Claim
from iogate.store.store import Store, open_store
from tests.keys import RING
from tests.store.builders import ORDERS, accepted, api, bundle, commit, publish, request, state_of, until
from tests.store.test_children import child, parent_of
from tests.store.test_torn_log import kill

WORKER = "w"
ROLLBACK = Origin(action="rollback", restores=1)


async def hold(store: Store, *, ttl_s: float | None = None) -> Switched:
    changed = await store.gates.set_enabled([ORDERS.id], False, author="ada", hold=True, ttl_s=ttl_s)
    assert changed is not None
    return changed[0]


async def enable(store: Store, rate: float | None = None) -> Switched:
    changed = await store.gates.set_enabled([ORDERS.id], True, author="ada", rate=rate)
    assert changed is not None
    return changed[0]


async def gate(store: Store) -> Gate:
    return (await store.gates.states())[ORDERS.id]


async def take(store: Store, limit: int = 100) -> list[Claim]:
    return list((await store.leases.take(WORKER, limit)).claims)


async def queued(store: Store) -> list[str]:
    return [uid.decode() for uid in await store.call("LRANGE", keys.RQ_QUEUE, 0, -1)]


async def test_calls_of_an_api_on_hold_are_stored_and_start_in_order_after_enable(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    before = [await accepted(intake) for _ in range(3)]
    assert await hold(each_store) == Switched(
        api=ORDERS.id, before="enabled", after="held", held_before=0, held=3
    )
    assert await queued(each_store) == []
    outcome = await intake.accept(request(intake))
    assert isinstance(outcome, Accepted)
    assert outcome.held
    assert await take(each_store) == []
    assert await state_of(each_store, outcome.uid) == "backlog"
    found = await gate(each_store)
    assert (found.state, found.enabled, found.held, found.queued, found.running) == ("held", True, True, 4, 0)
    assert found.override is not None
    assert (found.override.held, found.override.enabled) == (True, True)
    assert await enable(each_store) == Switched(
        api=ORDERS.id, before="held", after="enabled", held_before=4, held=0
    )
    assert [claim.uid for claim in await take(each_store)] == [*before, outcome.uid]
    assert (await gate(each_store)).state == "enabled"
    assert not await each_store.call("HEXISTS", keys.GATE + ORDERS.id, "hold")


async def test_runs_of_other_apis_keep_their_order_in_the_queue(each_store: Store) -> None:
    other = api("other/one")
    await publish(each_store, ORDERS, other)
    intake = each_store.intake()
    uids = [await accepted(intake, (ORDERS, other)[n % 2]) for n in range(6)]
    await hold(each_store)
    assert await queued(each_store) == uids[1::2]
    assert [claim.uid for claim in await take(each_store)] == uids[1::2]


async def test_runs_that_have_started_continue(each_store: Store) -> None:
    """A leased one, one that waits and wakes up, one that its worker hands back, and one of a dead worker."""
    await publish(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake) for _ in range(4)]
    claims = {claim.uid: claim for claim in await take(each_store)}
    await hold(each_store)
    new = await accepted(intake)
    leased, parked, returned, dead = (claims[uid] for uid in uids)
    (verdict,) = await each_store.leases.commit([commit(leased, "keep")])
    assert verdict.applied
    await each_store.leases.commit([commit(parked, "park", due_ms=1)])
    await each_store.leases.release(WORKER, {returned.uid: returned.token})
    assert {claim.uid for claim in await take(each_store)} == {parked.uid, returned.uid}
    await each_store.leases.recover(WORKER)
    assert {claim.uid for claim in await take(each_store)} == set(uids)
    assert dead.uid in uids
    assert await state_of(each_store, new) == "backlog"


async def test_a_faulted_run_that_an_operator_retries_starts(each_store: Store) -> None:
    await publish(each_store)
    await accepted(each_store.intake())
    (claim,) = await take(each_store)
    await each_store.leases.commit([commit(claim, status="faulted", head=b"h")])
    await hold(each_store)
    assert await each_store.runs.retry(claim.uid) == "retried"
    assert [each.uid for each in await take(each_store)] == [claim.uid]


async def test_a_new_run_that_is_resumed_is_held(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.runs.suspend(uid)
    await hold(each_store)
    await each_store.runs.resume(uid)
    assert (await take(each_store), await state_of(each_store, uid)) == ([], "backlog")
    await enable(each_store)
    assert [claim.uid for claim in await take(each_store)] == [uid]


async def test_children_of_a_started_run_start(each_store: Store) -> None:
    await publish(each_store)
    first, second = child(7), child(8)
    parent = await parent_of(each_store, first, move="keep")
    await hold(each_store)
    new = await accepted(each_store.intake())
    await each_store.leases.commit([commit(parent, "park", seq=2, head=b"h", children=[second])])
    assert {claim.uid for claim in await take(each_store)} == {first.uid, second.uid}
    assert await state_of(each_store, new) == "backlog"


async def test_children_that_waited_in_the_backlog_are_not_held(each_store: Store) -> None:
    tight = api(limits=Limits(running=1))
    await publish(each_store, tight)
    intake = each_store.intake()
    await accepted(intake, tight)
    (parent,) = await take(each_store)
    own = child(7)
    new = [await accepted(intake, tight)]
    await each_store.leases.commit([commit(parent, "keep", head=b"h", children=[own])])
    new.append(await accepted(intake, tight))
    assert await state_of(each_store, own.uid) == "backlog"
    await hold(each_store)
    assert (await state_of(each_store, own.uid), (await gate(each_store)).queued) == ("woken", 3)
    await each_store.leases.commit([commit(parent, "park", seq=2, head=b"h")])
    assert [claim.uid for claim in await take(each_store)] == [own.uid]
    assert [await state_of(each_store, uid) for uid in new] == ["backlog", "backlog"]


async def test_the_limit_of_the_queue_applies_to_held_calls(each_store: Store) -> None:
    small = api(limits=Limits(queued=2))
    await publish(each_store, small)
    await hold(each_store)
    intake = each_store.intake()
    for _ in range(2):
        await accepted(intake, small)
    refused = await intake.accept(request(intake, small))
    assert isinstance(refused, Refusal)
    assert refused.reason == "queue_full"


async def test_to_disable_an_api_on_hold_refuses_calls_and_starts_nothing(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    intake = each_store.intake()
    uid = await accepted(intake)
    changed = await each_store.gates.set_enabled([ORDERS.id], False, author="ada")
    assert changed == [Switched(api=ORDERS.id, before="held", after="disabled, held", held_before=1, held=1)]
    assert await intake.accept(request(intake)) == Refusal(reason="disabled")
    assert (await take(each_store), (await gate(each_store)).state) == ([], "disabled, held")
    await publish(each_store, api(enabled=None))
    assert (await take(each_store), (await gate(each_store)).state) == ([], "disabled, held")
    await enable(each_store)
    assert [claim.uid for claim in await take(each_store)] == [uid]


async def test_a_hold_opens_no_api_that_refuses_calls_unless_it_is_enabled_on_hold(each_store: Store) -> None:
    closed = api(enabled=False)
    await publish(each_store, closed)
    assert (await hold(each_store)).after == "disabled, held"
    intake = each_store.intake()
    assert await intake.accept(request(intake, closed)) == Refusal(reason="disabled")
    changed = await each_store.gates.set_enabled([ORDERS.id], True, author="ada", hold=True)
    assert [each.after for each in changed or ()] == ["held"]
    uid = await accepted(intake, closed)
    assert (await hold(each_store)).after == "held"
    assert (await take(each_store), await state_of(each_store, uid)) == ([], "backlog")
    await each_store.gates.clear_overrides([ORDERS.id])
    assert [claim.uid for claim in await take(each_store)] == [uid]
    assert (await gate(each_store)).state == "disabled"


async def test_clearing_overrides_restores_every_switch_and_releases_by_a_rate(each_store: Store) -> None:
    """As after an incident: open APIs are open again, and closed ones closed, with git and without."""
    apis = [api("git/open"), api("git/closed", enabled=False)]
    apis += [api("own/open", enabled=None), api("own/closed", enabled=None)]
    await publish(each_store, *apis)
    await each_store.gates.set_enabled(["own/open"], True, author="ada")
    names = [each.id for each in apis]
    before = {name: found.state for name, found in (await each_store.gates.states()).items()}
    for on_hold in (False, True):
        await each_store.gates.set_enabled(names, False, author="ada", hold=on_hold, by_override=True)
        uids = [await accepted(each_store.intake(), apis[0]) for _ in range(3 * on_hold)]
        assert len(await each_store.gates.overrides()) == 4
        await publish(each_store, *apis, api(f"another/one{on_hold}"))
        await each_store.gates.clear_overrides(names, rate=0.01)
        states = await each_store.gates.states()
        assert {name: states[name].state for name in names} == before
        assert [claim.uid for claim in await take(each_store)] == uids[:1]
    assert states["git/open"].release_per_s == pytest.approx(0.01)


async def test_a_hold_with_an_end_releases_its_runs_then(each_store: Store) -> None:
    """The workers are not told: the first take after the end finds the time in the store."""
    await publish(each_store)
    await hold(each_store, ttl_s=600.0)
    uid = await accepted(each_store.intake())
    assert await take(each_store) == []
    await hold(each_store, ttl_s=0.001)
    taken: list[str] = []

    async def released() -> bool:
        taken.extend(claim.uid for claim in await take(each_store))
        return bool(taken)

    await until(released)
    assert taken == [uid]
    assert await each_store.call("ZCARD", keys.RELEASES) == 0
    outcome = await each_store.intake().accept(request(each_store.intake()))
    assert isinstance(outcome, Accepted)
    assert not outcome.held


async def test_clearing_the_override_releases_its_runs(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    uid = await accepted(each_store.intake())
    await each_store.gates.clear_overrides([ORDERS.id])
    assert [claim.uid for claim in await take(each_store)] == [uid]


async def test_runs_are_released_by_a_rate_that_nothing_but_the_store_keeps(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake) for _ in range(12)]
    started = time.monotonic()
    assert (await enable(each_store, rate=20)).held == 11
    found = await gate(each_store)
    assert (found.state, found.release_per_s, found.override) == ("enabled", 20, None)
    taken: list[str] = []
    late = await accepted(intake)
    while len(taken) < 13:
        taken += [claim.uid for claim in await take(each_store)]
        most = 20 * (time.monotonic() - started) + 1.5  # half a run for the milliseconds of the store's clock
        assert len(taken) <= most, "faster than the rate"
        assert time.monotonic() < started + 60
        await asyncio.sleep(0.01)
    assert taken == [*uids, late], "calls that came meanwhile wait behind"
    assert (await gate(each_store)).release_per_s is None
    assert await each_store.call("ZCARD", keys.RELEASES) == 0
    await accepted(intake)
    assert len(await take(each_store)) == 1


async def test_after_a_pause_the_runs_of_one_second_at_most_are_released_at_once(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    for _ in range(10):
        await accepted(each_store.intake())
    await enable(each_store, rate=4)
    hour_ago = int((time.time() - 3600) * 1000)
    await each_store.call("HSET", keys.GATE + ORDERS.id, "hold", f"{hour_ago}.000 250.000000")
    await each_store.call("ZADD", keys.RELEASES, hour_ago, ORDERS.id)
    assert len(await take(each_store)) == 1 + 4, "the one of enable, and those of a second"


async def test_a_release_by_rate_can_be_sped_up_and_stopped(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    for _ in range(10):
        await accepted(each_store.intake())
    await enable(each_store, rate=0.01)
    assert len(await take(each_store)) == 1
    assert (await hold(each_store)).held == 9
    assert (await take(each_store), (await gate(each_store)).state) == ([], "held")
    await enable(each_store, rate=0.01)
    assert len(await take(each_store)) == 1
    await each_store.gates.set_enabled([ORDERS.id], False, author="ada")
    assert (await gate(each_store)).release_per_s == pytest.approx(0.01)
    assert (await enable(each_store)).held == 0
    assert len(await take(each_store)) == 8


async def test_more_runs_than_the_queue_admits_are_released_as_it_empties(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    intake = each_store.intake()
    uids = await asyncio.gather(*(accepted(intake) for _ in range(keys.QUEUED_IN_RQ * 2 + 5)))
    await enable(each_store)
    assert len(await queued(each_store)) == keys.QUEUED_IN_RQ
    seen: list[str] = []
    while claims := await take(each_store):
        seen += [claim.uid for claim in claims]
        await each_store.leases.commit([commit(claim) for claim in claims])
    assert sorted(seen) == sorted(uids)


async def test_runs_of_a_deleted_api_stay_on_hold_until_someone_releases_them(each_store: Store) -> None:
    other = api("other/one")
    await publish(each_store, ORDERS, other)
    await hold(each_store)
    uid = await accepted(each_store.intake())
    await publish(each_store, other)
    assert (await take(each_store), await each_store.gates.held_of_deleted()) == ([], {ORDERS.id: 1})
    await each_store.leases.audit()
    assert await take(each_store) == []
    with pytest.raises(NotFound):
        await each_store.gates.set_enabled([ORDERS.id], False, author="ada")
    assert (await enable(each_store)).before == "deleted"
    assert [claim.uid for claim in await take(each_store)] == [uid]
    assert await each_store.gates.held_of_deleted() == {}


async def test_an_api_that_returns_is_disabled_and_its_runs_are_still_on_hold(each_store: Store) -> None:
    other = api("other/one")
    await publish(each_store, ORDERS, other)
    await hold(each_store, ttl_s=3600)
    await accepted(each_store.intake())
    await publish(each_store, other)
    await publish(each_store, ORDERS, other)
    assert (await take(each_store), (await gate(each_store)).state) == ([], "disabled, held")
    await enable(each_store)
    assert len(await take(each_store)) == 1


async def test_the_audit_leaves_held_runs_where_they_are(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    uid = await accepted(each_store.intake())
    await each_store.call("HSET", keys.GATE + ORDERS.id, "bl", 7)
    assert await each_store.leases.audit() == 0
    assert (await take(each_store), await state_of(each_store, uid)) == ([], "backlog")
    assert (await gate(each_store)).queued == 1
    await each_store.call("DEL", keys.BACKLOG + ORDERS.id)
    assert await each_store.leases.audit() == 1, "the run is in its list again"
    assert await take(each_store) == []
    for _ in range(2):
        await accepted(each_store.intake())
    await enable(each_store, rate=0.01)
    await each_store.call("DEL", keys.RELEASES)
    await each_store.leases.audit()
    assert await each_store.call("ZCARD", keys.RELEASES) == 1


async def test_a_queued_run_that_was_lost_before_the_hold_is_restored_to_the_backlog(
    each_store: Store,
) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.call("DEL", keys.RQ_QUEUE)
    await hold(each_store)
    assert await each_store.leases.audit() == 1
    assert (await queued(each_store), await state_of(each_store, uid)) == ([], "backlog")
    assert (await gate(each_store)).queued == 1


async def test_a_run_that_another_program_queues_is_put_back(each_store: Store) -> None:
    await publish(each_store)
    await hold(each_store)
    uid = await accepted(each_store.intake())
    await each_store.call("RPUSH", keys.RQ_QUEUE, uid)
    assert (await take(each_store), await state_of(each_store, uid)) == ([], "backlog")
    await each_store.call("HSET", keys.RUN + uid, "pl", "queue")
    await each_store.call("RPUSH", keys.RQ_QUEUE, uid)
    assert (await take(each_store), await state_of(each_store, uid)) == ([], "backlog")


async def test_a_hold_and_its_release_outlive_the_store_process(tmp_path: Path) -> None:
    first = await asyncio.to_thread(start_embedded, tmp_path)
    store = await open_store(first.url, keyring=RING)
    await publish(store)
    await hold(store)
    uids = [await accepted(store.intake()) for _ in range(4)]
    await store.close()
    kill(first)
    second = await asyncio.to_thread(start_embedded, tmp_path)
    store = await open_store(second.url, keyring=RING)
    assert (await take(store), (await gate(store)).state) == ([], "held")
    await enable(store, rate=20)
    await store.close()
    kill(second)
    third = await asyncio.to_thread(start_embedded, tmp_path)
    try:
        store = await open_store(third.url, keyring=RING)
        taken: list[str] = []

        async def all_taken() -> bool:
            taken.extend(claim.uid for claim in await take(store))
            return len(taken) == 4

        await until(all_taken)
        assert taken == uids
        await store.close()
    finally:
        third.stop()


async def test_a_rollback_that_brings_an_api_back_keeps_its_hold(each_store: Store) -> None:
    other = api("other/one")
    await publish(each_store, ORDERS, other)
    await hold(each_store)
    await accepted(each_store.intake())
    await publish(each_store, other)
    await each_store.revisions.publish(bundle(ORDERS, other), origin=ROLLBACK)
    assert (await take(each_store), (await gate(each_store)).state) == ([], "held")
    await publish(each_store, other)
    await enable(each_store)
    assert len(await take(each_store)) == 1
    await each_store.revisions.publish(bundle(ORDERS, other), origin=ROLLBACK)
    assert (await gate(each_store)).state == "enabled", "the hold of the deleted API was ended"
