"""Families: the number of live descendants of a run is limited, for schedules the queue."""

from __future__ import annotations

from typing import Any

from iogate.compiler.revision import Limits
from iogate.store import keys
from iogate.store.runs.leases import Claim
from iogate.store.store import Store
from tests.store.builders import accepted, api, commit, publish
from tests.store.test_children import child, parent_of, taken


async def living(store: Store, root: str) -> int:
    return int(await store.call("HGET", keys.FAMILIES, root) or 0)


async def with_living(store: Store, root: str, count: int) -> None:
    """Simulate a family with so many more live runs."""
    await store.call("HINCRBY", keys.FAMILIES, root, count)


async def ended(store: Store, *claims: Claim, **changes: Any) -> None:
    assert all(v.applied for v in await store.leases.commit([commit(each, **changes) for each in claims]))


async def test_a_family_counts_live_runs_of_all_depths_and_leaves_no_keys(each_store: Store) -> None:
    await publish(each_store)
    first, second = child(awaits=False), child(awaits=False)
    root = await parent_of(each_store, first, second, move="end")
    assert await living(each_store, root.uid) == 2
    one, two = (await each_store.leases.take("w", 2)).claims
    grandchild = child(awaits=False)
    await ended(each_store, one, children=[grandchild])
    assert await living(each_store, root.uid) == 2
    await ended(each_store, two)
    await ended(each_store, await taken(each_store, grandchild.uid), status="faulted")
    assert not await each_store.call("EXISTS", keys.FAMILIES)


async def test_a_full_family_starts_no_runs_until_all_have_ended(
    each_store: Store,
) -> None:
    await publish(each_store)
    only = child(awaits=False)
    root = await parent_of(each_store, only, move="keep")
    others = keys.FAMILY_RUNS - 1
    await with_living(each_store, root.uid, others)
    late = child(awaits=False)
    step = commit(root, "keep", seq=2, head=b"h", children=[late])
    (verdict,) = await each_store.leases.commit([step])
    assert (verdict.applied, verdict.crowded) == (False, True)
    assert await each_store.runs.show(late.uid) is None
    # One fewer is not enough, because a recursive workflow would stay at the limit endlessly.
    await ended(each_store, await taken(each_store, only.uid))
    (verdict,) = await each_store.leases.commit([step])
    assert verdict.crowded
    await each_store.call("HDEL", keys.FAMILIES, root.uid)  # as the end of the last one does
    (verdict,) = await each_store.leases.commit([step])
    assert verdict.applied
    assert await each_store.runs.show(late.uid) is not None


async def test_the_end_of_the_last_run_reopens_a_full_family(each_store: Store) -> None:
    await publish(each_store)
    only = child(awaits=False)
    root = await parent_of(each_store, only, move="end")
    await with_living(each_store, root.uid, keys.FAMILY_CLOSED)
    await ended(each_store, await taken(each_store, only.uid))
    assert not await each_store.call("EXISTS", keys.FAMILIES)


async def test_scheduled_runs_need_room_in_the_queue_but_not_in_a_family(
    each_store: Store,
) -> None:
    await publish(each_store, api(limits=Limits(queued=2)))
    await accepted(each_store.intake(), api(limits=Limits(queued=2)))
    (standing,) = (await each_store.leases.take("w", 1)).claims
    started = [child(awaits=False) for _ in range(3)]
    step = commit(standing, "park", head=b"h", children=started, scheduled=True)
    (verdict,) = await each_store.leases.commit([step])
    assert (verdict.applied, verdict.left_out) == (True, True)
    assert [await each_store.runs.show(each.uid) is not None for each in started] == [True, True, False]
    assert await living(each_store, standing.uid) == 0
