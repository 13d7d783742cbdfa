from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iogate.settings import Settings
from iogate.store.runs import intake
from tests.keys import LINK_KEY
from tests.worker.site import Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from iogate.store.store import Store

PATIENT_S = 15.0
"""Longest wait for the store of a call that a test makes."""


@pytest.fixture
async def site(
    store: Store, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """Start an empty store, and end its workers with the test; calls wait for a store on a busy machine."""
    monkeypatch.setattr(intake, "DEADLINE_S", PATIENT_S)
    settings = Settings(
        redis_url=redis_url,
        data_dir=tmp_path / ".iogate",
        allow_run=("script", "shell"),
        log_format="json",
        link_key=LINK_KEY,
    )
    made = Site(store=store, intake=store.intake(), settings=settings, folder=tmp_path)
    made.intake._connection._timeout_s = PATIENT_S
    yield made
    await made.close()
