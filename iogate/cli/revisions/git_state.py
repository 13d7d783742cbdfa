"""State of the git repository around the project's folder, for the origin of a revision.

Used by `publication`. Invariant: without git, without a repository, or if git is slow or fails, a command
continues, and the state is empty.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 2.0
"""Time limit of each command of git."""
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GitState:
    """Commit of a folder, and whether its files differ from that."""

    commit: str = ""
    """Empty outside a repository."""
    dirty: bool = False
    """Whether files of the folder differ from the commit, or git did not tell in time."""


def read(folder: Path, data_dir: Path) -> GitState:
    """Return the state of the repository that contains `folder`; files in `data_dir` do not count."""
    git = shutil.which("git")
    if git is None:
        return GitState()
    commit = (_output((git, "rev-parse", "--verify", "--quiet", "HEAD"), folder) or "").strip()
    if not commit:
        return GitState()
    paths = ["."]
    if (data_dir := Path(os.path.relpath(folder / data_dir, folder))).parts[:1] != ("..",):
        paths.append(f":(exclude,literal){data_dir.as_posix()}")
    # fsmonitor would start a program that the configuration of the repository names.
    status = _output((git, "-c", "core.fsmonitor=false", "status", "--porcelain", "--", *paths), folder)
    return GitState(commit=commit, dirty=status is None or status != "")


def _output(command: Sequence[str], folder: Path) -> str | None:
    """Return the output of a command; None if it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - git with fixed arguments
            command,
            cwd=folder,
            env={**os.environ, **_QUIET},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
