"""Mirror of a git repository: commits, files, and the messages when it cannot be read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from iogate.cli.pull.git_mirror import GitMirror, mirror_folder
from iogate.errors import Unreachable


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *arguments],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("__d__", ".d/").replace("__yaml", ".yaml").replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "--message", "a change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    return folder


def mirror(tmp_path: Path, source: str, ref: str = "main", path: str = "") -> GitMirror:
    return GitMirror(source=source, ref=ref, folder=mirror_folder(tmp_path / "data", source), path=path)


def test_each_fetch_gives_the_newest_commit_and_its_files(repository: Path, tmp_path: Path) -> None:
    first = commit(repository, one="1")
    watched = mirror(tmp_path, str(repository))
    assert watched.fetch() == first
    second = commit(repository, one="2", deep__two="3")
    assert watched.fetch() == second
    with watched.files(second) as folder:
        assert (folder / "one").read_text() == "2"
        assert (folder / "deep/two").read_text() == "3"
    assert not folder.exists()
    with watched.files(first) as folder:
        assert sorted(each.name for each in folder.iterdir()) == ["one"]


def test_rewritten_branch_is_followed(repository: Path, tmp_path: Path) -> None:
    watched = mirror(tmp_path, str(repository))
    first = commit(repository, one="1")
    second = commit(repository, one="2")
    assert watched.fetch() == second
    git(repository, "reset", "--quiet", "--hard", first)
    third = commit(repository, one="3")
    assert watched.fetch() == third
    assert watched.is_ancestor(first, third)
    assert not watched.is_ancestor(second, third)
    assert not watched.is_ancestor("0" * 40, third)
    assert not watched.is_ancestor(third, "0" * 40)


def test_a_new_mirror_of_a_branch_that_is_behind_knows_what_is_later(
    repository: Path, tmp_path: Path
) -> None:
    first = commit(repository, one="1")
    git(repository, "branch", "behind")
    second = commit(repository, one="2")
    watched = mirror(tmp_path, str(repository), ref="behind")
    assert watched.fetch() == first
    assert watched.is_ancestor(first, second)
    assert not watched.is_ancestor(second, first)


def test_watchers_of_two_branches_share_a_mirror(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fetches its branch between the fetch of the other one and the reading of that one's commit."""
    first = commit(repository, one="1")
    git(repository, "checkout", "--quiet", "-b", "staging")
    second = commit(repository, one="2")
    watched, other = (mirror(tmp_path, str(repository), ref=ref) for ref in ("main", "staging"))
    assert watched.folder == other.folder
    fetch = GitMirror._fetch

    def fetch_both(self: GitMirror, refspec: str) -> None:
        fetch(self, refspec)
        if self is watched:
            assert other.fetch() == second

    monkeypatch.setattr(GitMirror, "_fetch", fetch_both)
    assert watched.fetch() == first


def test_a_folder_of_the_repository_can_be_the_project(repository: Path, tmp_path: Path) -> None:
    watched = mirror(tmp_path, str(repository), path="deploy/gateway")
    head = commit(repository, README="x", deploy__gateway__api="1")
    assert watched.fetch() == head
    with watched.files(head) as folder:
        assert [each.name for each in folder.iterdir()] == ["api"]


def test_links_and_hooks_of_the_repository_have_no_effect(repository: Path, tmp_path: Path) -> None:
    (repository / "link").symlink_to("/etc/passwd")
    head = commit(repository, one="1")
    watched = mirror(tmp_path, str(repository))
    watched.fetch()
    with watched.files(head) as folder:
        assert [each.name for each in folder.iterdir()] == ["one"]


def test_leftovers_of_failed_fetches_are_removed(repository: Path, tmp_path: Path) -> None:
    commit(repository, one="1")
    watched = mirror(tmp_path, str(repository))
    watched.fetch()
    old, new = watched.folder / "objects/pack/tmp_pack_old", watched.folder / "objects/ab/tmp_obj_new"
    for file in (old, new):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    os.utime(old, (1, 1))
    watched.fetch()
    assert (old.exists(), new.exists()) == (False, True), "another watcher may be fetching"


def test_unknown_ref_is_named_with_the_repository(repository: Path, tmp_path: Path) -> None:
    commit(repository, one="1")
    with pytest.raises(Unreachable) as caught:
        mirror(tmp_path, str(repository), "release").fetch()
    assert (
        caught.value.message
        == f"cannot read release of {repository}: fatal: couldn't find remote ref release"
    )
    assert caught.value.hint is not None
    assert "check the URL, the name of the branch" in caught.value.hint


def test_unreadable_repository_shows_no_token(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        mirror(tmp_path, "https://x-access-token:ghp_secret@127.0.0.1:1/shop.git").fetch()
    assert caught.value.message.startswith("cannot read main of https://[redacted]@127.0.0.1:1/shop.git: ")
    assert "ghp_secret" not in caught.value.message


def test_failed_fetch_keeps_the_last_commit(repository: Path, tmp_path: Path) -> None:
    head = commit(repository, one="1")
    watched = mirror(tmp_path, str(repository))
    watched.fetch()
    repository.rename(tmp_path / "elsewhere")
    with pytest.raises(Unreachable):
        watched.fetch()
    with watched.files(head) as folder:
        assert (folder / "one").read_text() == "1"


@pytest.mark.parametrize("named_in", ["GIT_SSH_COMMAND", "core.sshCommand", "GIT_SSH"])
def test_the_ssh_command_of_the_user_fetches_and_asks_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_in: str
) -> None:
    ssh = tmp_path / "own" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\necho "$@" >> "$0.log"\nfor command; do :; done\neval "$command"\n')
    ssh.chmod(0o755)
    for name in ("GIT_SSH_COMMAND", "GIT_SSH"):
        monkeypatch.delenv(name, raising=False)
    key = "" if named_in == "GIT_SSH" else " -i deploy_key"
    if named_in == "core.sshCommand":
        settings = tmp_path / "gitconfig"
        settings.write_text(f"[core]\n\tsshCommand = {ssh}{key}\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    else:
        monkeypatch.setenv(named_in, f"{ssh}{key}")
    head = commit(repository, one="1")
    assert mirror(tmp_path, f"ssh://git@shop.invalid{repository}").fetch() == head
    assert f"{key} -oBatchMode=yes".strip() in (tmp_path / "own/ssh.log").read_text()


def test_a_live_commit_that_cannot_be_fetched_is_not_taken_for_another_history(
    repository: Path, tmp_path: Path
) -> None:
    first = commit(repository, one="1")
    git(repository, "branch", "behind")
    second = commit(repository, one="2")
    watched = mirror(tmp_path, str(repository), ref="behind")
    watched.fetch()
    repository.rename(tmp_path / "elsewhere")
    with pytest.raises(Unreachable, match="cannot read behind of"):
        watched.is_ancestor(first, second)
    (tmp_path / "elsewhere").rename(repository)
    assert watched.is_ancestor(first, second)
    assert not watched.is_ancestor("f" * 40, second), "no such commit here"
    assert not watched.is_ancestor(first, "f" * 40), "the repository does not have it"
