"""Short forms of the campaigns with hostile clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.store.embedded.server import temporary_server
from tests.faults import fuzzed_credentials, holds, hostile_http


@pytest.mark.timeout(240)
async def test_no_fuzzed_credential_method_path_or_header_lets_anybody_in(tmp_path: Path) -> None:
    """400 requests; `python -m tests.faults.fuzzed_credentials` sends 100,000."""
    with temporary_server() as server:
        found = await fuzzed_credentials.campaign(server.url, tmp_path, requests=400, seed=20261128)
    assert found.holds, found.table()
    assert found.requests == 400


@pytest.mark.timeout(240)
async def test_slow_bodies_across_a_hold_and_a_disable_are_refused_or_run_exactly_once(
    tmp_path: Path,
) -> None:
    """One round with 20 callers; `python -m tests.faults.holds` does 20 with 100, by the command line."""
    with temporary_server() as server:
        found = await holds.campaign(
            server.url, tmp_path, rounds=1, callers=20, slowest_s=3.0, gateways=1, phase_s=0.4, commands=False
        )
    assert found.holds, found.table()
    assert all(found.across[each] for each in ("hold", "disable", "enable", "all")), found.table()


@pytest.mark.timeout(240)
async def test_hostile_connections_and_json_leave_the_gateway_alive_and_small(tmp_path: Path) -> None:
    """Five attacks of half a second; `python -m tests.faults.hostile_http` measures thirteen for minutes."""
    names = ["trickled heads", "large heads", "slow streams", "rapid reset", "endless headers"]
    effort = hostile_http.Effort(seconds=0.25, windows=1, clients=10, apart=False)
    with temporary_server() as server:
        found = await hostile_http.campaign(server.url, tmp_path, names=names, effort=effort)
    assert found.survives, found.table()
    assert found.texts["accepted 202"] > 60, found.table()
    assert found.texts["refused 400"] > 250, found.table()
    assert [each.name for each in found.trials] == names
