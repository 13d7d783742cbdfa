"""Sources of a project that change over time: a folder, or a branch of a git repository.

Used by `project_watcher`, which applies their versions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iogate.cli.pull.git_mirror import GitMirror, mirror_folder
from iogate.errors import Misused


class Source(Protocol):
    """Files of a project that change over time."""

    @property
    def shown(self) -> str:
        """Name of the project's source in messages."""

    def newest(self) -> str:
        """Return the newest version of the files of the project's source.

        Raises Unreachable if the source cannot be read now.
        """

    def files(self, version: str) -> AbstractContextManager[Path]:
        """Return a folder with the files of a version of the project's source."""

    def is_older(self, version: str, commit: str) -> bool:
        """Return whether a version of the project's source is an ancestor of a commit that is live.

        Raises Unreachable if the source cannot be read now.
        """

    def describe(self, version: str) -> Sequence[str]:
        """Return the options of `iogate apply` that name a version of the project's source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """Branch of a git repository; its versions are commits."""

    mirror: GitMirror

    @property
    def shown(self) -> str:
        return f"{self.mirror.ref} of {self.mirror.shown}"

    def newest(self) -> str:
        return self.mirror.fetch()

    def files(self, version: str) -> AbstractContextManager[Path]:
        return self.mirror.files(version)

    def is_older(self, version: str, commit: str) -> bool:
        return version != commit and self.mirror.is_ancestor(version, commit)

    def describe(self, version: str) -> Sequence[str]:
        # The lock file of a commit cannot be written.
        return ("--commit", version, f"--message={self.mirror.subject(version)}", "--locked")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Folder of the project; its versions are stamps of its files."""

    folder: Path
    stamp: Callable[[Path], object]

    @property
    def shown(self) -> str:
        return str(self.folder)

    def newest(self) -> str:
        return str(hash(self.stamp(self.folder)))

    @contextlib.contextmanager
    def files(self, version: str) -> Iterator[Path]:  # noqa: ARG002 - the files are where they are
        yield self.folder

    def is_older(self, version: str, commit: str) -> bool:  # noqa: ARG002 - a folder has no history
        return False

    def describe(self, version: str) -> Sequence[str]:  # noqa: ARG002 - `apply` asks git itself
        return ()


def git_source(repository: str, ref: str, path: str, data_dir: Path) -> GitSource:
    """Return the source of a branch or tag; `path` is the project's folder, empty for the root.

    Raises Misused for a value that git would take for an option.
    """
    for name, text in (("--git", repository), ("--ref", ref), ("--path", path)):
        if text.startswith("-"):
            raise Misused(f"{name} {text}: must not begin with a dash")
    folder = Path(repository)
    # git works in the folder of the mirror, where a relative path means something else.
    source = str(folder.absolute()) if folder.is_dir() else repository
    mirror = mirror_folder(data_dir.absolute(), source)
    return GitSource(mirror=GitMirror(source=source, ref=ref, folder=mirror, path=path.strip("/")))
