"""Commits of many runs are sent in batches, and no API delays those of another."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from iogate.store.connection.failures import CommandFailed, StoreUnavailable
from iogate.timing.clock import StoreClock
from iogate.worker.runs.committer import BATCH, Committer, Refused


@dataclass
class Store:
    """A store that records its batches; the first one is answered when `go` is set."""

    batches: list[list[str]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def commit(self, commits: list[Any]) -> list[Any]:
        self.batches.append([commit.api for commit in commits])
        await self.go.wait()
        return [None] * len(commits)


def run(api: str) -> Any:
    return SimpleNamespace(api=api, gone=False, is_presumed_lost=lambda _now: False)


async def test_one_commit_does_not_wait_for_many_of_another_api() -> None:
    store = Store()
    settled: list[str] = []
    committer = Committer(cast("Any", store), StoreClock())

    def add(api: str) -> None:
        committer.add(run(api), cast("Any", SimpleNamespace(api=api, size=1)))

    for _ in range(4 * BATCH):
        add("herd/run")

    async def send() -> None:
        while True:
            settled.extend(run.api for run, _ in await committer.next_outcomes())

    sending = asyncio.create_task(send())
    while not store.batches:
        await asyncio.sleep(0)
    add("shop/order")
    store.go.set()
    while len(settled) < 4 * BATCH + 1:
        await asyncio.sleep(0)
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    assert [batch.count("shop/order") for batch in store.batches] == [0, 1, 0, 0, 0]
    assert [len(batch) for batch in store.batches] == [BATCH, BATCH, BATCH, BATCH, 1]


class Particular(Store):
    """A store that refuses one commit, and cannot be reached at first."""

    async def commit(self, commits: list[Any]) -> list[Any]:
        self.batches.append([commit.api for commit in commits])
        if len(self.batches) == 1:
            raise StoreUnavailable("no answer")
        if "bad" in self.batches[-1]:
            raise CommandFailed("ERR no")
        return [None] * len(commits)


async def test_a_commit_that_the_store_refuses_does_not_spoil_its_batch() -> None:
    store = Particular()
    committer = Committer(cast("Any", store), StoreClock())
    for api in ("a", "bad", "b"):
        committer.add(run(api), cast("Any", SimpleNamespace(api=api, size=1)))
    outcomes: dict[str, Any] = {}
    while len(outcomes) < 3:
        outcomes |= {settles.api: outcome for settles, outcome in await committer.next_outcomes()}
    assert outcomes == {"a": None, "bad": Refused("ERR no"), "b": None}
    assert store.batches == [["a", "bad", "b"]] * 2 + [["a"], ["bad"], ["b"]]
