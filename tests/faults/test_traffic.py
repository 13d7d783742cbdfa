"""Short forms of the campaigns about keys and limits of calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.store.embedded.server import temporary_server
from tests.faults import duplicates, keyed_calls, overload

STALL_S = 0.5
"""Pause of workers, or of a gateway, that a busy machine has stalled."""


@pytest.mark.timeout(240)
async def test_concurrent_duplicates_through_several_gateways_give_one_run_per_key(tmp_path: Path) -> None:
    """Six keys; `python -m tests.faults.duplicates` does it with 1,000 keys and four gateways."""
    with temporary_server() as server:
        found = await duplicates.campaign(server.url, tmp_path, keys=6, duplicates=50, gateways=2)
    assert found.holds, found.figures()


@pytest.mark.timeout(240)
async def test_a_busy_key_does_not_delay_another_and_coalesced_calls_become_one_run(tmp_path: Path) -> None:
    """60 calls and 300 runs; `python -m tests.faults.keyed_calls` does it with 1,000 and 10,000."""
    with temporary_server() as server:
        found = await keyed_calls.campaign(
            server.url, tmp_path, calls=60, queued=300, gateways=1, workers=1, window_s=60.0, hasten=True
        )
    assert found.holds(limit_s=25.0), found.table()


@pytest.mark.timeout(240)
async def test_an_overload_is_refused_with_a_time_at_which_the_call_is_accepted(tmp_path: Path) -> None:
    """For 2.5 s; `python -m tests.faults.overload` does it for a minute.

    The times are right for workers that keep their rate and for calls that arrive in time, so that it is done
    again if the machine stalls either.
    """
    for _ in range(3):
        with temporary_server() as server:
            found = await overload.campaign(server.url, tmp_path, seconds=2.5, per_s=10.0, queued=8)
        if found.holds or found.longest_pause_s < STALL_S:
            break
    assert found.holds, found.table()
