"""The record of changes by operators is bounded by number and age, and numbered in the order of time."""

from __future__ import annotations

import pytest

from iogate.store import keys
from iogate.store.connection import scripts
from iogate.store.operators.activity import Beginning, End, Entry
from iogate.store.store import Store


def beginning(action: str) -> Beginning:
    return Beginning(actor="ada", role="admin", via="http", origin="h", action=action)


async def entries(store: Store) -> list[Entry]:
    return [each async for each in store.activity.newest_first()]


async def test_entries_are_numbered_and_have_their_outcomes(store: Store) -> None:
    assert await entries(store) == []
    first = await store.activity.begin(beginning("a"))
    second = await store.activity.begin(beginning("b"))
    await store.activity.end(first, End(outcome="done", message="m", revision=3))
    newest, oldest = await entries(store)
    assert (newest.number, newest.begun.action, newest.end) == (second, "b", None)
    assert (oldest.number, oldest.end) == (first, End(outcome="done", message="m", revision=3))
    assert oldest.at_ms <= newest.at_ms
    assert oldest.ended_at_ms is not None
    assert oldest.ended_at_ms >= oldest.at_ms


async def test_the_oldest_entries_are_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(keys.LUA, "activity_kept", 500)
    scripts.script.cache_clear()
    try:
        for number in range(1, 621):
            begun = await store.activity.begin(beginning(str(number)))
            await store.activity.end(begun, End(outcome="done"))
    finally:
        monkeypatch.undo()
        scripts.script.cache_clear()
    found = await entries(store)
    assert [each.begun.action for each in found] == [str(number) for number in range(620, 120, -1)]
    assert await store.call("HLEN", keys.ACTIVITY) == 2 * 500 + 2
    await store.activity.end(1, End(outcome="done"))
    assert len(await entries(store)) == 500, "the outcome of a dropped entry is dropped, too"


async def test_entries_expire_with_age(store: Store) -> None:
    old = await store.activity.begin(beginning("old"))
    text: bytes = await store.call("HGET", keys.ACTIVITY, old)
    at, _, rest = text.partition(b" ")
    await store.call("HSET", keys.ACTIVITY, old, b"%d %s" % (int(at) - keys.ACTIVITY_MS - 1, rest))
    await store.activity.begin(beginning("new"))
    assert [each.begun.action for each in await entries(store)] == ["new"]
    assert 0 < await store.call("PTTL", keys.ACTIVITY) <= keys.ACTIVITY_MS


@pytest.mark.parametrize("forged", [b"x", b"1 {}", b"1 []", b"\xff", b"99 {"])
async def test_a_forged_entry_hides_no_other(store: Store, forged: bytes) -> None:
    await store.activity.begin(beginning("a"))
    await store.activity.begin(beginning("b"))
    await store.call("HSET", keys.ACTIVITY, 2, forged)
    assert [each.begun.action for each in await entries(store)] == ["a"]
