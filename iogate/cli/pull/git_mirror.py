"""Mirror of a git repository: fetched again and again, with the files of a commit in a temporary folder.

Used by `sources`. Invariants: git never asks for credentials and runs no program of the repository; a failed
fetch leaves the mirror as it was; no file is written outside of the temporary folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iogate.errors import Misused, Unreachable
from iogate.security.redaction_patterns import REDACTED

FETCH_S = 120.0
"""Time limit of a fetch, which the first time reads the whole history of the branch."""
LOCAL_S = 30.0
"""Time limit of every other command of git."""
SUBJECT_CHARACTERS = 200
FETCHED = "refs/iogate/watched"
UNREADABLE = "IOG665"
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GitMirror:
    """Bare clone of one repository in the data folder, at one branch, tag or commit."""

    source: str
    """URL or folder of the repository."""
    ref: str
    folder: Path
    path: str = ""
    """Folder of the project in the repository; empty: its root."""

    @property
    def shown(self) -> str:
        """The source without user and password: a token may stand in place of either."""
        return re.sub(r"(https?://)[^/@\s]+@", rf"\1{REDACTED}@", self.source)

    def fetch(self) -> str:
        """Fetch the ref and return its commit.

        Raises Unreachable if the repository cannot be read or has no such ref, Misused without git.
        """
        if not (self.folder / "HEAD").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._git("init", "--quiet", "--bare", ".", limit_s=LOCAL_S)
        self._git(
            "fetch", "--quiet", "--no-tags", "--force", "--", self.source, f"{self.ref}:{FETCHED}",
            limit_s=FETCH_S,
        )  # fmt: skip
        commit = self._git("rev-parse", "--verify", f"{FETCHED}^{{commit}}", limit_s=LOCAL_S)
        return commit.decode("ascii").strip()

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Return whether `commit` is in the history of `of`; false if this is not known."""
        with contextlib.suppress(Unreachable):
            self._git("merge-base", "--is-ancestor", commit, of, limit_s=LOCAL_S)
            return True
        return False

    def subject(self, commit: str) -> str:
        """Return the first line of a commit's message, at most 200 characters.

        Raises Unreachable if the mirror has no such commit.
        """
        text = self._git("show", "--no-patch", "--format=%s", commit, limit_s=LOCAL_S)
        return text.decode("utf-8", "replace").strip()[:SUBJECT_CHARACTERS]

    @contextlib.contextmanager
    def files(self, commit: str) -> Iterator[Path]:
        """Yield a folder with the project's files at a commit, deleted afterwards.

        Raises Unreachable if the repository has no such folder.
        """
        archive = self._git("archive", "--format=tar", f"{commit}:{self.path}", limit_s=LOCAL_S)
        with tempfile.TemporaryDirectory(prefix="iogate-watch-") as folder:
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                for member in files.getmembers():
                    if member.isfile() or member.isdir():  # links could lead out of the folder
                        files.extract(member, folder, filter="data")
            yield Path(folder)

    def _git(self, *arguments: str, limit_s: float) -> bytes:
        git = shutil.which("git")
        if git is None:
            raise Misused("git is not installed", code=UNREADABLE, hint="install git, or watch the folders")
        shown = self.shown
        try:
            ran = subprocess.run(  # noqa: S603 - git with the arguments of this module
                [git, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *arguments],
                cwd=self.folder,
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired:
            raise Unreachable(
                f"{shown} gave no answer within {limit_s:g} s", code=UNREADABLE, hint="check the network"
            ) from None
        if ran.returncode:
            lines = ran.stderr.decode("utf-8", "replace").replace(self.source, shown).strip().splitlines()
            raise Unreachable(
                f"cannot read {self.ref} of {shown}: {lines[0] if lines else f'git exits {ran.returncode}'}",
                code=UNREADABLE,
                hint="check the URL, the name of the branch, and the credentials of git on this machine",
            )
        return ran.stdout


def mirror_folder(data_dir: Path, source: str) -> Path:
    """Return the folder of the mirror of a repository within the data folder."""
    return data_dir / "git" / hashlib.sha256(source.encode()).hexdigest()[:16]
