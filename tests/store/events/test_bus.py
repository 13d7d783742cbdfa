"""Event bus: each earlier subscription gets each event once, in order, also across matchers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from iogate.store import keys
from iogate.store.connection.connection import StoreFull
from iogate.store.events.bus import Batch, Delivery
from iogate.store.runs.leases import Claim
from iogate.store.store import Store
from tests.store.builders import RunStore, accepted, commit, keys_like, publish, scripted, state_of, until

MATCHER = "matcher-1"


def event(number: int = 1, type_: str = "order.paid", **more: Any) -> bytes:
    return json.dumps(
        {"specversion": "1.0", "id": f"e{number}", "source": "/shop", "type": type_, **more}
    ).encode()


def wanting(type_: str | None = "order.paid") -> bytes:
    match = {} if type_ is None else {"type": type_}
    return json.dumps([{"match": match, "correlate": []}]).encode()


async def listening(store: RunStore, wants: dict[int, bytes], move: str = "park") -> Claim:
    """Return a parked run with these subscriptions."""
    await accepted(store.intake())
    (claim,) = (await store.leases.take("w", 1)).claims
    (verdict,) = await store.leases.commit([commit(claim, move, head=b"h", wants=wants)])
    assert verdict.applied
    return claim


def everything(batch: Batch) -> list[Delivery]:
    return [
        Delivery(number=n, uid=s.uid, frame=s.frame) for n, _ in batch.events for s in batch.subscriptions
    ]


async def matched(store: RunStore, owner: str = MATCHER) -> Batch:
    """Run one iteration of a matcher for which every candidate matches."""
    batch = await store.events.take(owner)
    if batch.events:
        assert await store.events.deliver(owner, batch.events[-1][0], everything(batch))
    return batch


async def test_an_event_wakes_its_subscriber_and_is_in_its_claim(run_store: RunStore) -> None:
    await publish(run_store)
    claim = await listening(run_store, {3: wanting()})
    assert await state_of(run_store, claim.uid) == "timer"
    assert await run_store.events.publish([event()]) == 1
    await matched(run_store)
    (again,) = (await run_store.leases.take("w", 5)).claims
    assert again.uid == claim.uid
    (message,) = again.inbox
    assert (message.number, message.frame, message.kind, message.data) == (1, 3, "event", event())
    done = commit(again, "park", inbox_done=1)
    (verdict,) = await run_store.leases.commit([done])
    assert not verdict.woken
    assert await keys_like(run_store, keys.INBOX + claim.uid) == []


async def test_a_run_that_parks_with_unread_messages_is_woken_at_once(run_store: RunStore) -> None:
    await publish(run_store)
    claim = await listening(run_store, {1: wanting()}, move="keep")
    await run_store.events.publish([event(1), event(2)])
    await matched(run_store)
    first, second = await run_store.leases.inbox(claim.uid, claim.token)
    assert (first.number, second.number) == (1, 2)
    (verdict,) = await run_store.leases.commit([commit(claim, "park", seq=2, inbox_done=1)])
    assert verdict.woken
    (again,) = (await run_store.leases.take("w", 1)).claims
    assert [message.data for message in again.inbox] == [event(2)]


async def test_the_worker_of_a_leased_run_is_notified_of_messages(run_store: RunStore) -> None:
    await publish(run_store)
    claim = await listening(run_store, {1: wanting()}, move="keep")
    received: list[str] = []

    async def arrived() -> bool:
        return bool(received)

    assert (await run_store.leases.renew("w", {claim.uid: claim.token})).woken == frozenset()
    async with run_store.leases.inbox_changes(received.append):
        await run_store.events.publish([event()])
        await matched(run_store)
        await until(arrived)
    assert received == [claim.uid]
    assert (await run_store.leases.renew("w", {claim.uid: claim.token})).woken == {claim.uid}
    assert len(await run_store.leases.inbox(claim.uid, claim.token)) == 1
    assert await run_store.leases.inbox(claim.uid, claim.token + 1) == ()


async def test_the_inbox_of_a_run_that_consumes_nothing_is_bounded(
    each_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Dropped events are logged; other listeners get everything."""
    await publish(each_store)
    slow, quick = await listening(each_store, {3: wanting()}), await listening(each_store, {3: wanting()})
    await each_store.events.publish([event(1)])
    await matched(each_store)
    assert await each_store.runs.suspend(slow.uid) == "suspended"
    # As if so many had come; the script counts entries.
    fill = "for i = 1, tonumber(ARGV[1]) do redis.call('RPUSH', KEYS[1], '3 event {}') end"
    more = keys.INBOX_ENTRIES - 1
    await each_store.call("EVAL", fill, 1, keys.INBOX + slow.uid, more)
    await each_store.call("HINCRBY", keys.RUN + slow.uid, "msg", more)
    await each_store.events.publish([event(2), event(3)])
    await matched(each_store)
    assert await each_store.call("LLEN", keys.INBOX + slow.uid) == keys.INBOX_ENTRIES
    assert await each_store.call("LLEN", keys.INBOX + quick.uid) == 3
    assert "2 events were dropped for runs with 100000 waiting messages" in caplog.text
    assert await each_store.events.waiting() == 0


