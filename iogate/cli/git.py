"""Commands of git, and the files of a tree in a temporary folder.

Used by `git_state`, `git_tree` and `git_mirror`. Invariants: git asks for nothing and runs no program that a
repository names; no file is written outside of the temporary folder, whatever names a tree contains.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

MOST_FILES: Final = 50_000
MOST_BYTES: Final = 256 * 1024**2
"""Limits of the files of one tree; a project is a few megabytes."""
_ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "LC_ALL": "C",
}
_SETTINGS: Final = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
_FILES: Final = frozenset({b"100644", b"100755"})
"""Modes of files; links and submodules are left out, since they lead elsewhere."""


class GitFailed(Exception):
    """Error of a command of git, with the first line of its message."""


class GitMissing(GitFailed):
    """Error of a machine without git."""


def run(*arguments: str, folder: Path, limit_s: float, stdin: bytes = b"") -> bytes:
    """Run a command of git in a folder and return its output.

    Raises GitFailed if it fails or takes longer than `limit_s`, GitMissing if git is not installed.
    """
    git = shutil.which("git")
    if git is None:
        raise GitMissing("git is not installed")
    try:
        done = subprocess.run(  # noqa: S603 - git with the arguments of this package
            [git, *_SETTINGS, *arguments],
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise GitFailed(f"no answer within {limit_s:g} s") from None
    except OSError as error:
        raise GitFailed(str(error)) from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitFailed(lines[0] if lines else f"git exits with {done.returncode}")
    return done.stdout


@contextmanager
def files(tree: str, *, folder: Path, limit_s: float) -> Iterator[Path]:
    """Yield a temporary folder with the files of a tree such as `COMMIT:PATH`, as they were committed.

    Attributes of the repository, which could leave out or change files, do not apply. Raises GitFailed if
    there is no such tree, or if it is too large or has an unsafe name.
    """
    listed = run("ls-tree", "-r", "-l", "-z", "--full-tree", tree, folder=folder, limit_s=limit_s)
    entries = [entry for line in listed.split(b"\0") if line for entry in _entry(line)]
    if len(entries) > MOST_FILES or sum(entry.size for entry in entries) > MOST_BYTES:
        raise GitFailed(f"the tree has more than {MOST_FILES} files or {MOST_BYTES // 1024**2} MiB")
    wanted = b"".join(entry.object + b"\n" for entry in entries)
    data = run("cat-file", "--batch", folder=folder, limit_s=limit_s, stdin=wanted)
    with tempfile.TemporaryDirectory(prefix="iogate-git-") as name:
        at = 0
        for entry in entries:
            start = data.index(b"\n", at) + 1  # each content follows a line with its type and size
            path = Path(name, entry.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[start : start + entry.size])
            at = start + entry.size + 1
        yield Path(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """File of a tree."""

    object: bytes
    size: int
    path: str


def _entry(line: bytes) -> Iterator[_Entry]:
    """Yield the file of a line of `ls-tree -l`, or nothing for a link or a submodule."""
    head, _, name = line.partition(b"\t")
    mode, _, found, size = head.split()
    if mode not in _FILES:
        return
    path = os.fsdecode(name)
    if not PurePosixPath(path).parts or any(
        part in {"..", "/"} or part.lower() == ".git" for part in PurePosixPath(path).parts
    ):
        raise GitFailed(f"the tree has a file with an unsafe name: {path!r}")
    yield _Entry(object=found, size=int(size), path=path)
