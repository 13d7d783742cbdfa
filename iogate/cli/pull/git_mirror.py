"""Mirror of a git repository: fetched again and again, with the files of a commit in a temporary folder.

Used by `project_sources`. Invariants: a failed fetch leaves the mirror as it was; watchers of several
branches of one repository, which share its mirror, do not affect each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iogate.cli import git
from iogate.errors import Misused, Unreachable
from iogate.security.redaction_patterns import REDACTED

FETCH_S = 120.0
"""Time limit of a fetch, which the first time reads the whole history of the branch."""
LOCAL_S = 30.0
"""Time limit of every other command of git."""
SUBJECT_CHARACTERS = 200
FETCHED = "refs/iogate/watched"
COMPARED = "refs/iogate/compared"
UNREADABLE = "IOG665"
NOT_ANCESTOR = 1
"""Exit code of `git merge-base --is-ancestor`; a failure has another one."""
UNKNOWN = re.compile(
    r"not our ref|unadvertised object|couldn't find remote ref|want \w+ not valid|"
    r"Not a valid (commit|object) name"
)
"""Errors of git for a commit that a repository does not have, or gives to nobody."""
COMMIT = re.compile(r"[0-9a-f]{7,64}", re.ASCII)


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
        """Source of the git mirror without user and password, either of which may be a token."""
        return re.sub(r"(https?://)[^/@\s]+@", rf"\1{REDACTED}@", self.source)

    def fetch(self) -> str:
        """Fetch the ref into the mirror and return its commit.

        Raises Unreachable if the repository cannot be read or has no such ref, or if the folder of the mirror
        cannot be made, and Misused without git.
        """
        if not (self.folder / "HEAD").exists():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Unreachable(
                    f"cannot make the folder of the mirror of {self.shown}: {error}",
                    code=UNREADABLE,
                    hint="make data_dir writable, or set it to another folder",
                ) from None
            self._git("init", "--quiet", "--bare", ".", limit_s=LOCAL_S)
        self._remove_leftovers()
        with self._explained():
            self._fetch(f"{self.ref}:{self._fetched}")
        commit = self._git("rev-parse", "--verify", f"{self._fetched}^{{commit}}", limit_s=LOCAL_S)
        return commit.decode("ascii").strip()

    @property
    def _fetched(self) -> str:
        """Ref of the git mirror for the fetched commit; watchers of other branches share the mirror."""
        return f"{FETCHED}-{hashlib.sha256(os.fsencode(self.ref)).hexdigest()[:16]}"

    def _fetch(self, refspec: str) -> None:
        git.run(
            "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--force",
            "--", self.source, refspec,
            folder=self.folder, limit_s=FETCH_S, ssh=git.ssh_command(self.folder, LOCAL_S),
        )  # fmt: skip

    def _remove_leftovers(self) -> None:
        """Remove the temporary files that failed fetches left in the mirror, which fill the disk."""
        latest = time.time() - FETCH_S
        with contextlib.suppress(OSError):
            for file in self.folder.glob("objects/*/tmp_*"):
                if file.stat().st_mtime < latest:
                    file.unlink()

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Return whether `commit` is in the history of `of`; false if `of` is no commit of the repository.

        `of` is fetched if the mirror lacks it: a new mirror of a branch that is behind has no later commit.
        Raises Unreachable if the repository cannot be read, Misused without git.
        """
        if COMMIT.fullmatch(of) is None:
            return False  # `apply --commit` takes any text
        with self._explained():
            try:
                if not self._has(of):
                    self._fetch(f"{of}:{COMPARED}")
                git.run("merge-base", "--is-ancestor", commit, of, folder=self.folder, limit_s=LOCAL_S)
            except git.GitFailed as error:
                if error.code == NOT_ANCESTOR or UNKNOWN.search(error.output):
                    return False
                raise
        return True

    def _has(self, commit: str) -> bool:
        with contextlib.suppress(Unreachable):
            self._git("cat-file", "-e", f"{commit}^{{commit}}", limit_s=LOCAL_S)
            return True
        return False

    def subject(self, commit: str) -> str:
        """Return the first line of the message of a commit of the mirror, at most 200 characters.

        Raises Unreachable if the mirror has no such commit.
        """
        text = self._git("show", "--no-patch", "--format=%s", commit, limit_s=LOCAL_S)
        return text.decode("utf-8", "replace").strip()[:SUBJECT_CHARACTERS]

    @contextlib.contextmanager
    def files(self, commit: str) -> Iterator[Path]:
        """Yield a folder with the project's files at a commit of the mirror, deleted afterwards.

        Raises Unreachable if the repository has no such folder.
        """
        with contextlib.ExitStack() as stack:
            with self._explained():
                tree = git.files(f"{commit}:{self.path}", folder=self.folder, limit_s=LOCAL_S)
                folder = stack.enter_context(tree)
            yield folder

    def _git(self, *arguments: str, limit_s: float) -> bytes:
        with self._explained():
            return git.run(*arguments, folder=self.folder, limit_s=limit_s)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which mirrored repository an error of git is about. Raises Unreachable, Misused without git."""
        try:
            yield
        except git.GitMissing as error:
            raise Misused(str(error), code=UNREADABLE, hint="install git, or watch the folders") from None
        except git.GitFailed as error:
            raise Unreachable(
                f"cannot read {self.ref} of {self.shown}: {str(error).replace(self.source, self.shown)}",
                code=UNREADABLE,
                hint="check the URL, the name of the branch, and the credentials of git on this machine",
            ) from None


def mirror_folder(data_dir: Path, source: str) -> Path:
    """Return the folder of the mirror of a repository within the data folder."""
    return data_dir / "git" / hashlib.sha256(source.encode()).hexdigest()[:16]
