"""The state of a repository: commit, and whether the project's files differ from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from iogate.cli import git as git_command
from iogate.cli.revisions import git_state
from iogate.cli.revisions.git_state import GitState, read

DATA = Path(".iogate")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git answer later than a person waits for it: a busy machine may stall it."""
    monkeypatch.setattr(git_state, "LIMIT_S", 30.0)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ("git", *who, *arguments), cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder of a repository."""
    folder = tmp_path / "repo" / "shop"
    (folder / "apis.d").mkdir(parents=True)
    (folder / "apis.d/a.yaml").write_text("a: 1\n")
    git(folder.parent, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_a_clean_folder_has_its_commit(project: Path) -> None:
    assert read(project, DATA) == GitState(commit=git(project, "rev-parse", "HEAD"))


@pytest.mark.parametrize("path", ["apis.d/a.yaml", "apis.d/new.yaml"])
def test_changed_and_new_files_make_it_dirty(project: Path, path: str) -> None:
    (project / path).write_text("b: 2\n")
    assert read(project, DATA).dirty


def test_files_elsewhere_and_in_the_data_folder_do_not_count(project: Path) -> None:
    (project.parent / "other.txt").write_text("x")
    (project / DATA).mkdir()
    (project / DATA / "link_key").write_text("x")
    assert not read(project, DATA).dirty
    assert not read(project, project / DATA).dirty
    assert read(project, Path("/elsewhere")).dirty


def test_there_is_no_state_without_repository_commit_or_git(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert read(tmp_path, DATA) == GitState()
    git(tmp_path, "init", "--quiet", "empty")
    assert read(tmp_path / "empty", DATA) == GitState()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read(project, DATA) == GitState()


def test_a_slow_git_is_not_waited_for(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer to `status` the folder counts as dirty: nobody knows that it is clean."""
    slow, sleep = tmp_path / "git", shutil.which("sleep")
    slow.write_text(f'#!/bin/sh\ncase "$*" in *rev-parse*) echo {"c" * 40};; *) exec {sleep} 60;; esac\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    run = git_command.run

    def bounded(*arguments: str, folder: Path, limit_s: float) -> bytes:
        """Only `status` is bounded: a busy machine may need longer to start the other command."""
        return run(*arguments, folder=folder, limit_s=60 if "rev-parse" in arguments else limit_s)

    monkeypatch.setattr(git_command, "run", bounded)
    monkeypatch.setattr(git_state, "LIMIT_S", 0.2)
    assert read(project, DATA) == GitState(commit="c" * 40, dirty=True)
