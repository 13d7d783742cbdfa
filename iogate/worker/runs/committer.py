"""Gathers the commits of many runs into one call of the store: one script, one write to its log.

Used by `executor`. Batches form by themselves: what arrives while a call is under way goes with the next.
Invariant: each commit that was added has one outcome: the store's result; `Refused` if the store takes others
and not this one; or `Lost` if the store stays out of reach until the lease must be presumed lost. A commit
may be sent any number of times: the store applies sequence n+1 and answers a repeated n as it did.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed, StoreFull
from iogate.store.runs.commits import Commit
from iogate.store.runs.leases import CommitResult
from iogate.timing.backoff import Backoff
from iogate.worker.ports import Clock, Leases
from iogate.worker.runs.run import Run
from iogate.worker.runs.scheduler import Lane

log = logging.getLogger(__name__)

BATCH = 32
BATCH_BYTES = 4 * 1024 * 1024
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0
FULL = re.compile(r"\b(MISCONF|NOREPLICAS)\b")
"""Temporary errors of the server that no commit causes: no disk, no replica."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The store accepts other commits and not this one; nothing was applied."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The store was out of reach until another worker may have the run."""

    reason: str


Outcome = CommitResult | Refused | Lost


class Committer:
    """Batches of commits."""

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self._leases = leases
        self._clock = clock
        self._waiting: Lane[tuple[Run, Commit]] = Lane()
        self._arrived = asyncio.Event()

    def add(self, run: Run, commit: Commit) -> None:
        """Send the commit with the next batch."""
        self._waiting.append(run.api, (run, commit))
        self._arrived.set()

    async def outcomes(self) -> AsyncGenerator[tuple[Run, Outcome], None]:
        """Send batches until closed; yield the outcome of each commit."""
        while True:
            await self._arrived.wait()
            while self._waiting:
                async for outcome in self._send(self._batch()):
                    yield outcome
            self._arrived.clear()

    def _batch(self) -> list[tuple[Run, Commit]]:
        batch: list[tuple[Run, Commit]] = []
        size = 0
        while self._waiting and len(batch) < BATCH and size < BATCH_BYTES:
            run, commit = self._waiting.popleft()
            if run.gone:
                continue
            size += commit.size
            batch.append((run, commit))
        return batch

    async def _send(self, batch: list[tuple[Run, Commit]]) -> AsyncGenerator[tuple[Run, Outcome], None]:
        backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        while batch:
            try:
                results = await self._leases.commit([commit for _, commit in batch])
            except StoreFull as error:
                reason = str(error)
                log.warning("%s", error, extra={"action": "store.full"})
            except Unreachable as error:
                reason = str(error)
            except CommandFailed as error:
                reason = str(error)
                if not FULL.search(reason):
                    if len(batch) == 1:
                        yield batch[0][0], Refused(reason)
                        return
                    # The store cannot accept one of them; the others must not wait for it.
                    for entry in batch:
                        async for outcome in self._send([entry]):
                            yield outcome
                    return
                log.warning("the store is full: %s", reason, extra={"action": "store.full"})
            else:
                for (run, _), result in zip(batch, results, strict=True):
                    yield run, result
                return
            await asyncio.sleep(backoff.next_s())
            now = self._clock.monotonic()
            for run, _ in batch:
                if not run.gone and run.is_presumed_lost(now):
                    yield run, Lost(reason)
            batch = [(run, commit) for run, commit in batch if not run.gone]
