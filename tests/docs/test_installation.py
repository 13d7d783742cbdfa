"""The package works from its wheel, without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


def ran(*command: str, cwd: Path, timeout_s: float = 120) -> str:
    """Standard output of a command that has to succeed, without anything that leads to the checkout."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("IOGATE_", "PYTHON"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dist")
    ran(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(root), str(ROOT)),
        cwd=root,
    )
    (found,) = root.glob("iogate-*-py3-none-any.whl")
    return found


def install(python: Path, wheel: Path) -> None:
    """Install the wheel, without its dependencies, into the environment of this Python."""
    ran(
        *(sys.executable, "-m", "pip", "--python", str(python), "install"),
        *("--quiet", "--no-deps", "--no-index", str(wheel)),
        cwd=wheel.parent,
    )


def smoke_test(environment: Path, folder: Path) -> None:
    """Create, validate and test a project with the installed command, and execute a workflow."""
    iogate = str(environment / "bin/iogate")
    where = ran(str(environment / "bin/python"), "-c", "import iogate; print(iogate.__file__)", cwd=folder)
    assert Path(where.strip()).is_relative_to(environment)
    project = folder / "project"
    project.mkdir()
    ran(iogate, "init", cwd=project)
    ran(iogate, "validate", cwd=project)
    assert ran(iogate, "test", cwd=project).count("passed") == 2
    assert "Unknown key" in ran(iogate, "explain", "IOG101", cwd=project), "the explanations are in the wheel"
    pages = (
        "from iogate.gateway.console import static_files;"
        "from iogate.gateway.console.rendering import environment as of;"
        "print([of().get_template(name).name for name in of().list_templates()]);"
        "print(static_files.StaticFiles().urls)"
    )
    shown = ran(str(environment / "bin/python"), "-c", pages, cwd=project)
    assert "run.html" in shown, "the pages of the console are in the wheel"
    assert "console.css" in shown
    # A run needs the Lua scripts, a store and a worker.
    greeted = ran(iogate, "run", "workflows.d/hello.yaml", "--input", '{"name": "Ada"}', cwd=project)
    assert greeted == '{"greeting": "Hello, Ada!"}\n'


def borrowing(wheel: Path, folder: Path) -> Path:
    """Return a virtual environment with the wheel, which borrows the dependencies of the one of the tests."""
    environment = folder / "venv"
    ran(sys.executable, "-m", "venv", "--without-pip", str(environment), cwd=folder)
    install(environment / "bin/python", wheel)
    (site,) = (environment / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return environment


def other_pythons() -> dict[tuple[int, int], str]:
    """Return the oldest and the newest supported Python of this machine, without this one, by version."""
    names = [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python")]
    names += [found for minor in range(11, 15) if (found := shutil.which(f"python3.{minor}"))]
    versions = {sys.version_info[:2]: sys.executable}
    for name in names:
        code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
        asked = subprocess.run([name, "-c", code], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            major, minor = map(int, asked.stdout.split())
            versions.setdefault((major, minor), name)
    supported = [version for version in versions if (3, 11) <= version < (3, 15)]
    ends = {min(supported), max(supported)} - {sys.version_info[:2]}
    return {version: versions[version] for version in ends}


def dependencies(name: str = "iogate", seen: set[str] | None = None) -> set[str]:
    """Return the names of all packages that this one needs on this machine, itself included."""
    seen = set() if seen is None else seen
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name not in seen:
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return seen  # only on other systems, or for another version of Python
        seen.add(name)
        for each in required:
            if "extra ==" not in each or "hiredis" in each:
                dependencies(re.split(r"[^\w.-]", each, maxsplit=1)[0], seen)
    return seen


def locked(names: set[str]) -> Iterator[str]:
    """Yield the entries of the lock file for these packages."""
    for entry in re.findall(r"(?m)^\S.*(?:\n\s+.*)*", (ROOT / "requirements.lock").read_text()):
        if re.split(r"[=\[ ]", entry, maxsplit=1)[0].lower().replace("_", "-") in names:
            yield entry


def complete(python: str, wheel: Path, folder: Path) -> Path:
    """Return a virtual environment of this Python with the wheel and the locked dependencies."""
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(locked(dependencies() - {"iogate"})))
    environment = folder / "venv"
    ran(python, "-m", "venv", "--without-pip", str(environment), cwd=folder)
    ran(
        *(sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install", "--quiet"),
        *("--no-compile", "--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)),
        cwd=folder,
        timeout_s=500,
    )
    install(environment / "bin/python", wheel)
    return environment


@pytest.mark.timeout(600)
def test_the_wheel_works_with_the_oldest_and_the_newest_python(wheel: Path, tmp_path: Path) -> None:
    """With this Python on a machine that has no other one."""
    others = other_pythons()
    for version, python in others.items():
        folder = tmp_path / f"{version[0]}.{version[1]}"
        folder.mkdir()
        smoke_test(complete(python, wheel, folder), folder)
    if not others:
        smoke_test(borrowing(wheel, tmp_path), tmp_path)
