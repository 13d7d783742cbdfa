"""A project with an empty store, and git in its folder."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from iogate.store.store import open_store
from tests.cli.conftest import Cli
from tests.cli.place import write_project


async def _call(url: str, *command: str) -> Any:
    # Without a key: the project generates its own, and an earlier test may have used the store with another.
    store = await open_store(url)
    try:
        return await store.call(*command)
    finally:
        await store.close()


def raw(url: str, *command: str) -> Any:
    """Send one command to the store of a test."""
    return asyncio.run(_call(url, *command))


@pytest.fixture
def project(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The project of `write_project`, on an empty store."""
    raw(redis_url, "FLUSHALL")
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    write_project(cli.root)
    return cli


@dataclass(frozen=True)
class Git:
    """Runs git in the folder of the project."""

    cli: Cli

    def __call__(self, *arguments: str) -> None:
        identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=self.cli.root, check=True, capture_output=True)

    def commit(self) -> None:
        self("add", "-A")
        self("commit", "-qm", "a commit")


@pytest.fixture
def git(project: Cli) -> Git:
    found = Git(project)
    found("init", "-q", "-b", "main")
    project.write(".gitignore", ".iogate/\n")
    found.commit()
    return found
