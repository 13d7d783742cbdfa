"""State of the git repository around the project's folder, for the origin of a revision.

Used by `folder_publication`. Invariant: without git, without a repository, or if git is slow or fails, a
command continues, and the state is empty.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from iogate.cli import git

LIMIT_S = 2.0
"""Time limit of each command of git."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitState:
    """Commit of a folder, and whether its files differ from that."""

    commit: str = ""
    """Empty outside a repository."""
    dirty: bool = False
    """Whether files of the folder differ from the commit, or git did not tell in time."""


def read(folder: Path, data_dir: Path) -> GitState:
    """Return the git state of the repository that contains `folder`; files in `data_dir` do not count."""
    try:
        commit = git.run("rev-parse", "--verify", "--quiet", "HEAD", folder=folder, limit_s=LIMIT_S)
    except git.GitFailed:
        return GitState()
    paths = ["."]
    if (data_dir := Path(os.path.relpath(folder / data_dir, folder))).parts[:1] != ("..",):
        paths.append(f":(exclude,literal){data_dir.as_posix()}")
    try:
        status = git.run("status", "--porcelain", "--", *paths, folder=folder, limit_s=LIMIT_S)
    except git.GitFailed:
        status = b"unknown"
    return GitState(commit=commit.decode("ascii").strip(), dirty=status != b"")
