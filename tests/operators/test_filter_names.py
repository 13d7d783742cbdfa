"""Names in filters of runs: mistyped ones are refused, and right ones never."""

from __future__ import annotations

import pytest

from iogate.errors import NotFound
from iogate.operators.runs import run_actions
from iogate.operators.runs.filter_names import require_known_names
from iogate.store import keys
from iogate.store.runs.run_index import RunFilter, encode_cursor
from iogate.store.store import Store
from tests.store.builders import accepted, api, commit, publish


async def test_a_workflow_that_is_not_live_is_known_by_its_runs(store: Store) -> None:
    await publish(store)
    await accepted(store.intake(), workflow="shop/former:1")
    for known in ("shop/former", "shop/former:1", "shop/former:2"):
        await require_known_names(store, RunFilter(workflow=known, caller="nobody"))
    with pytest.raises(NotFound, match="no live workflow shop/formr"):
        await require_known_names(store, RunFilter(workflow="shop/formr"))


async def test_a_workflow_is_known_by_its_statistics_when_its_runs_are_deleted(store: Store) -> None:
    await publish(store)
    uid = await accepted(store.intake(), workflow="shop/former:1")
    (claim,) = (await store.leases.take("worker", 1)).claims
    await store.leases.commit([commit(claim)])
    assert await store.runs.prune([uid], await store.now_ms() + 1) == 1
    for known in ("shop/former", "shop/former:2"):
        await require_known_names(store, RunFilter(workflow=known))


FORGED = [
    ("HSET", f"{keys.REVISION}1", "data", b"forged"),
    ("HSET", keys.LIVE, "seal", b"forged"),
    ("SET", keys.LIVE, b"of another type"),
]


@pytest.mark.parametrize("command", FORGED, ids=["revision", "record", "type"])
async def test_no_name_is_refused_if_a_live_revision_cannot_be_read(
    store: Store, command: tuple[str | bytes, ...]
) -> None:
    assert await publish(store) == 1
    await store.call(*command)
    await require_known_names(store, RunFilter(workflow="test/none"))
    await require_known_names(store, RunFilter(where=("none", "x")))


async def test_a_deleted_api_is_known(store: Store) -> None:
    await publish(store, api("orders/old"), api("orders/submit"))
    await publish(store)
    await require_known_names(store, RunFilter(api="orders/old"))
    with pytest.raises(NotFound, match="no API orders/none"):
        await require_known_names(store, RunFilter(api="orders/none"))


async def test_a_later_page_checks_no_names(store: Store) -> None:
    await publish(store)
    wanted = RunFilter(workflow="test/none")
    with pytest.raises(NotFound, match="no live workflow test/none"):
        await run_actions.listing(store, wanted)
    assert (await run_actions.listing(store, wanted, cursor=encode_cursor((1, "1"))))["runs"] == []


async def test_an_empty_store_knows_no_workflow(store: Store) -> None:
    with pytest.raises(NotFound, match="no live workflow test/none"):
        await require_known_names(store, RunFilter(workflow="test/none"))
