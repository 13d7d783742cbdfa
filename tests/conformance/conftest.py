"""Containers of conformance tests are run by a stand-in: no daemon, and no registry, is wanted."""

from __future__ import annotations

import pytest

from tests.effects.docker import install


@pytest.fixture(autouse=True)
def docker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path_factory.mktemp("docker"), monkeypatch)
