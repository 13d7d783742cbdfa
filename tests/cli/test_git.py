"""Files of a tree: as they were committed, and never outside of the folder."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from iogate.cli import git as module
from tests.cli.pull.test_git_mirror import commit, git, repository  # noqa: F401 - a fixture

LIMIT_S = 20.0


def plumb(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, input=stdin, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_files_are_as_committed_whatever_the_attributes_say(repository: Path) -> None:  # noqa: F811
    (repository / ".gitattributes").write_text(
        "hidden export-ignore\nstamp export-subst\n*.txt text eol=crlf\n"
    )
    head = commit(repository, hidden="1", stamp="$Format:%H$", **{"a.txt": "one\ntwo\n", "empty": ""})
    with module.files(f"{head}:", folder=repository, limit_s=LIMIT_S) as folder:
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == {
        ".gitattributes": (repository / ".gitattributes").read_bytes(),
        "hidden": b"1",
        "stamp": b"$Format:%H$",
        "a.txt": b"one\ntwo\n",
        "empty": b"",
    }


@pytest.mark.parametrize("name", ["..", ".git", ".GIT"])
def test_names_that_lead_elsewhere_are_refused(repository: Path, name: str) -> None:  # noqa: F811
    blob = plumb(repository, "hash-object", "-w", "--stdin", stdin=b"evil")
    inner = plumb(repository, "mktree", stdin=f"100644 blob {blob}\tfile\n".encode())
    raw = b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner)
    tree = plumb(repository, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=raw)
    with (
        pytest.raises(module.GitFailed, match="a file with an unsafe name"),
        module.files(tree, folder=repository, limit_s=LIMIT_S),
    ):
        pass


def entries(repository: Path, *lines: str) -> str:  # noqa: F811
    """Return a tree of `MODE PATH CONTENT` lines, written without a working tree."""
    plumb(repository, "read-tree", "--empty")
    for line in lines:
        mode, path, content = line.split(" ")
        found = content
        if mode != "160000":
            found = plumb(repository, "hash-object", "-w", "--stdin", stdin=content.encode())
        plumb(repository, "update-index", "--add", "--cacheinfo", f"{mode},{found},{path}")
    return plumb(repository, "write-tree")


def test_links_within_the_tree_become_copies(repository: Path) -> None:  # noqa: F811
    tree = entries(
        repository,
        "100644 shared/a.yaml one",
        "120000 apis.d/a.yaml ../shared/a.yaml",
        "120000 apis.d/b.yaml a.yaml",
        "120000 readme ../../etc/passwd",
        "120000 folder shared",
    )
    with module.files(tree, folder=repository, limit_s=LIMIT_S) as folder:
        found = {
            str(path.relative_to(folder)): (path.is_symlink(), path.read_text())
            for path in folder.rglob("*")
            if path.is_file()
        }
    assert found == dict.fromkeys(("shared/a.yaml", "apis.d/a.yaml", "apis.d/b.yaml"), (False, "one"))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("120000 apis.d/a.yaml ../../other/a.yaml", "is a link that leads to no file of the project"),
        ("120000 apis.d/a.yaml a.yaml", "is a link that leads to no file of the project"),
        ("120000 workflows.d elsewhere", "is a link that leads to no file of the project"),
        ("120000 iogate.yaml /etc/iogate.yaml", "is a link that leads to no file of the project"),
        (f"160000 apis.d/team {'1' * 40}", "is a submodule, whose files are not part of the tree"),
    ],
)
def test_a_tree_whose_documents_are_elsewhere_is_refused(
    repository: Path,  # noqa: F811
    line: str,
    text: str,
) -> None:
    tree = entries(repository, "100644 readme one", line)
    with (
        pytest.raises(module.GitFailed, match=text),
        module.files(tree, folder=repository, limit_s=LIMIT_S),
    ):
        pass


def test_a_file_that_cannot_be_written_is_an_error_of_git(repository: Path) -> None:  # noqa: F811
    tree = entries(repository, f"100644 {'n' * 300} one")
    with (
        pytest.raises(module.GitFailed, match="cannot be written"),
        module.files(tree, folder=repository, limit_s=LIMIT_S),
    ):
        pass


def test_large_trees_are_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    head = commit(repository, one="1" * 100)
    monkeypatch.setattr(module, "MOST_BYTES", 50)
    with (
        pytest.raises(module.GitFailed, match="the tree has more than 50000 files or 0 MiB"),
        module.files(f"{head}:", folder=repository, limit_s=LIMIT_S),
    ):
        pass


def test_a_hook_of_another_repository_has_no_effect(
    repository: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = commit(repository, one="1")
    other = tmp_path / "other"
    other.mkdir()
    plumb(other, "init", "-q", ".")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    with module.files(f"{head}:", folder=repository, limit_s=LIMIT_S) as folder:
        assert [each.name for each in folder.iterdir()] == ["one"]


def test_unknown_tree_is_an_error_of_git(repository: Path) -> None:  # noqa: F811
    head = commit(repository, one="1")
    with (
        pytest.raises(module.GitFailed, match=r"exists on disk|does not exist|Not a valid object"),
        module.files(f"{head}:nowhere", folder=repository, limit_s=LIMIT_S),
    ):
        pass


def test_a_machine_without_room_for_the_files_is_named(
    repository: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    head = commit(repository, one="1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with (
        pytest.raises(module.GitFailed, match="there is no folder for the files of the tree"),
        module.files(f"{head}:", folder=repository, limit_s=LIMIT_S),
    ):
        pass