async def test_an_event_is_published_once_by_source_and_id(run_store: RunStore) -> None:
    await publish(run_store)
    await listening(run_store, {1: wanting()})
    assert await run_store.events.publish([event(1), event(1), event(2)]) == 2
    assert await run_store.events.publish([event(2), event(2, source="/other")]) == 1
    assert await run_store.events.waiting() == 3


async def test_events_of_one_request_are_published_by_one_script(each_store: Store) -> None:
    """So they are stored together or not at all."""

    async def scripts() -> int:
        stats: bytes = await each_store.call("INFO", "commandstats")
        found = re.search(rb"cmdstat_evalsha:calls=(\d+)", stats)
        return 0 if found is None else int(found[1])

    await publish(each_store)
    await listening(each_store, {1: wanting()})
    before = await scripts()
    assert await each_store.events.publish([event(n, data="x" * 1_000) for n in range(1_000)]) == 1_000
    assert await scripts() == before + 1
    assert await each_store.events.waiting() == 1_000


async def test_an_event_without_fingerprint_is_published_and_not_remembered(each_store: Store) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()}, move="keep")
    own = commit(claim, "keep", seq=2, emits=[event(1), event(2)], once=[0])
    for _ in range(2):
        await each_store.leases.commit([own])
    assert await each_store.events.waiting() == 2
    assert await each_store.events.publish([event(2)]) == 0
    assert len(await each_store.call("KEYS", f"{keys.SEEN}*")) == 1


async def test_an_event_without_subscriptions_is_not_kept(run_store: RunStore) -> None:
    await publish(run_store)
    await listening(run_store, {1: wanting("a.b")})
    assert await run_store.events.publish([event(1, "c.d"), event(2, "a.b")]) == 2
    assert await run_store.events.waiting() == 1
    await listening(run_store, {1: wanting("a.*")})
    assert await run_store.events.publish([event(3, "c.d")]) == 1
    assert await run_store.events.waiting() == 2
    batch = await matched(run_store)
    assert [data for _, data in batch.events] == [event(2, "a.b"), event(3, "c.d")]
    assert await run_store.events.waiting() == 0


async def test_a_subscription_gets_no_earlier_events(run_store: RunStore) -> None:
    """Also of an event that no matcher has looked at; and all that its own commit emits."""
    await publish(run_store)
    await listening(run_store, {1: wanting()})
    await run_store.events.publish([event(1)])
    late = await listening(run_store, {1: wanting()}, move="keep")
    own = commit(late, "park", seq=2, wants={2: wanting()}, emits=[event(2)])
    await run_store.leases.commit([own])
    await matched(run_store)
    claims = {claim.uid: claim for claim in (await run_store.leases.take("w", 5)).claims}
    assert [(m.frame, m.data) for m in claims[late.uid].inbox] == [(1, event(2)), (2, event(2))]
    assert len(claims) == 2


async def test_events_are_delivered_in_the_order_of_publishing(run_store: RunStore) -> None:
    await publish(run_store)
    claim = await listening(run_store, {1: wanting()})
    sent = [event(number) for number in range(700)]
    assert await run_store.events.publish(sent) == 700
    sizes = []
    while (batch := await matched(run_store)).events:
        sizes.append((len(batch.events), batch.more))
    assert sizes == [(256, True), (256, True), (188, False)]
    received: list[bytes] = []
    seq = claim.seq + 1
    while claims := (await run_store.leases.take("w", 1)).claims:
        seq += 1
        received += [message.data for message in claims[0].inbox]
        assert len(claims[0].inbox) <= keys.INBOX_READ
        done = commit(claims[0], "park", inbox_done=claims[0].inbox[-1].number)
        await run_store.leases.commit([done])
    assert received == sent


async def test_large_messages_of_a_run_are_read_in_parts(each_store: Store) -> None:
    """A run stores the results of all that it has read in one commit, which has a limit."""
    await publish(each_store)
    await listening(each_store, {1: wanting()})
    with scripted(take_bytes=2_000):
        await each_store.events.publish([event(n, data="x" * 500) for n in range(20)])
        await matched(each_store)
        (again,) = (await each_store.leases.take("w", 5)).claims
        assert [message.number for message in again.inbox] == list(range(1, 9))
        await each_store.leases.commit([commit(again, "keep", inbox_done=8)])
        left = await each_store.leases.inbox(again.uid, again.token)
        assert [message.number for message in left] == list(range(9, 17))


async def test_a_take_stops_after_large_messages(each_store: Store) -> None:
    await publish(each_store)
    for _ in range(3):
        await listening(each_store, {1: wanting()})
    with scripted(take_bytes=2_000):
        await each_store.events.publish([event(n, data="x" * 500) for n in range(8)])
        await matched(each_store)
        assert [len((await each_store.leases.take("w", 5)).claims) for _ in range(3)] == [1, 1, 1]


