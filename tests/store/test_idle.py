"""An idle worker writes almost nothing: with `appendfsync always` each write is an fsync."""

from __future__ import annotations

import time

from iogate.store import keys
from iogate.store.connection.connection import time_ms
from iogate.store.store import Store
from tests.store.builders import publish


async def changes(store: Store) -> int:
    return int((await store.server_info())["rdb_changes_since_last_save"])


async def test_a_take_without_work_writes_nothing(each_store: Store) -> None:
    await publish(each_store)
    await each_store.leases.take("w", 1)
    await each_store.events.take("w")
    before, began_s = await changes(each_store), time.monotonic()
    for _ in range(20):
        await each_store.leases.take("w", 1)
        await each_store.events.take("w")
    written = await changes(each_store) - before
    # The time of the last take and the lease of the matcher are written by time, whatever is taken.
    passed_ms = (time.monotonic() - began_s) * 1000
    assert written <= 1 + passed_ms / keys.LOOK_MS + passed_ms / (keys.MATCHER_MS / 2)


async def test_a_wrong_time_of_the_last_take_is_corrected(
    each_store: Store,
) -> None:
    await publish(each_store)
    for stored in ("1", "no number", "9999999999999"):
        await each_store.call("SET", keys.UPKEEP, stored)
        before_ms = time_ms(await each_store.call("TIME"))
        await each_store.leases.take("w", 1)
        after_ms = time_ms(await each_store.call("TIME"))
        assert before_ms <= int(await each_store.call("GET", keys.UPKEEP)) <= after_ms


async def test_the_matcher_lease_is_renewed_at_half_of_its_time(each_store: Store) -> None:
    await publish(each_store)
    await each_store.events.take("w")
    now_ms = time_ms(await each_store.call("TIME"))
    await each_store.call("HSET", keys.MATCHER, "until", now_ms + keys.MATCHER_MS // 3)
    await each_store.events.take("w")
    assert int(await each_store.call("HGET", keys.MATCHER, "until")) >= now_ms + keys.MATCHER_MS
