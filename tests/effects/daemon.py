"""Puts the stand-in for Docker on PATH. For tests of effects and of conformance."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

STAND_IN = Path(__file__).parent / "docker_stand_in.py"


def install(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of its daemon."""
    tool = place / "bin" / "docker"
    tool.parent.mkdir(parents=True)
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {STAND_IN} "$@"\n')
    tool.chmod(0o755)
    folder = place / "daemon"
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CONTAINER_STAND_IN", str(folder))
    return folder
