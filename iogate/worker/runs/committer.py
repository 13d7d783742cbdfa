"""Gathers the commits of many runs into one call of the store: one script, one write to its log.

Used by `executor`. Batches form by themselves: what arrives while a call is under way goes with the next.
Invariant: each commit that was added has one outcome: the store's result; `Refused` if the store takes others
and not this one; or `Lost` if the store stays out of reach until the lease must be presumed lost. A commit
may be sent any number of times: the store applies sequence n+1 and answers a repeated n as it did.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
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

BATCH = 64
BATCH_BYTES = 4 * 1024 * 1024
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0


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
        self._unsettled: deque[list[tuple[Run, Commit]]] = deque()
        """Batches to send again, before newer ones."""
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)

    def add(self, run: Run, commit: Commit) -> None:
        """Add the commit of a run to the next batch."""
        self._waiting.append(run.api, (run, commit))
        self._arrived.set()

    async def next_outcomes(self) -> list[tuple[Run, Outcome]]:
        """Send one batch, as soon as there is one; return the outcomes of its commits that are known."""
        batch = self._unsettled.popleft() if self._unsettled else await self._next_batch()
        try:
            results = await self._leases.commit([commit for _, commit in batch])
        except StoreFull as error:
            log.warning("%s", error, extra={"action": "store.full"})
            return await self._postpone(batch, str(error))
        except Unreachable as error:
            return await self._postpone(batch, str(error))
        except CommandFailed as error:
            reason = str(error)
            if len(batch) == 1:
                self._backoff.reset()
                return [(batch[0][0], Refused(reason))]
            # The store cannot accept one of them; the others must not wait for it.
            self._unsettled.extendleft([entry] for entry in reversed(batch))
            return []
        self._backoff.reset()
        return [(run, result) for (run, _), result in zip(batch, results, strict=True)]

    async def _next_batch(self) -> list[tuple[Run, Commit]]:
        while not (batch := self._batch()):
            self._arrived.clear()
            await self._arrived.wait()
        return batch

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

    async def _postpone(self, batch: list[tuple[Run, Commit]], reason: str) -> list[tuple[Run, Outcome]]:
        """Wait before the batch is sent again; return the outcomes of runs that are presumed lost then."""
        await asyncio.sleep(self._backoff.next_s())
        now = self._clock.monotonic()
        lost = [run for run, _ in batch if not run.gone and run.is_presumed_lost(now)]
        kept = [(run, commit) for run, commit in batch if not run.gone and run not in lost]
        if kept:
            self._unsettled.appendleft(kept)
        return [(run, Lost(reason)) for run in lost]
