"""Server above maxmemory: stored data can be read and deleted, and writes fail with an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from iogate.operators import schedules
from iogate.operators.activity import recorded, target
from iogate.operators.roles import command_actor
from iogate.store import keys
from iogate.store.connection.connection import StoreFull
from iogate.store.runs.intake import Refusal
from iogate.store.runs.run_index import RunFilter
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish, request
from tests.store.revisions.test_due_schedules import EVERY
from tests.store.revisions.test_due_schedules import publish as publish_schedule


@pytest.fixture
async def ended(each_store: Store) -> AsyncIterator[list[str]]:
    """Return the uids of a completed, a faulted and a pending run; from then on the server is full."""
    await publish(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake, input=b'"%s"' % (b"x" * 5_000)) for _ in range(2)]
    claims = (await each_store.leases.take("w", 2)).claims
    await each_store.leases.commit([commit(claims[0], output=b"1")])
    await each_store.leases.commit([commit(claims[1], status="faulted", error=b'{"title":"t"}', head=b"h")])
    uids.append(await accepted(intake))
    await each_store.call("CONFIG", "SET", "maxmemory", 1)
    yield uids
    await each_store.call("CONFIG", "SET", "maxmemory", 0)


async def test_everything_can_be_read(each_store: Store, ended: list[str]) -> None:
    shown = [await each_store.runs.show(uid) for uid in ended]
    assert [run and run.status for run in shown] == ["completed", "faulted", "pending"]
    assert [run.uid for run in await each_store.runs.list()] == ended[::-1]
    state = await each_store.runs.load_state(ended[1])
    assert state is not None
    assert state.head == b"h"
    assert (await each_store.runs.counts())["faulted"] == 1
    assert [await each_store.runs.journal(uid) for uid in ended[1:]] == [[], []]


async def test_the_error_of_a_write_names_the_full_store_and_the_remedy(
    each_store: Store, ended: list[str]
) -> None:
    with pytest.raises(StoreFull) as caught:
        await each_store.runs.cancel(ended[2], "x" * 100)
    assert caught.value.code == "IOG617"
    assert caught.value.hint == (
        "delete ended runs with `iogate runs prune`, or raise the server's maxmemory"
    )
    with pytest.raises(StoreFull):
        await each_store.call("SET", keys.UPKEEP, "1")
    refused = await each_store.intake().accept(request(each_store.intake()))
    assert refused == Refusal(reason="memory", retry_after_s=keys.FULL_S)


async def test_ended_runs_can_be_deleted_and_leave_nothing(each_store: Store, ended: list[str]) -> None:
    assert await each_store.runs.prune(ended, 1) == 0
    soon = 1_000 * (1 + int((await each_store.call("TIME"))[0]))
    found = [run.uid async for page in each_store.runs.ended_before(soon, RunFilter()) for run in page]
    assert sorted(found) == ended[:2]
    assert await each_store.runs.prune(ended, soon) == 2
    assert await each_store.runs.prune(ended, soon) == 0
    left = [key.decode() for uid in ended[:2] for key in await each_store.call("KEYS", f"*{uid}*")]
    assert left == []
    assert [run.uid for run in await each_store.runs.list()] == ended[2:]


async def test_runs_to_prune_are_chosen_by_api_status_and_end(each_store: Store, ended: list[str]) -> None:
    soon = 1_000 * (1 + int((await each_store.call("TIME"))[0]))

    async def chosen(moment_ms: int, **filters: Any) -> list[str]:
        pages = each_store.runs.ended_before(moment_ms, RunFilter(**filters))
        return [run.uid async for page in pages for run in page]

    assert await chosen(soon, statuses=["faulted", "pending"]) == [ended[1]]
    assert await chosen(soon, api="orders/other") == []
    completed = await each_store.runs.show(ended[0])
    assert completed is not None
    assert completed.ended_at_ms is not None
    assert ended[0] not in await chosen(completed.ended_at_ms)


async def test_a_schedule_can_be_disabled(each_store: Store) -> None:
    """Without a record in the activity, which has no room."""
    await publish_schedule(each_store, EVERY)
    actor, names = command_actor("ada"), ["shop/report"]
    await each_store.call("CONFIG", "SET", "maxmemory", 1)
    try:
        about = target("schedule", names)
        async with recorded(each_store, actor, "schedules.disable", about, frees_memory=True) as record:
            await schedules.disable(each_store, names, author=actor.name)
    finally:
        await each_store.call("CONFIG", "SET", "maxmemory", 0)
    assert record.number is None
    (row,) = (await schedules.list_all(each_store))["schedules"]
    assert row["disabled"]["author"] == "ada"
