"""Lists: each page costs the same, and an incomplete list returns where it stopped."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.store import keys
from iogate.store.runs import run_index
from iogate.store.store import Store
from tests.store.builders import accepted, api, publish

RARE = api("orders/rare")


async def many(store: Store, count: int) -> tuple[list[str], list[str]]:
    """Accept three runs of a rare API, and `count` later ones of another."""
    await publish(store, api(), RARE)
    intake = store.intake()
    rare = [await accepted(intake, RARE) for _ in range(3)]
    return rare, [await accepted(intake) for _ in range(count)]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_index, "PAGE", 10)
    monkeypatch.setattr(run_index, "SCRIPT", 3)


@pytest.mark.parametrize("at_once", [False, True])
async def test_each_page_begins_where_the_last_one_ended(
    each_store: Store, monkeypatch: pytest.MonkeyPatch, *, at_once: bool
) -> None:
    """By the time of its last run, not by a count; also if all were accepted in one millisecond."""
    rare, others = await many(each_store, 97)
    for number, uid in enumerate([*rare, *others]):
        await each_store.call("ZADD", f"{keys.INDEX}pending", 1 if at_once else number, uid)
    ask = each_store.runs._connection.calls
    skipped: list[int] = []

    async def calls(commands: Any) -> Any:
        skipped.extend(each[-2] for each in commands if each[0] == "ZREVRANGEBYSCORE")
        return await ask(commands)

    monkeypatch.setattr(each_store.runs._connection, "calls", calls)
    assert [run.uid for run in await each_store.runs.list(api=RARE.id)] == rare[::-1]
    assert len(await each_store.runs.list(limit=1_000)) == 100
    if not at_once:
        assert max(skipped) == 1  # the last one of the page before


async def test_a_list_that_stops_early_returns_how_far_it_read(each_store: Store) -> None:
    rare, others = await many(each_store, 40)
    found = await each_store.runs.search(api=RARE.id, most=20)
    assert found.runs == []
    assert found.looked_back_to_ms is not None
    created = [(await each_store.runs.show(uid)).created_at_ms for uid in others]  # type: ignore[union-attr]
    assert min(created) <= found.looked_back_to_ms <= max(created)
    found = await each_store.runs.search(api=RARE.id, until_ms=min(created), most=30)
    assert [run.uid for run in found.runs] == rare[::-1]
    found = await each_store.runs.search(limit=2, most=20)
    assert len(found.runs) == 2


async def test_a_complete_list_returns_no_such_time(each_store: Store) -> None:
    await many(each_store, 5)
    assert (await each_store.runs.search(api="no/such")).looked_back_to_ms is None
    assert len((await each_store.runs.search()).runs) == 8
