"""Short form of `python -m bench index`: it measures lists of many runs, and what their index takes."""

from __future__ import annotations

from bench import index
from iogate.store.store import Store


async def test_lists_of_many_runs_are_measured(store: Store) -> None:
    found = await index.measure(store, runs=1_200, first=400, rounds=4)
    assert set(found) >= {"p95At400", "p95At1200", "rareMs", "p99ScriptMs"}
    assert found["bytesPerEntry"] < 150
