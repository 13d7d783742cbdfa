from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iogate.settings import Settings
from tests.keys import LINK_KEY
from tests.worker.site import Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from iogate.store.store import Store


@pytest.fixture
async def site(store: Store, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Start an empty store, and end its workers with the test."""
    settings = Settings(
        redis_url=redis_url,
        data_dir=tmp_path / ".iogate",
        allow_run=("script", "shell"),
        log_format="json",
        link_key=LINK_KEY,
    )
    made = Site(store=store, intake=store.intake(), settings=settings, folder=tmp_path)
    yield made
    await made.close()
