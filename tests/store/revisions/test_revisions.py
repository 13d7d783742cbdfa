"""Publishing is compare-and-set; gates change with it atomically and follow `enable` at once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.maintenance.process_presence import GATEWAY, Process
from iogate.store.revisions.gates import Change
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import Conflict
from iogate.store.runs.intake import Accepted, Refusal
from iogate.store.store import Store
from tests.store.builders import ORDERS, api, bundle, publish, request, until


async def test_equal_files_publish_no_new_revision(each_store: Store) -> None:
    assert await each_store.revisions.live() is None
    assert await publish(each_store) == 1
    assert await publish(each_store) == 1
    assert await publish(each_store, ORDERS, api("other/one")) == 2
    assert await publish(each_store) == 3
    assert await each_store.revisions.live() == (3, bundle(ORDERS).revision.digest)
    assert [r.number for r in await each_store.revisions.history()] == [3, 2, 1]
    assert (await each_store.revisions.load(2)).apis.keys() == {ORDERS.id, "other/one"}


async def test_an_apply_on_another_revision_is_refused_and_changes_nothing(each_store: Store) -> None:
    await publish(each_store)
    await publish(each_store, ORDERS, api("other/one"))
    with pytest.raises(Conflict) as caught:
        await each_store.revisions.publish(bundle(ORDERS), expected=1)
    assert caught.value.live == 2
    assert caught.value.message == "the live revision is 2, not 1: someone else applied in between"
    assert (await each_store.revisions.live() or (0,))[0] == 2
    assert set(await each_store.gates.states()) == {ORDERS.id, "other/one"}


async def test_of_two_racing_publishers_one_wins(each_store: Store) -> None:
    await publish(each_store)
    bundles = [bundle(ORDERS, api(f"race/m{n}")) for n in range(8)]
    outcomes = await asyncio.gather(
        *(each_store.revisions.publish(b, expected=1) for b in bundles), return_exceptions=True
    )
    assert sum(outcome == 2 for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 7


async def test_an_unknown_revision_or_api_is_reported(each_store: Store) -> None:
    with pytest.raises(NotFound, match="there is no revision 9"):
        await each_store.revisions.load(9)
    with pytest.raises(NotFound, match="there is no program abc… in the store"):
        await each_store.revisions.program("abc")
    with pytest.raises(NotFound, match="no such API in the live revision: no/such"):
        await each_store.gates.set_enabled(["no/such"], True, author="me")


async def test_an_api_without_enabled_starts_disabled_and_keeps_its_switch(each_store: Store) -> None:
    open_ = api(enabled=None)
    await publish(each_store, open_)
    gate = (await each_store.gates.states())[open_.id]
    assert (gate.enabled, gate.git, gate.override) == (False, None, None)
    await each_store.gates.set_enabled([open_.id], True, author="me")
    gate = (await each_store.gates.states())[open_.id]
    assert (gate.enabled, gate.override) == (True, None)
    await publish(each_store, open_, api("other/one"))
    assert (await each_store.gates.states())[open_.id].enabled


async def test_an_override_of_git_has_author_reason_and_end(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    await each_store.gates.set_enabled([ORDERS.id], False, author="ann", reason="incident 7", ttl_s=60)
    override = (await each_store.gates.overrides())[ORDERS.id]
    assert (override.enabled, override.author, override.reason) == (False, "ann", "incident 7")
    assert await intake.accept(request(intake)) == Refusal(reason="disabled")
    await each_store.gates.set_enabled([ORDERS.id], False, author="ann", ttl_s=0.05)

    async def over() -> bool:
        return isinstance(await intake.accept(request(intake)), Accepted)

    await until(over)
    assert await each_store.gates.overrides() == {}

    await each_store.gates.set_enabled([ORDERS.id], False, author="ann")
    await publish(each_store, ORDERS, api("other/one"))
    assert await intake.accept(request(intake)) == Refusal(reason="disabled")
    await each_store.gates.clear_overrides([ORDERS.id])
    assert isinstance(await intake.accept(request(intake)), Accepted)


async def test_an_api_that_is_added_again_starts_disabled(each_store: Store) -> None:
    await publish(each_store)
    await publish(each_store, api("other/one"))
    intake = each_store.intake()
    assert await intake.accept(request(intake)) == Refusal(reason="stale"), "the gateway looks again: 404"
    await publish(each_store)
    assert await intake.accept(request(intake)) == Refusal(reason="disabled")
    gate = (await each_store.gates.states())[ORDERS.id]
    assert gate.override is not None
    assert gate.override.reason == "it was deleted and came back"
    await each_store.gates.set_enabled([ORDERS.id], True, author="me")
    assert isinstance(await intake.accept(request(intake)), Accepted)


async def test_a_gateway_with_an_older_api_is_refused(each_store: Store) -> None:
    """A gateway that was suspended cannot accept calls with a revoked token."""
    await publish(each_store)
    intake = each_store.intake()
    stale = request(intake)
    await publish(each_store, api(limits=None, enabled=None))
    await each_store.gates.set_enabled([ORDERS.id], True, author="me")
    assert await intake.accept(stale) == Refusal(reason="stale")


async def test_a_watcher_is_notified_of_revisions_and_switches(each_store: Store) -> None:
    await publish(each_store)
    watch = each_store.gates.watch()
    assert await anext(watch) == Change(revision=1, changes=1)
    await each_store.gates.set_enabled([ORDERS.id], False, author="me")
    assert await anext(watch) == Change(revision=1, changes=2)
    await publish(each_store, ORDERS, api("other/one"))
    assert await anext(watch) == Change(revision=2, changes=3)
    await watch.aclose()


async def test_a_watcher_is_notified_of_the_end_of_an_override(each_store: Store) -> None:
    await publish(each_store)
    await each_store.gates.set_enabled([ORDERS.id], False, author="me", ttl_s=60)
    watch = each_store.gates.watch()
    assert await anext(watch) == Change(revision=1, changes=2, expired=0)
    # The minute is over.
    await each_store.call("ZADD", keys.EXPIRIES, 1, ORDERS.id)
    await each_store.call("HSET", keys.GATE + ORDERS.id, "until", 1)
    assert await anext(watch) == Change(revision=1, changes=2, expired=1)
    assert (await each_store.gates.states())[ORDERS.id].enabled
    await watch.aclose()


async def test_an_announced_process_leaves_or_expires(each_store: Store) -> None:
    process = Process(kind=GATEWAY, id="g2", pid=1, host="h", started_at_ms=0)
    await each_store.presence.announce(process)
    await each_store.presence.announce(msgspec.structs.replace(process, id="g1"))
    await each_store.presence.leave(GATEWAY, "g1")
    assert [p.id for p in await each_store.presence.list(GATEWAY)] == ["g2"]
    await each_store.call("DEL", f"{keys.PROCESS}gateway:g2")
    assert await each_store.presence.list(GATEWAY) == []


async def test_a_rollback_brings_a_deleted_api_back_with_its_switch_and_its_override(
    each_store: Store,
) -> None:
    switched, overridden = api("by/command", enabled=None), api("by/git")
    await publish(each_store, ORDERS, switched, overridden)
    await each_store.gates.set_enabled([switched.id], True, author="ann")
    await each_store.gates.set_enabled([overridden.id], False, author="ann", reason="incident 7", ttl_s=60)
    before = await each_store.gates.states()
    await publish(each_store, ORDERS)
    assert (await each_store.gates.states()).keys() == {ORDERS.id}
    back = Origin(action="rollback", restores=1)
    await each_store.revisions.publish(bundle(ORDERS, switched, overridden), origin=back)
    assert await each_store.gates.states() == before
    assert await each_store.call("ZSCORE", keys.EXPIRIES, overridden.id) is not None
    await publish(each_store, ORDERS)
    await publish(each_store, ORDERS, switched, overridden)
    assert not (await each_store.gates.states())[switched.id].enabled, "an apply brings it back disabled"
