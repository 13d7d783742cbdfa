"""`iogate watch`: a branch or a folder is followed; what is invalid, older or rolled back is not applied."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from iogate.cli.pull.project_sources import FolderSource
from iogate.cli.pull.project_watcher import ProjectWatcher
from iogate.store import keys
from iogate.store.embedded.server import EmbeddedServer, temporary_server
from iogate.store.store import Store
from tests import fork_server
from tests.cli.place import until
from tests.cli.pull.test_git_mirror import commit, git
from tests.failed_saves import fail_saves, repair_saves
from tests.keys import LINK_KEY

API = """\
module: shop
auth: none
timeout: 1m
methods:
  buy: {{workflow: shop/buy, enabled: true, description: "{text}"}}
"""
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}
do:
  - buy: {set: {bought: true}}
"""


@dataclass
class World:
    """A store, and a repository with a project."""

    server: EmbeddedServer
    repository: Path
    home: Path
    """Folder in which the commands run; it has no project."""

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
        return own | {
            "IOGATE_REDIS_URL": self.server.url,
            "IOGATE_LINK_KEY": LINK_KEY,
            "IOGATE_LOG_FORMAT": "json",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }

    def run(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return fork_server.run("iogate", *arguments, folder=folder or self.home, environment=self.environment)

    def once(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("watch", "--git", str(self.repository), "--once", *arguments)

    def change(self, text: str) -> str:
        return commit(
            self.repository, apis__d__shop__yaml=API.format(text=text), workflows__d__buy__yaml=WORKFLOW
        )

    def history(self) -> list[dict[str, Any]]:
        revisions: list[dict[str, Any]] = json.loads(self.run("history", "-o", "json").stdout)["revisions"]
        return revisions

    @contextmanager
    def watching(self, *arguments: str, log: str = "watch.log") -> Iterator[fork_server.Process]:
        with (self.home / log).open("ab") as written:
            process = fork_server.start(
                "iogate", "watch", "--git", str(self.repository), "--interval", "200ms", *arguments,
                environment=self.environment, folder=self.home, stdout=written, stderr=written,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (self.home / log).read_text()

    @property
    def log(self) -> str:
        return (self.home / "watch.log").read_text()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    repository, home = tmp_path / "repository", tmp_path / "home"
    repository.mkdir()
    home.mkdir()
    git(repository, "init", "--quiet", "--initial-branch", "main")
    with temporary_server() as server:
        yield World(server, repository, home)


def actions(log: str) -> list[str]:
    records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [record["action"] for record in records if record.get("action", "").startswith("watch.")]


def results(log: str) -> list[str]:
    """Return the results of versions; an apply whose response was lost is repeated, and changes nothing."""
    found = [each.replace("unchanged", "applied") for each in actions(log)]
    return [each for each in found if each != "watch.unreachable"]


def applied(log: str) -> int:
    """Return how many versions were applied."""
    return results(log).count("watch.applied")


def test_each_commit_becomes_a_revision_with_its_origin(world: World) -> None:
    first = world.change("one")
    with world.watching():
        until(lambda: applied(world.log))
        second = world.change("two")
        until(lambda: applied(world.log) == 2)
    newest, older = world.history()
    assert (newest["commit"], older["commit"]) == (second, first)
    assert (newest["dirty"], newest["message"]) == (False, "a change")


def test_a_commit_message_is_not_an_option(world: World) -> None:
    world.change("one")
    git(world.repository, "commit", "--quiet", "--amend", "--message", "--json")
    ran = world.once()
    assert ran.returncode == 0, ran.stderr
    assert world.history()[0]["message"] == "--json"


def test_a_commit_without_a_change_is_told(world: World) -> None:
    world.change("one")
    assert world.once().returncode == 0
    head = commit(world.repository, **{"README.md": "only words"})
    ran = world.once()
    assert ran.returncode == 0, ran.stderr
    assert f"{head[:12]} changes nothing: its content is live as revision 1" in ran.stderr
    assert actions(ran.stderr) == ["watch.unchanged"]
    assert len(world.history()) == 1


def test_the_project_and_no_store_comes_from_the_files(world: World) -> None:
    elsewhere = "project: shop\nredis_url: redis://127.0.0.1:1/0\n"
    first = commit(
        world.repository,
        **{"iogate.yaml": elsewhere},
        apis__d__shop__yaml=API.format(text="one"),
        workflows__d__buy__yaml=WORKFLOW,
    )
    assert world.once().returncode == 0, "the first"
    second = world.change("two")
    ran = world.once()
    assert ran.returncode == 0, ran.stderr
    git(world.repository, "reset", "--quiet", "--hard", first)
    ran = world.once()
    assert "is older than the live one" in ran.stderr
    world.home.joinpath("iogate.yaml").write_text("project: shop\n")
    assert [each["commit"] for each in world.history()] == [second, first]


def test_a_commit_that_is_invalid_changes_nothing_and_is_reported_once(world: World) -> None:
    world.change("one")
    with world.watching():
        until(lambda: applied(world.log))
        commit(world.repository, apis__d__shop__yaml="module: shop\nmethods: {buy: {workflow: none/none}}\n")
        until(lambda: "watch.failed" in world.log)
        third = world.change("three")
        until(lambda: applied(world.log) == 2)
    assert results(world.log) == ["watch.applied", "watch.failed", "watch.applied"]
    failed = next(json.loads(line) for line in world.log.splitlines() if "watch.failed" in line)
    assert failed["exit"] == 3
    assert "apis.d/shop.yaml" in failed["message"]
    assert "is not applied; it is tried again after the next change" in failed["message"]
    assert world.history()[0]["commit"] == third


def test_two_watchers_apply_each_commit_once(world: World) -> None:
    world.change("one")
    with world.watching(), world.watching(log="second.log"):
        until(world.history)
        commits = [world.change(str(number)) for number in range(3)]
        until(lambda: world.history()[0]["commit"] == commits[-1])
        until(lambda: actions(world.log) and actions((world.home / "second.log").read_text()))
    published = [each["commit"] for each in world.history()]
    assert len(published) == len(set(published)), world.log


def test_a_watcher_that_is_behind_does_not_undo_a_newer_commit(world: World) -> None:
    old = world.change("one")
    git(world.repository, "branch", "behind")
    new = world.change("two")
    assert world.once().returncode == 0
    behind = world.once("--ref", "behind")
    assert behind.returncode == 5
    assert f"commit {old[:12]} is older than the live one, {new[:12]}: not applied" in behind.stderr
    assert f"iogate: the newest version of behind of {world.repository} is not live" in behind.stderr
    assert world.history()[0]["commit"] == new


def test_what_was_rolled_back_stays_away_until_the_content_changes(world: World) -> None:
    world.change("good")
    assert world.once().returncode == 0
    world.change("bad")
    assert world.once().returncode == 0
    commit(world.repository, README="changes no document")
    assert world.once().returncode == 0
    assert world.run("rollback", "--yes").returncode == 0
    refused = world.once()
    assert refused.returncode == 5
    assert "rolled back this content, that of revision 2, in revision 3 [IOG666]" in refused.stderr
    assert [each["revision"] for each in world.history()] == [3, 2, 1]
    world.change("better")
    assert world.once().returncode == 0
    assert world.history()[0]["revision"] == 4


def test_a_store_out_of_reach_is_tried_again(world: World) -> None:
    world.change("one")
    os.kill(world.server.pid, signal.SIGSTOP)
    try:
        with world.watching():
            until(lambda: "watch.unreachable" in world.log)
            os.kill(world.server.pid, signal.SIGCONT)
            until(lambda: applied(world.log))
    finally:
        os.kill(world.server.pid, signal.SIGCONT)


def test_a_commit_is_tried_again_while_the_store_cannot_save(world: World) -> None:
    world.change("one")
    assert world.once().returncode == 0
    fail_saves(world.server)
    second = world.change("two")
    with world.watching():
        until(lambda: "watch.unreachable" in world.log)
        refused = world.run("disable", "shop/buy")
        repair_saves(world.server)
        until(lambda: applied(world.log))
    assert world.history()[0]["commit"] == second
    assert refused.returncode == 6
    assert "iogate: the store is out of reach: MISCONF" in refused.stderr
    assert "free space on the disk of the server" in refused.stderr


def test_a_folder_that_cannot_be_written_is_tried_again(world: World) -> None:
    world.change("one")
    blocking = world.home / ".iogate" / "git"
    blocking.parent.mkdir()
    blocking.write_text("a file, so that the mirror has no folder")
    with world.watching():
        until(lambda: "watch.unreachable" in world.log)
        blocking.unlink()
        until(lambda: applied(world.log))
    assert f"cannot make the folder of the mirror of {world.repository}" in world.log


def test_a_history_that_the_store_refuses_is_reported(world: World) -> None:
    world.change("one")
    with Redis.from_url(world.server.url) as plain:
        plain.set(keys.revisions("default"), "another program")
    ran = world.once()
    assert ran.returncode == 5, ran.stderr
    assert actions(ran.stderr) == ["watch.unreachable"]
    assert "the store refused a command: WRONGTYPE" in ran.stderr


async def test_a_machine_that_starts_no_process_is_tried_again(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = ProjectWatcher(
        source=FolderSource(folder=tmp_path, stamp=lambda _: "one"),
        open_store=lambda _: nullcontext(store),
        project_of=lambda _: "default",
        options=(),
        environment=dict,
    )
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    for _ in range(2):
        assert await watcher.look() is False
    (record,) = [each for each in caplog.records if getattr(each, "action", "") == "watch.unreachable"]
    assert record.getMessage().startswith("this machine cannot apply the project: [Errno 2]")


async def test_an_apply_that_is_killed_is_tried_again(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = ProjectWatcher(
        source=FolderSource(folder=tmp_path, stamp=lambda _: "one"),
        open_store=lambda _: nullcontext(store),
        project_of=lambda _: "default",
        options=(),
        environment=dict,
    )
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\necho started >> starts\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    for _ in range(2):
        assert await watcher.look() is False
    assert (tmp_path / "starts").read_text() == "started\nstarted\n"
    (record,) = [each for each in caplog.records if getattr(each, "action", "").startswith("watch.")]
    assert record.getMessage() == "iogate apply was killed by signal 9; trying again"


def test_a_deletion_needs_prune(world: World) -> None:
    world.change("one")
    assert world.once().returncode == 0
    more = {"apis__d__more__yaml": API.format(text="x").replace("module: shop", "module: more")}
    commit(world.repository, **more)
    assert world.once().returncode == 0
    (world.repository / "apis.d/more.yaml").unlink()
    commit(world.repository)
    refused = world.once()
    assert refused.returncode == 5
    assert "more/buy" in refused.stderr
    assert "again" not in refused.stderr, "it looks once"
    assert world.once("--keep-orphans").returncode == 0, "as the refusal suggests"
    assert world.once("--keep-orphans", "--prune").returncode == 64
    assert world.once("--prune", "--max-deletes", "1").returncode == 0


def test_unreadable_repository_is_named(world: World) -> None:
    gone = world.run("watch", "--git", "/nowhere/at/all", "--once")
    assert gone.returncode == 5
    assert "cannot read main of /nowhere/at/all: " in gone.stderr
    assert "trying again" not in gone.stderr, "it looks once"


def test_ref_without_a_repository_is_misuse(world: World) -> None:
    assert (
        world.run("watch", "--ref", "release")
        .stderr.strip()
        .startswith("iogate: --ref and --path need --git")
    )


def test_a_folder_is_followed_without_git(world: World, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "apis.d").mkdir(parents=True)
    (project / "workflows.d").mkdir()
    (project / "workflows.d/buy.yaml").write_text(WORKFLOW)
    (project / "apis.d/shop.yaml").write_text(API.format(text="one"))
    with (world.home / "watch.log").open("ab") as log:
        process = fork_server.start(
            "iogate", "watch", "--interval", "200ms",
            environment=world.environment, folder=project, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: applied(world.log))
        (project / "apis.d/shop.yaml").write_text(API.format(text="two"))
        until(lambda: applied(world.log) == 2)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, world.log


def test_an_environment_is_that_of_the_followed_project(world: World) -> None:
    reads = WORKFLOW.replace("bought: true", "bought: '${ $runtime.vars.region }'")
    files = {"apis__d__shop__yaml": API.format(text="one"), "workflows__d__buy__yaml": reads}
    (world.repository / "iogate.staging.yaml").write_text("vars: {region: eu}\n")
    commit(world.repository, **files)
    plain = world.once()
    assert plain.returncode == 5
    assert "$runtime.vars.region: no such variable" in plain.stderr
    missing = world.once("--env", "prod")
    assert "iogate.prod.yaml: no such file" in missing.stderr
    assert world.once("--env", "staging").returncode == 0
