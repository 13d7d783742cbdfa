"""Fixtures of the tests of the store."""

from __future__ import annotations

import pytest

from iogate.store.runs import intake


@pytest.fixture
def patient_intake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls wait for the server of a busy machine, in tests that do not test the deadline."""
    monkeypatch.setattr(intake, "DEADLINE_S", 15.0)
