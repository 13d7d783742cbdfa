"""Short forms of the campaigns about keys and limits of calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.store.embedded.server import temporary_server
from tests.faults import duplicates


@pytest.mark.timeout(120)
async def test_concurrent_duplicates_through_several_gateways_give_one_run_per_key(tmp_path: Path) -> None:
    """Six keys; `python -m tests.faults.duplicates` does it with 1,000 keys and four gateways."""
    with temporary_server() as server:
        found = await duplicates.campaign(server.url, tmp_path, keys=6, duplicates=50, gateways=2)
    assert found.holds, found.figures()
