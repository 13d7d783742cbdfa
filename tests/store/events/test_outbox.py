"""Outboxes: entries for a sink stay in order until their delivery is confirmed."""

from __future__ import annotations

from iogate.store import keys
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish, scripted


async def filled(store: Store, *events: bytes, sink: str = "audit") -> None:
    await accepted(store.intake())
    (claim,) = (await store.leases.take("w", 1)).claims
    end = commit(claim, outbox={sink: events})
    for _ in range(2):
        await store.leases.commit([end])


async def test_entries_stay_in_order_until_they_are_confirmed(each_store: Store) -> None:
    await publish(each_store)
    await filled(each_store, b"1", b"2")
    await filled(each_store, b"3")
    assert await each_store.outbox.take("audit", "c1", 2) == [b"1", b"2"]
    assert await each_store.outbox.take("audit", "c1", 2) == [b"1", b"2"]
    for _ in range(2):
        assert await each_store.outbox.done("audit", "c1", 1)
    assert await each_store.outbox.take("audit", "c1", 9) == [b"2", b"3"]
    assert await each_store.outbox.done("audit", "c1", 2)
    assert await each_store.outbox.take("audit", "c1", 9) == []
    assert await each_store.outbox.take("other", "c1", 9) == []


async def test_one_owner_delivers_a_sink_and_a_lost_lease_removes_nothing(each_store: Store) -> None:
    await publish(each_store)
    await filled(each_store, b"1", b"2")
    assert await each_store.outbox.take("audit", "c1") == [b"1", b"2"]
    assert await each_store.outbox.take("audit", "c2") == []
    await each_store.call("HSET", keys.SINK + "audit", "until", 1)
    assert await each_store.outbox.take("audit", "c2") == [b"1", b"2"]
    assert not await each_store.outbox.done("audit", "c1", 2)
    assert await each_store.outbox.done("audit", "c2", 1)
    assert await each_store.outbox.take("audit", "c2") == [b"2"]


async def test_the_outbox_of_an_unreachable_sink_is_bounded_and_losses_are_counted(each_store: Store) -> None:
    with scripted(outbox_entries=3):
        await publish(each_store)
        await filled(each_store, b"1", b"2")
        assert await each_store.outbox.take("audit", "c1") == [b"1", b"2"]
        await filled(each_store, b"3", b"4", b"5")
        assert await each_store.outbox.done("audit", "c1", 2)
        assert await each_store.outbox.take("audit", "c1") == [b"3", b"4", b"5"]
        (sink,) = await each_store.outbox.sinks()
        assert (sink.name, sink.waiting, sink.dropped) == ("audit", 3, 2)
        (finding,) = [each for each in await each_store.findings() if each.setting == "events.sinks.audit"]
        assert finding.level == "warning"
        assert finding.message == "2 events for the sink audit were dropped: its outbox was full"


async def test_one_commit_may_have_more_events_than_lua_passes_to_a_command(each_store: Store) -> None:
    await publish(each_store)
    events = [b"%d" % number for number in range(8_500)]
    await filled(each_store, *events)
    assert await each_store.call("LRANGE", keys.OUTBOX + "audit", 0, -1) == events
    (sink,) = await each_store.outbox.sinks()
    assert (sink.waiting, sink.dropped) == (8_500, 0)


async def test_the_bell_rings_when_an_empty_outbox_gets_an_entry(each_store: Store) -> None:
    await publish(each_store)
    bell, wired = each_store.outbox.doorbell()
    async with wired:
        await filled(each_store, b"1")
        assert await bell.wait(20)
