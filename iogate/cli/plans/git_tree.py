"""Files of the project at a git revision, extracted to a temporary folder.

Used by `plan --base`. Invariants: the working tree and the index of git are not changed; no file is
extracted outside of the folder.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iogate.errors import Misused, NotFound

TIMEOUT_S = 60


@contextmanager
def git_tree(reference: str) -> Iterator[Path]:
    """Yield a folder with the files of the current folder at a git revision, such as `origin/main`.

    Raises:
        NotFound: git does not know the revision, or the folder does not exist there.
        Misused: git is not installed, or this folder is not in a repository.
    """
    if reference.startswith("-"):
        raise NotFound(f"git has no revision {reference}", code="IOG700")
    prefix = _git("rev-parse", "--show-prefix").decode().rstrip("\n")
    top = _git("rev-parse", "--show-toplevel").decode().rstrip("\n")
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    except _GitFailed:
        raise NotFound(
            f"git has no revision {reference}",
            code="IOG700",
            hint=f"fetch it first, for example with `git fetch origin {reference.removeprefix('origin/')}`",
        ) from None
    try:
        archive = _git("archive", "--format=tar", f"{commit.decode().strip()}:{prefix}", folder=top)
    except _GitFailed as error:
        raise NotFound(
            f"git cannot read the folder {prefix or '.'} of revision {reference}: {error}", code="IOG700"
        ) from None
    with tempfile.TemporaryDirectory(prefix="iogate-base-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for member in files.getmembers():
                if member.isfile() or member.isdir():  # links could lead out of the folder
                    files.extract(member, folder, filter="data")
        yield Path(folder)


class _GitFailed(Exception):
    """Error of a git command, with its message."""


def _git(*arguments: str, folder: str = ".") -> bytes:
    """Return the output of a git command.

    Raises Misused without git or outside of a repository, _GitFailed if the command fails.
    """
    git = shutil.which("git")
    if git is None:
        raise Misused("git is not installed", code="IOG700", hint="install git, or plan without --base")
    try:
        ran = subprocess.run(  # noqa: S603 - git with the arguments of this module
            [git, *arguments],
            capture_output=True,
            check=False,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise _GitFailed(f"no response within {TIMEOUT_S} s") from None
    if ran.returncode:
        message = ran.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        if "not a git repository" in message:
            raise Misused(
                f"{Path.cwd()} is not in a git repository",
                code="IOG700",
                hint="run the command in a clone of the repository; without --base it compares with live",
            )
        raise _GitFailed(message)
    return ran.stdout
