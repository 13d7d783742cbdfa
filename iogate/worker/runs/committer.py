"""Gathers the commits of many runs into one call of the store: one script, one write to its log.

Used by `executor`. Batches form by themselves: what arrives while a call is under way goes with the next.
Invariant: each commit that was added is answered once: by the store's verdict; by `refused` where the store
takes others and not this one; or by `lost` when the store stays out of reach until the lease must be
presumed lost. A commit may be sent any number of times: the store applies sequence n+1 and answers a
repeated n as it did.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed, StoreFull
from iogate.store.runs.commits import Commit
from iogate.store.runs.leases import CommitResult, Leases
from iogate.timing.backoff import Backoff
from iogate.worker.runs.run import Run
from iogate.worker.runs.scheduler import Lane

log = logging.getLogger(__name__)

BATCH = 32
BATCH_BYTES = 4 * 1024 * 1024
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0
FULL = re.compile(r"\b(MISCONF|NOREPLICAS)\b")
"""Temporary errors of the server that no commit causes: no disk, no replica."""


class Committer:
    """Batches of commits; each commit has one outcome, which it reports through a callback."""

    def __init__(
        self,
        leases: Leases,
        *,
        settled: Callable[[Run, CommitResult], None],
        lost: Callable[[Run, str], None],
        refused: Callable[[Run, str], None],
        presumed_lost: Callable[[Run], bool],
    ) -> None:
        self._leases = leases
        self._settled = settled
        self._lost = lost
        self._refused = refused
        self._presumed_lost = presumed_lost
        self._waiting: Lane[tuple[Run, Commit]] = Lane()
        self._arrived = asyncio.Event()

    def add(self, run: Run, commit: Commit) -> None:
        self._waiting.append(run.api, (run, commit))
        self._arrived.set()

    async def run(self) -> None:
        """Send batches until cancelled."""
        while True:
            await self._arrived.wait()
            while self._waiting:
                await self._send(self._batch())
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

    async def _send(self, batch: list[tuple[Run, Commit]]) -> None:
        backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        while batch:
            try:
                verdicts = await self._leases.commit([commit for _, commit in batch])
            except StoreFull as error:
                reason = str(error)
                log.warning("%s", error, extra={"action": "store.full"})
            except Unreachable as error:
                reason = str(error)
            except CommandFailed as error:
                reason = str(error)
                if not FULL.search(reason):
                    if len(batch) == 1:
                        self._refused(batch[0][0], reason)
                        return
                    # The store cannot accept one of them; the others must not wait for it.
                    for entry in batch:
                        await self._send([entry])
                    return
                log.warning("the store is full: %s", reason, extra={"action": "store.full"})
            else:
                for (run, _), verdict in zip(batch, verdicts, strict=True):
                    self._settled(run, verdict)
                return
            await asyncio.sleep(backoff.next_s())
            for run, _ in batch:
                if not run.gone and self._presumed_lost(run):
                    self._lost(run, reason)
            batch = [(run, commit) for run, commit in batch if not run.gone]
