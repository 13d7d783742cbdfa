"""Files of the project at a git revision, for `plan --base`.

Invariant: the working tree and the index of git are not changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iogate.cli import git
from iogate.errors import Misused, NotFound

LIMIT_S = 60.0


@contextmanager
def git_tree(reference: str) -> Iterator[Path]:
    """Yield a folder with the files of the current folder at a git revision, such as `origin/main`.

    Raises:
        NotFound: git does not know the revision, or the folder does not exist there.
        Misused: git is not installed, or this folder is not in a repository.
    """
    if reference.startswith("-"):
        raise NotFound(f"git has no revision {reference}", code="IOG700")
    here = Path.cwd()
    try:
        prefix = git.run("rev-parse", "--show-prefix", folder=here, limit_s=LIMIT_S).decode().rstrip("\n")
    except git.GitMissing as error:
        raise Misused(str(error), code="IOG700", hint="install git, or plan without --base") from None
    except git.GitFailed:
        raise Misused(
            f"{here} is not in a git repository",
            code="IOG700",
            hint="run the command in a clone of the repository; without --base it compares with live",
        ) from None
    try:
        commit = git.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}",
            folder=here, limit_s=LIMIT_S,
        )  # fmt: skip
    except git.GitFailed:
        raise NotFound(
            f"git has no revision {reference}",
            code="IOG700",
            hint=f"fetch it first, for example with `git fetch origin {reference.removeprefix('origin/')}`",
        ) from None
    try:
        with git.files(f"{commit.decode().strip()}:{prefix}", folder=here, limit_s=LIMIT_S) as folder:
            yield folder
    except git.GitFailed as error:
        raise NotFound(
            f"git cannot read the folder {prefix or '.'} of revision {reference}: {error}", code="IOG700"
        ) from None
