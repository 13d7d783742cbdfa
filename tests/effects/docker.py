"""Puts the fake Docker on PATH, for tests of effects and of conformance."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

FAKE_DOCKER = Path(__file__).parent / "fake_docker.py"


def install(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of its daemon."""
    tool = place / "bin" / "docker"
    tool.parent.mkdir(parents=True)
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FAKE_DOCKER} "$@"\n')
    tool.chmod(0o755)
    folder = place / "daemon"
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CONTAINER_FAKE_DOCKER", str(folder))
    return folder
