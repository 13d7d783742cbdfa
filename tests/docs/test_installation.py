"""The package works from its wheel, without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


def ran(*command: str, cwd: Path) -> str:
    """Standard output of a command that has to succeed, without anything that leads to the checkout."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("IOGATE_", "PYTHON"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel; what it depends on is borrowed from the one of the tests."""
    root = tmp_path_factory.mktemp("installed")
    ran(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(root / "dist"), str(ROOT)),
        cwd=root,
    )
    (wheel,) = (root / "dist").glob("iogate-*-py3-none-any.whl")
    ran(sys.executable, "-m", "venv", "--without-pip", str(root / "venv"), cwd=root)
    python = str(root / "venv/bin/python")
    ran(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--quiet", "--no-deps", "--no-index", str(wheel)),
        cwd=root,
    )
    (site,) = (root / "venv/lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return root


def test_the_wheel_holds_all_that_a_project_needs(installed: Path) -> None:
    iogate = str(installed / "venv/bin/iogate")
    where = ran(
        str(installed / "venv/bin/python"), "-c", "import iogate; print(iogate.__file__)", cwd=installed
    )
    assert Path(where.strip()).is_relative_to(installed / "venv")
    project = installed / "project"
    project.mkdir()
    ran(iogate, "init", cwd=project)
    ran(iogate, "validate", cwd=project)
    assert ran(iogate, "test", cwd=project).count("passed") == 2
    assert "Unknown key" in ran(iogate, "explain", "IOG101", cwd=project), "the explanations are in the wheel"
    # A run needs the Lua scripts, a store and a worker.
    greeted = ran(iogate, "run", "workflows.d/hello.yaml", "--input", '{"name": "Ada"}', cwd=project)
    assert greeted == '{"greeting": "Hello, Ada!"}\n'
