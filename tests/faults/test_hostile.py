"""Short forms of the campaigns with hostile clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.store.embedded.server import temporary_server
from tests.faults import fuzzed_credentials


@pytest.mark.timeout(120)
async def test_no_fuzzed_credential_method_path_or_header_lets_anybody_in(tmp_path: Path) -> None:
    """800 requests; `python -m tests.faults.fuzzed_credentials` sends 100,000."""
    with temporary_server() as server:
        found = await fuzzed_credentials.campaign(server.url, tmp_path, requests=800, seed=20261128)
    assert found.holds, found.table()
    assert found.requests == 800