async def test_a_batch_is_bounded_in_bytes(each_store: Store) -> None:
    await publish(each_store)
    await listening(each_store, {1: wanting()})
    await each_store.events.publish([event(n, data="x" * 1_500_000) for n in range(4)])
    assert len((await each_store.events.take(MATCHER)).events) == 2


async def test_there_is_one_matcher_and_a_lost_lease_delivers_nothing(each_store: Store) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()})
    await each_store.events.publish([event(1)])
    with scripted(matcher_ms=60_000):
        batch = await each_store.events.take(MATCHER)
    assert len(batch.events) == 1
    assert (await each_store.events.take("matcher-2")).events == ()
    await each_store.call("HSET", keys.MATCHER, "until", 1)
    assert (await each_store.events.take("matcher-2")).events == batch.events
    assert not await each_store.events.deliver(MATCHER, 1, everything(batch))
    assert await state_of(each_store, claim.uid) == "timer"
    assert await each_store.events.deliver("matcher-2", 1, everything(batch))
    assert await state_of(each_store, claim.uid) == "queue"


async def test_a_repeated_delivery_changes_nothing(run_store: RunStore) -> None:
    """After a lost reply, or after the matcher died and another one started again."""
    await publish(run_store)
    claim = await listening(run_store, {1: wanting(), 2: wanting()})
    await run_store.events.publish([event(1), event(2)])
    batch = await run_store.events.take(MATCHER)
    all_of_it = everything(batch)
    assert await run_store.events.deliver(MATCHER, 0, all_of_it[:3])
    assert (await run_store.events.take(MATCHER)).events == batch.events
    for _ in range(2):
        assert await run_store.events.deliver(MATCHER, 2, all_of_it)
    await run_store.events.publish([event(3)])
    assert [number for number, _ in (await run_store.events.take(MATCHER)).events] == [3]
    (again,) = (await run_store.leases.take("w", 1)).claims
    assert again.uid == claim.uid
    assert [(m.number, m.frame, m.data) for m in again.inbox] == [
        (1, 1, event(1)), (2, 2, event(1)), (3, 1, event(2)), (4, 2, event(2)),
    ]  # fmt: skip


async def test_a_changed_subscription_keeps_its_position_and_a_removed_one_gets_nothing(
    run_store: RunStore,
) -> None:
    await publish(run_store)
    claim = await listening(run_store, {1: wanting("a"), 2: wanting("a")}, move="keep")
    await run_store.events.publish([event(1, "a"), event(2, "b")])
    await run_store.leases.commit([commit(claim, "keep", seq=2, wants={1: wanting("b")}, wants_gone=[2])])
    assert await keys_like(run_store, keys.WANTS + "a") == []
    await run_store.events.publish([event(3, "b"), event(4, "a")])
    batch = await matched(run_store)
    assert [s.filters for s in batch.subscriptions] == [wanting("b")]
    inbox = await run_store.leases.inbox(claim.uid, claim.token)
    assert {message.frame for message in inbox} == {1}


@pytest.mark.parametrize("status", ["completed", "faulted", "cancelled"])
async def test_the_end_of_a_run_ends_its_subscriptions_and_its_inbox(
    run_store: RunStore, status: str
) -> None:
    await publish(run_store)
    claim = await listening(run_store, {1: wanting(), 2: wanting(None)}, move="keep")
    await run_store.events.publish([event()])
    await matched(run_store)
    await run_store.leases.commit([commit(claim, "end", status, seq=2)])
    assert await keys_like(run_store, "iogate:*want*") == []
    assert await keys_like(run_store, "iogate:inbox*") == []
    assert await run_store.events.publish([event(2)]) == 1
    assert await run_store.events.waiting() == 0


async def test_a_store_above_the_watermark_refuses_events(each_store: Store) -> None:
    await each_store.call("SET", keys.FULL, "1")
    with pytest.raises(StoreFull, match="the store is full: its memory is at or near its limit"):
        await each_store.events.publish([event()])
    await each_store.call("DEL", keys.FULL)
    assert await each_store.events.publish([event()]) == 1


async def test_a_large_delivery_is_split_and_each_subscription_gets_it_once(
    run_store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iogate.store.events.bus.DELIVERIES", 3)
    await publish(run_store)
    uids = {(await listening(run_store, {1: wanting()})).uid for _ in range(10)}
    await run_store.events.publish([event()])
    batch = await matched(run_store)
    assert {s.uid for s in batch.subscriptions} == uids
    claims = (await run_store.leases.take("w", 50)).claims
    assert {claim.uid for claim in claims} == uids
    assert {len(claim.inbox) for claim in claims} == {1}


async def test_the_bell_rings_when_an_event_is_published_or_emitted(each_store: Store) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()}, move="keep")
    bell, wired = each_store.events.doorbell()
    async with wired:
        await each_store.events.publish([event(1)])
        assert await bell.wait(20)
        await each_store.leases.commit([commit(claim, "keep", seq=2, emits=[event(2)])])
        assert await bell.wait(20)
