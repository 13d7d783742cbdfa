"""Commands of git, and the files of a tree in a temporary folder.

Used by `git_state`, `git_tree` and `git_mirror`. Invariants: git asks for nothing and runs no program that a
repository names; no file is written outside of the temporary folder, whatever names a tree contains.
"""

from __future__ import annotations

import os
import posixpath
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
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
    "LC_ALL": "C",
}
_OF_A_REPOSITORY: Final = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_WORK_TREE",
    }
)
"""Variables that git sets in hooks; with these, it would work on their repository and not on the folder's."""
_SETTINGS: Final = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
_LINK: Final = b"120000"
_SUBMODULE: Final = b"160000"
_FOLDERS: Final = ("apis.d", "workflows.d")
_FOLLOWED: Final = 10
"""Links in a row that are followed."""


class GitFailed(Exception):
    """Error of a command of git, with the first line of its message."""

    def __init__(self, message: str, *, code: int | None = None, output: str = "") -> None:
        """`code` is the exit code, None if there is none; `output` is all that git wrote to stderr."""
        super().__init__(message)
        self.code = code
        self.output = output


class GitMissing(GitFailed):
    """Error of a machine without git."""


def run(*arguments: str, folder: Path, limit_s: float, stdin: bytes = b"", ssh: str = "ssh") -> bytes:
    """Run a command of git in a folder and return its output; `ssh` is the command for remote repositories.

    Raises GitFailed if it fails or takes longer than `limit_s`, GitMissing if git is not installed.
    """
    git = shutil.which("git")
    if git is None:
        raise GitMissing("git is not installed")
    try:
        done = subprocess.run(  # noqa: S603 - git with the arguments of this package
            [git, *_SETTINGS, *arguments],
            cwd=folder,
            env={
                **_outside_of_hooks(os.environ),
                **_ENVIRONMENT,
                "GIT_SSH_COMMAND": f"{ssh} -oBatchMode=yes",
            },
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
        output = done.stderr.decode("utf-8", "replace").strip()
        message = output.partition("\n")[0] or f"git exits with {done.returncode}"
        raise GitFailed(message, code=done.returncode, output=output)
    return done.stdout


def ssh_command(folder: Path, limit_s: float) -> str:
    """Return the ssh command of the user for git, as git chooses it.

    `folder` is a repository whose settings are trusted. Raises GitMissing if git is not installed.
    """
    if given := os.environ.get("GIT_SSH_COMMAND"):
        return given
    try:
        configured = run("config", "--get", "core.sshCommand", folder=folder, limit_s=limit_s)
    except GitMissing:
        raise
    except GitFailed:
        configured = b""
    return os.fsdecode(configured).strip() or shlex.quote(os.environ.get("GIT_SSH") or "ssh")


def _outside_of_hooks(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _OF_A_REPOSITORY}


@contextmanager
def files(tree: str, *, folder: Path, limit_s: float) -> Iterator[Path]:
    """Yield a temporary folder with the files of a git tree such as `COMMIT:PATH`, as they were committed.

    Attributes of the repository, which could leave out or change files, do not apply. A link to a file of the
    tree becomes a copy; other links and submodules are left out. Raises GitFailed if there is no such tree,
    if it is too large or has an unsafe name, or if a document is left out.
    """
    listed = run("ls-tree", "-r", "-l", "-z", "--full-tree", tree, folder=folder, limit_s=limit_s)
    entries = [entry for line in listed.split(b"\0") if line for entry in _entry(line)]
    if len(entries) > MOST_FILES or sum(entry.size for entry in entries) > MOST_BYTES:
        raise GitFailed(f"the tree has more than {MOST_FILES} files or {MOST_BYTES // 1024**2} MiB")
    contents = _contents(entries, folder, limit_s)
    try:
        temporary = tempfile.TemporaryDirectory(prefix="iogate-git-", ignore_cleanup_errors=True)
    except OSError as error:
        raise GitFailed(f"there is no folder for the files of the tree: {error}") from None
    with temporary as name:
        try:
            for path, content in contents.items():
                file = Path(name, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        except OSError as error:
            raise GitFailed(f"the tree has a file that cannot be written: {error}") from None
        yield Path(name)


def _contents(entries: list[_Entry], folder: Path, limit_s: float) -> dict[str, bytes]:
    """Return the content of each file of a git tree by its path, also of links to files of the same tree."""
    stored = [entry for entry in entries if entry.mode != _SUBMODULE]
    wanted = b"".join(entry.object + b"\n" for entry in stored)
    data = run("cat-file", "--batch", folder=folder, limit_s=limit_s, stdin=wanted)
    found: dict[str, bytes] = {}
    links: dict[str, str] = {}
    at = 0
    for entry in stored:
        start = data.index(b"\n", at) + 1  # each content follows a line with its type and size
        content = data[start : start + entry.size]
        at = start + entry.size + 1
        if entry.mode == _LINK:
            target = posixpath.join(posixpath.dirname(entry.path), os.fsdecode(content))
            links[entry.path] = posixpath.normpath(target)
        else:
            found[entry.path] = content
    size = sum(map(len, found.values()))
    for path in links:
        target = path
        for _ in range(_FOLLOWED):
            target = links.get(target, target)
        if target in found:
            found[path] = found[target]
            size += len(found[path])
        elif _is_document(path):
            raise GitFailed(f"{path} is a link that leads to no file of the project")
    if size > MOST_BYTES:
        raise GitFailed(f"the tree has more than {MOST_BYTES // 1024**2} MiB, with its links")
    for entry in entries:
        if entry.mode == _SUBMODULE and entry.path.partition("/")[0] in _FOLDERS:
            raise GitFailed(f"{entry.path} is a submodule, whose files are not part of the tree")
    return found


def _is_document(path: str) -> bool:
    """Tell whether a file or folder of a git tree matters for the project."""
    top, _, rest = path.partition("/")
    return (top in _FOLDERS and (not rest or path.endswith((".yaml", ".yml")))) or (
        not rest and top.startswith("iogate.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """File, link or submodule of a tree."""

    mode: bytes
    object: bytes
    size: int
    path: str


def _entry(line: bytes) -> Iterator[_Entry]:
    """Yield the entry of a line of `git ls-tree -l`."""
    head, _, name = line.partition(b"\t")
    mode, _, found, size = head.split()
    path = os.fsdecode(name)
    if not PurePosixPath(path).parts or any(
        part in {"..", "/"} or part.lower() == ".git" for part in PurePosixPath(path).parts
    ):
        raise GitFailed(f"the tree has a file with an unsafe name: {path!r}")
    yield _Entry(mode=mode, object=found, size=0 if size == b"-" else int(size), path=path)
