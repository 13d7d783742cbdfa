"""Live journals: each stream gets each entry once; one reader serves all streams of a run."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from iogate.errors import Unreachable
from iogate.store import keys
from iogate.store.runs import journal_followers
from iogate.store.runs.leases import Claim
from iogate.store.store import Store, open_store
from tests.keys import RING
from tests.store.builders import accepted, commit, publish, scripted, until

Seen = list[tuple[int, bytes]]


class Writer:
    """Commits entries to the journal of a run as its worker does."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self._store = store
        self._claim = claim
        self._seq = claim.seq
        self.uid = claim.uid

    async def write(self, *entries: bytes, move: str = "keep") -> None:
        self._seq += 1
        (verdict,) = await self._store.leases.commit(
            [commit(self._claim, move, seq=self._seq, journal=list(entries))]
        )
        assert verdict.applied


async def writers(store: Store, count: int) -> list[Writer]:
    await publish(store)
    intake = store.intake()
    for _ in range(count):
        await accepted(intake)
    claims = (await store.leases.take("w", count)).claims
    assert len(claims) == count
    return [Writer(store, claim) for claim in claims]


@contextlib.asynccontextmanager
async def streams(store: Store, uids: list[str], after: int = 0) -> AsyncIterator[list[Seen]]:
    """Start streams that collect their entries, and wait until all have joined."""
    seen: list[Seen] = [[] for _ in uids]

    async def collect(uid: str, into: Seen) -> None:
        async for number, entry in store.runs.follow(uid, after):
            into.append((number, entry))
        into.append((0, b"end"))

    tasks = [asyncio.create_task(collect(*each)) for each in zip(uids, seen, strict=True)]

    async def joined() -> bool:
        joining = store.runs.followers.streams()
        return all(joining.get(uid, 0) >= count for uid, count in Counter(uids).items())

    try:
        await until(joined)
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    reads: Counter[str] = Counter()
    read = journal_followers.read_page

    async def counted(line: Any, uid: str, *more: Any, **named: Any) -> journal_followers.Page:
        reads[uid] += 1
        return await read(line, uid, *more, **named)

    monkeypatch.setattr(journal_followers, "read_page", counted)
    return reads


async def subscribed(store: Store) -> int:
    return len(await store.call("PUBSUB", "CHANNELS", f"{keys.JOURNAL_CHANNEL}*"))


async def test_many_streams_of_many_runs_get_each_entry_once_and_in_order(each_store: Store) -> None:
    writing = await writers(each_store, 20)
    for writer in writing:
        await writer.write(b"1", b"2")
    expected = [(n, b"%d" % n) for n in range(1, 13)] + [(0, b"end")]
    # The last run has many streams, those before it have one each.
    uids = [writer.uid for writer in writing] + [writing[-1].uid] * 50
    async with streams(each_store, uids) as seen:
        for n in range(3, 11):
            await asyncio.gather(*(writer.write(b"%d" % n) for writer in writing))
        await asyncio.gather(*(writer.write(b"11", b"12", move="end") for writer in writing))

        async def complete() -> bool:
            return all(len(each) == len(expected) for each in seen)

        await until(complete)
        assert all(each == expected for each in seen)
    assert len(each_store.runs.followers) == 0


async def test_one_read_serves_all_streams_of_a_run_and_idle_ones_cost_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_followers, "POLL_S", 600.0)
    reads = count_reads(monkeypatch)
    busy, idle = await writers(store, 2)
    async with streams(store, [busy.uid] * 100 + [idle.uid] * 100) as seen:

        async def settled() -> bool:
            return await subscribed(store) == 2 and min(reads[busy.uid], reads[idle.uid]) >= 2

        await until(settled)
        reads.clear()
        for n in range(1, 6):
            await busy.write(b"%d" % n)

            async def delivered(n: int = n) -> bool:
                return all(len(each) == n for each in seen[:100])

            await until(delivered)
    assert 5 <= reads[busy.uid] <= 10
    assert reads[idle.uid] == 0


