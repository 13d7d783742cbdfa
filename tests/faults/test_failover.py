"""The short form of `python -m tests.faults.failover`."""

from __future__ import annotations

import pytest

from tests.faults.failover import campaign


@pytest.mark.timeout(240)
async def test_no_acknowledged_call_is_lost_when_the_primary_of_a_replicated_store_crashes() -> None:
    outcome = await campaign("replicated", "crash", 1, rps=50, seconds=0.5)
    assert outcome.acknowledged, outcome.row()
    assert (outcome.lost, outcome.unfinished) == (0, 0), outcome.row()
