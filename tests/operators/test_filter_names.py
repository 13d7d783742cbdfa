"""Names in filters of runs: mistyped ones are refused, and right ones never."""

from __future__ import annotations

import pytest

from iogate.errors import NotFound
from iogate.operators.runs.filter_names import require_known_names
from iogate.store import keys
from iogate.store.runs.run_index import RunFilter
from iogate.store.store import Store
from tests.store.builders import accepted, publish


async def test_a_workflow_that_is_not_live_is_known_by_its_runs(store: Store) -> None:
    await publish(store)
    await accepted(store.intake(), workflow="shop/former:1")
    for known in ("shop/former", "shop/former:1"):
        await require_known_names(store, RunFilter(workflow=known, caller="nobody"))
    with pytest.raises(NotFound, match="no live workflow shop/formr"):
        await require_known_names(store, RunFilter(workflow="shop/formr"))


async def test_no_workflow_is_refused_if_a_live_revision_cannot_be_read(store: Store) -> None:
    number = await publish(store)
    await store.call("HSET", f"{keys.REVISION}{number}", "data", b"forged")
    await require_known_names(store, RunFilter(workflow="test/none"))


async def test_an_empty_store_knows_no_workflow(store: Store) -> None:
    with pytest.raises(NotFound, match="no live workflow test/none"):
        await require_known_names(store, RunFilter(workflow="test/none"))
