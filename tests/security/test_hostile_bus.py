"""An attacker who writes to the bus in Redis stops neither the matcher nor the delivery of events."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from iogate.store import keys
from tests.worker.events.test_sink_delivery import says, sinks
from tests.worker.sink import SinkServer
from tests.worker.site import until, workflow
from tests.worker.test_events import cloud_event, listen, listening

if TYPE_CHECKING:
    from tests.worker.site import Site

DEEP = b"[" * 100_000
SUBSCRIBED = f"{keys.WANTS}test.paid"


def entry(**line: Any) -> bytes:
    """What the store says of a run without a worker, with a line that it would not write."""
    told = {"at": 1, "kind": "workflow.suspended", **line}
    return json.dumps({"uid": "1", "workflow": "a/b:1", "number": 1, "line": told}).encode()


Attack = Callable[["Site"], Awaitable[Any]]


def events(*entries: bytes) -> Attack:
    return lambda site: site.store.call("RPUSH", keys.EVENTS, *entries)


def subscription(name: bytes, filters: bytes = b"[]", key: str = SUBSCRIBED) -> Attack:
    return lambda site: site.store.call("HSET", key, name, filters)


def of_another_type(key: str) -> Attack:
    return lambda site: site.store.call("SET", key, "of another type")


ATTACKS: dict[str, Attack] = {
    "entries that are none": events(b"junk", b"\xff\xfe", b"", b" ", b"-1 {}", b"1e9 {}"),
    "more of them than one take gives": events(*(b"junk" for _ in range(600))),
    "a number without end": events(b"9" * 400 + b' {"type": "test.paid"}'),
    "a number that was never given": events(b'999999999 {"type": "test.paid"}'),
    "events that are none": events(b"1 junk", b"1 [1]", b'1 {"type": 5, "id": 3}', b"1 \xff"),
    "an event that is not UTF-8": events(b'1 {"type": "test.paid", "data": "\xff\xfe"}'),
    "an event too deep to read": events(b'1 {"type": "test.paid", "data": ' + DEEP),
    "subscriptions of nobody": subscription(b"junk"),
    "subscriptions of too many": subscription(b"1:2:3"),
    "a run that is no text": subscription(b"\xff:1"),
    "a frame without end": subscription(b"1:" + b"9" * 30, b"[{}]"),
    "filters too deep to read": subscription(b"1:1", DEEP),
    "filters that are just too deep": subscription(b"1:1", b"[" * 3_000 + b"]" * 3_000),
    "filters of something else": subscription(b"1:1", b'[{"match": {"type": 5}, "correlate": [[1]]}]'),
    "a subscription to all that is none": subscription(b"1:-1", b'[{"match": 1}]', keys.WANTS),
    "subscriptions to all of another type": of_another_type(keys.WANTS),
    "subscriptions to one of another type": of_another_type(f"{keys.WANTS}test.other"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_foreign_data_on_the_bus_blocks_no_run(site: Site, name: str) -> None:
    await site.publish(workflow("hears", {"paid": listen()}))
    worker = await site.worker()
    uid = await site.call("hears")
    await listening(site, uid)
    await ATTACKS[name](site)
    await site.store.events.publish([cloud_event(1, "test.other"), cloud_event(2)])
    assert (await site.ended(uid)).status == "completed"

    async def emptied() -> bool:
        return not await site.store.call("EXISTS", keys.EVENTS)

    await until(emptied, name="an empty bus")
    assert worker.process.poll() is None


@pytest.mark.parametrize("key", [keys.WANTED, keys.INBOX])
async def test_a_run_with_foreign_keys_blocks_no_other_run(site: Site, key: str) -> None:
    await site.publish(workflow("hears", {"paid": listen()}))
    await site.worker()
    touched, other = await site.call("hears"), await site.call("hears")
    await listening(site, touched)
    await listening(site, other)
    await site.store.call("SET", key + touched, "of another type")
    await site.store.events.publish([cloud_event(1)])
    assert (await site.ended(other)).status == "completed"


async def test_invalid_events_are_removed_from_an_outbox(site: Site) -> None:
    async with SinkServer(deque()) as sink:
        await site.publish(says(1))
        junk = (b"junk", b'{"id": 5}', b'{"id": "1", "data": "\xff\xfe"}', b'{"data": ' + DEEP)
        entries = (entry(at=10**18), entry(at=-1), entry(detail=[1]), entry(detail="x"), entry(kind=5))
        await site.store.call("RPUSH", f"{keys.OUTBOX}audit", *junk, *entries)
        await site.worker(**sinks(audit=sink.setting()))
        await site.call("says")
        await until(lambda: len(sink.taken) == 1, name="the event behind what is none")


@pytest.mark.parametrize("key", [keys.SINKS, f"{keys.SINK}audit", f"{keys.OUTBOX}audit"])
async def test_a_foreign_value_in_place_of_a_sink_blocks_neither_runs_nor_other_sinks(
    site: Site, key: str
) -> None:
    async with SinkServer() as sink, SinkServer() as other:
        await site.publish(says(1))
        named = {"audit": sink.setting(lifecycle=True), "other": other.setting()}
        await site.store.call("SET", key, "of another type")
        await site.worker(**sinks(**named))
        assert (await site.ended(await site.call("says"))).status == "completed"
        await until(lambda: len(other.taken) == 1, name="the event at the other sink")
        assert (await site.ended(await site.call("says"))).status == "completed"
        await until(lambda: bool(sink.taken), name="events at the sink")


async def test_invalid_numbers_beside_an_outbox_block_no_event(site: Site) -> None:
    async with SinkServer() as sink:
        await site.publish(says(5))
        await site.store.call("HSET", f"{keys.SINK}audit", "gone", "x", "until", "y", "owner", b"\xff")
        await site.worker(**sinks(audit=sink.setting()))
        await site.call("says")

        async def counted() -> bool:
            return bool(await site.store.call("HGET", f"{keys.SINK}audit", "gone") == b"5")

        await until(counted, name="all events, each done with")
        assert [each["data"] for each in sink.taken] == [0, 1, 2, 3, 4]
