"""Switches of APIs: no revision undoes the switch of a person, and git has the last word otherwise."""

from __future__ import annotations

import pytest

from iogate.compiler.revision import Api, Limits
from iogate.errors import NotFound
from iogate.store import keys
from iogate.store.revisions.gate_states import Gate, Override, Switched
from iogate.store.runs.intake import Accepted, Refusal
from iogate.store.store import Store
from tests.store.builders import ORDERS, accepted, api, bundle, publish, request

OTHER = api("other/one")


def git(enabled: bool | None) -> Api:  # noqa: FBT001 -- the value under test
    """The API with this value of `enabled`, or without the key."""
    return api(enabled=enabled)


async def gate(store: Store, of: Api = ORDERS) -> Gate:
    return (await store.gates.states())[of.id]


async def override(store: Store) -> Override:
    found = (await gate(store)).override
    assert found is not None
    return found


async def switch(store: Store, enabled: bool, **options: object) -> Switched:  # noqa: FBT001 -- as above
    changed = await store.gates.set_enabled(
        [ORDERS.id],
        enabled,
        author="ada",
        **options,  # type: ignore[arg-type]  # options of each test
    )
    assert changed is not None
    return changed[0]


async def test_a_kill_switch_survives_every_revision_until_someone_ends_it(each_store: Store) -> None:
    """A merge that agrees, one that contradicts, one without the key: none of them enables the API."""
    await publish(each_store)
    assert await switch(each_store, False, reason="incident 7") == Switched(
        api=ORDERS.id, before="enabled", after="disabled", held_before=0, held=0
    )
    for value in (False, True, None, True):
        await publish(each_store, git(value), OTHER)
        assert not (await gate(each_store)).enabled, value
    found = await override(each_store)
    assert (found.enabled, found.author, found.reason) == (False, "ada", "incident 7")
    await switch(each_store, True)
    assert ((await gate(each_store)).enabled, (await gate(each_store)).override) == (True, None)


async def test_a_rollback_and_its_undoing_keep_the_kill_switch(each_store: Store) -> None:
    for value in (False, True):
        await publish(each_store, git(value))
    await switch(each_store, False)
    for value in (False, True):
        await publish(each_store, git(value))
    assert not (await gate(each_store)).enabled
    await each_store.gates.clear_overrides([ORDERS.id])
    assert (await gate(each_store)).enabled


async def test_to_disable_what_git_disables_is_an_override_too(each_store: Store) -> None:
    await publish(each_store, git(False))
    assert (await switch(each_store, False)).before == "disabled"
    await publish(each_store, git(True))
    assert not (await gate(each_store)).enabled


async def test_git_takes_over_an_api_that_a_person_disabled_and_it_stays_disabled(each_store: Store) -> None:
    await publish(each_store, git(None))
    await switch(each_store, True)
    await switch(each_store, False, reason="they lose orders")
    assert (await gate(each_store)).override is None, "without a value in git it is the switch itself"
    await publish(each_store, git(True))
    found = await override(each_store)
    assert (found.enabled, found.author, found.reason) == (False, "ada", "they lose orders")
    assert found.set_at_ms > 1_700_000_000_000
    assert await each_store.intake().accept(request(each_store.intake(), git(True))) == Refusal(
        reason="disabled"
    )


async def test_git_enables_an_api_that_nobody_has_disabled(each_store: Store) -> None:
    await publish(each_store, git(None))
    await publish(each_store, git(True))
    assert ((await gate(each_store)).enabled, (await gate(each_store)).override) == (True, None)


async def test_a_switch_that_has_expired_disables_nothing_later(each_store: Store) -> None:
    await publish(each_store, git(None))
    await switch(each_store, True, ttl_s=60)
    await expire(each_store)
    await publish(each_store, git(None), OTHER)
    await publish(each_store, git(True))
    assert (await gate(each_store)).enabled


async def test_an_override_that_expires_while_nothing_runs_has_ended(each_store: Store) -> None:
    """Its end is a time in the gate, which whoever reads it compares."""
    await publish(each_store)
    await switch(each_store, False, ttl_s=60)
    assert not (await gate(each_store)).enabled
    await expire(each_store)
    assert ((await gate(each_store)).enabled, await each_store.gates.overrides()) == (True, {})
    assert await each_store.gates.is_enabled(ORDERS.id)
    intake = each_store.intake()
    assert isinstance(await intake.accept(request(intake)), Accepted)


