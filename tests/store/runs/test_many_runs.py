"""Short form of `python -m bench index`: lists of many runs answer quickly, whatever their filter."""

from __future__ import annotations

from bench import index
from iogate.store.store import Store


async def test_pages_of_many_runs_are_within_their_limits(store: Store, patient_intake: None) -> None:
    found = await index.measure(store, runs=1_200, first=400, rounds=4)
    assert index.over_limits(found) == []
    assert set(found) >= {"p95At400", "p95At1200", "rareMs", "p99ScriptMs"}
    assert found["bytesPerEntry"] < 150