async def test_a_stream_continues_after_the_given_entry(each_store: Store) -> None:
    (writer,) = await writers(each_store, 1)
    await writer.write(*(b"%d" % n for n in range(1, 301)))
    async with streams(each_store, [writer.uid], 0) as first, streams(each_store, [writer.uid]) as _:
        third = each_store.runs.follow(writer.uid, 297)
        beyond = each_store.runs.follow(writer.uid, 301)
        assert [(await anext(third))[0] for _ in range(3)] == [298, 299, 300]
        waiting = asyncio.ensure_future(anext(beyond))
        await writer.write(b"301", b"302", move="end")
        assert await waiting == (302, b"302")
        assert [entry async for entry in third] == [(301, b"301"), (302, b"302")]
        assert [entry async for entry in beyond] == []

        async def complete() -> bool:
            return len(first[0]) == 303

        await until(complete)
        assert [number for number, _ in first[0]] == [*range(1, 303), 0]


async def test_a_slow_stream_delays_no_other_and_misses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_followers, "BUFFER_BYTES", 20)
    (writer,) = await writers(store, 1)
    await writer.write(b"1")
    slow = store.runs.follow(writer.uid)
    assert await anext(slow) == (1, b"1")
    async with streams(store, [writer.uid] * 3) as seen:
        for n in range(2, 250):
            await writer.write(b"%d" % n)

        async def delivered() -> bool:
            return all(len(each) == 249 for each in seen)

        await until(delivered)
        assert [(await anext(slow))[0] for _ in range(100)] == list(range(2, 102))
        await writer.write(b"250", move="end")
        assert [number async for number, _ in slow] == list(range(102, 251))


async def test_a_closed_stream_leaves_no_follower(store: Store) -> None:
    writing = await writers(store, 10)
    for writer in writing:
        await writer.write(b"1")
    for _ in range(2):
        async with streams(store, [writer.uid for writer in writing] * 2):
            assert len(store.runs.followers) == 10

            async def all_subscribed() -> bool:
                return await subscribed(store) == 10

            await until(all_subscribed)
        assert len(store.runs.followers) == 0

        async def none_subscribed() -> bool:
            return await subscribed(store) == 0

        await until(none_subscribed)