async def expire(store: Store) -> None:
    """Let the time of the override pass."""
    await store.call("ZADD", keys.EXPIRIES, 1, ORDERS.id)
    await store.call("HSET", keys.GATE + ORDERS.id, "until", 1)


async def test_an_override_that_enables_ends_once_git_agrees(each_store: Store) -> None:
    await publish(each_store, git(False))
    await switch(each_store, True)
    assert (await override(each_store)).enabled
    await publish(each_store, git(False), OTHER)
    assert (await gate(each_store)).enabled, "another API was merged"
    await publish(each_store, git(True))
    assert await each_store.gates.overrides() == {}
    await publish(each_store, git(False))
    assert not (await gate(each_store)).enabled, "so a merge that disables does"


async def test_an_api_that_git_leaves_to_the_commands_stays_as_it_is(each_store: Store) -> None:
    await publish(each_store)
    await publish(each_store, git(None))
    assert ((await gate(each_store)).enabled, (await gate(each_store)).git) == (True, None)


async def test_switches_of_an_earlier_release_are_understood(each_store: Store) -> None:
    """It wrote no `by`: the author of the gate is the one who disabled the API."""
    await publish(each_store, git(None))
    await switch(each_store, False)
    await each_store.call("HDEL", keys.GATE + ORDERS.id, "by")
    await publish(each_store, git(True))
    assert (await override(each_store)).author == "ada"


async def test_a_revision_clears_the_overrides_of_its_apis_if_told_to(each_store: Store) -> None:
    await publish(each_store)
    await switch(each_store, False)
    await each_store.revisions.publish(bundle(ORDERS, OTHER), clear_overrides=True)
    assert ((await gate(each_store)).enabled, await each_store.gates.overrides()) == (True, {})

    await publish(each_store, git(None))
    await switch(each_store, False)
    await each_store.revisions.publish(bundle(git(True)), clear_overrides=True)
    assert ((await gate(each_store)).enabled, await each_store.gates.overrides()) == (True, {})


async def test_equal_files_clear_overrides_too(each_store: Store) -> None:
    await publish(each_store)
    await switch(each_store, False, hold=True)
    uid = await accepted(each_store.intake())
    assert await each_store.revisions.publish(bundle(ORDERS), clear_overrides=True) == 1
    assert ((await gate(each_store)).state, await each_store.gates.overrides()) == ("enabled", {})
    assert [claim.uid for claim in (await each_store.leases.take("w", 5)).claims] == [uid]


async def test_switching_several_is_one_step(each_store: Store) -> None:
    await publish(each_store, ORDERS, OTHER)
    with pytest.raises(NotFound, match="no such API in the live revision: no/such, no/other"):
        await each_store.gates.set_enabled([ORDERS.id, "no/such", "no/other"], False, author="ada")
    assert (await gate(each_store)).enabled
    changes = await each_store.gates.changes()
    changed = await each_store.gates.set_enabled([ORDERS.id, OTHER.id], False, author="ada", expected=changes)
    assert [each.api for each in changed or ()] == [ORDERS.id, OTHER.id]
    assert await each_store.gates.changes() == changes + 1


async def test_a_selection_that_is_out_of_date_changes_nothing(each_store: Store) -> None:
    await publish(each_store)
    changes = await each_store.gates.changes()
    await publish(each_store, ORDERS, OTHER)
    changed = await each_store.gates.set_enabled([ORDERS.id], False, author="ada", expected=changes)
    assert changed is None
    assert (await gate(each_store)).enabled


async def test_limits_still_change_with_the_revision(each_store: Store) -> None:
    """Publishing reads the load of an API before it writes new limits."""
    tight, wide = api(limits=Limits(running=1)), api(limits=Limits(running=3))
    await publish(each_store, tight)
    await switch(each_store, False, hold=True)
    for _ in range(3):
        await accepted(each_store.intake(), tight)
    await each_store.revisions.publish(bundle(wide), clear_overrides=True)
    assert len((await each_store.leases.take("w", 5)).claims) == 3