async def test_a_stream_that_closes_while_subscribing_leaves_no_subscription(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before: its channel stayed subscribed until the process ended."""
    monkeypatch.setattr(
        "iogate.store.connection.pubsub.PubSub._dispatch", lambda *_: None
    )  # nothing is confirmed
    monkeypatch.setattr("iogate.store.connection.pubsub.CONNECT_S", 60.0)
    channel = f"{keys.JOURNAL_CHANNEL}1"

    async def listen() -> None:
        async with store._pubsub.listening(channel, print, passing=True):
            pass

    task = asyncio.create_task(listen())
    await until(lambda: _is_subscribed(store, 1))
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: _is_subscribed(store, 0))


async def test_channels_wanted_while_the_subscription_connects_are_subscribed_to(store: Store) -> None:
    """Before: their messages never came, and a slow poll had to notice each entry."""
    leave = asyncio.Event()

    async def listen(number: int) -> None:
        async with store._pubsub.listening(f"{keys.JOURNAL_CHANNEL}{number}", print, passing=True):
            await leave.wait()

    tasks = []
    for number in range(40):
        tasks.append(asyncio.create_task(listen(number)))
        await asyncio.sleep(0)
    await until(lambda: _is_subscribed(store, 40))
    leave.set()
    await asyncio.gather(*tasks)
    await until(lambda: _is_subscribed(store, 0))


async def _is_subscribed(store: Store, channels: int) -> bool:
    return await subscribed(store) == channels


async def test_lost_messages_are_healed_by_a_slow_poll(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_followers, "POLL_S", 0.1)
    monkeypatch.setattr("iogate.store.connection.pubsub.PubSub._dispatch", lambda *_: None)
    monkeypatch.setattr("iogate.store.connection.pubsub.CONNECT_S", 0.05)
    (writer,) = await writers(store, 1)
    async with streams(store, [writer.uid] * 5) as seen:
        await writer.write(b"1")

        async def delivered(count: int) -> bool:
            return all(len(each) == count for each in seen)

        await until(lambda: delivered(1))
        await writer.write(b"2", move="end")
        await until(lambda: delivered(3))
        assert seen == [[(1, b"1"), (2, b"2"), (0, b"end")]] * 5


async def test_a_folded_run_is_followed_too(each_store: Store) -> None:
    (writer,) = await writers(each_store, 1)
    await writer.write(b"1", b"2", move="park")
    assert await each_store.call("EXISTS", keys.PARKED + writer.uid)
    follow = each_store.runs.follow(writer.uid, 1)
    assert await anext(follow) == (2, b"2")
    ending = asyncio.ensure_future(anext(follow))
    assert await each_store.runs.cancel(writer.uid) == "asked"
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, "end", "cancelled", journal=[b"3"])])
    assert await ending == (3, b"3")
    assert [entry async for entry in follow] == []


async def test_a_stream_of_an_unknown_run_ends_at_once(store: Store) -> None:
    assert [entry async for entry in store.runs.follow("1")] == []


async def test_an_unavailable_store_ends_each_stream_with_an_error(redis_url: str, store: Store) -> None:
    (writer,) = await writers(store, 1)
    await writer.write(b"1")
    other = await open_store(redis_url, keyring=RING)
    follow = other.runs.follow(writer.uid)
    assert await anext(follow) == (1, b"1")
    waiting = asyncio.ensure_future(anext(follow))
    await asyncio.sleep(0)
    await other.close()
    with pytest.raises(Unreachable):
        await waiting


@pytest.mark.parametrize("move", ["keep", "end"])
async def test_a_page_is_bounded_also_of_a_run_that_has_ended(store: Store, move: str) -> None:
    """A stream whose client reads slowly holds its page."""
    (writer,) = await writers(store, 1)
    expected = [b"%d" % number for number in range(1, 251)]
    await writer.write(*expected, move=move)
    pages = store.runs.followers.pages(writer.uid)
    found: list[bytes] = []
    while len(found) < len(expected):
        first, entries = await anext(pages)
        assert first == len(found) + 1
        assert len(entries) <= journal_followers.PAGE
        found += entries
    assert found == expected
    await pages.aclose()


@pytest.mark.parametrize("kept", [1_000, 40])
@pytest.mark.parametrize("move", ["keep", "park", "end"])
async def test_a_journal_is_read_from_an_entry_on(each_store: Store, move: str, kept: int) -> None:
    with scripted(journal_entries=kept):
        (writer,) = await writers(each_store, 1)
        entries = [b'{"n":%d,"text":"%s"}' % (n, b"x" * 60) for n in range(1, 101)]
        await writer.write(*entries[:60])
        await writer.write(*entries[60:], move=move)
        oldest = max(0, len(entries) - kept)
        for after in (0, 1, 50, 75, 99, 100, 101):
            page = await each_store.runs.journal_page(writer.uid, after, limit=7)
            first = max(after, oldest) + 1
            assert page.entries == entries[first - 1 : first + 6]
            assert (page.newest, page.live) == (100, move != "end")
            assert page.first == first or not page.entries
    assert await each_store.runs.journal(writer.uid) == entries[oldest:]


async def test_a_journal_without_a_run_or_without_entries_is_empty(each_store: Store) -> None:
    assert await each_store.runs.journal_page("7", 3) == journal_followers.Page(4, [], 3, live=False)
    (writer,) = await writers(each_store, 1)
    await writer.write(move="end")
    assert await each_store.runs.journal_page(writer.uid) == journal_followers.Page(1, [], 0, live=False)
