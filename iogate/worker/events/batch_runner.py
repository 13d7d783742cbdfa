"""Runner of batches, the bulk actions of operators.

Started by `worker_process` in each worker; the store gives a batch to one worker at a time. Invariant: an
error of one step delays batches, and ends neither the runner nor the worker.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from iogate.errors import Unreachable
from iogate.operators.batches.batch_execution import BatchExecutor
from iogate.store.connection.connection import CommandFailed

if TYPE_CHECKING:
    from iogate.store.store import Store

log = logging.getLogger(__name__)

POLL_S: Final = 2.0
"""Interval of checks without a doorbell: the worker of a batch may have died."""


class BatchRunner:
    """Batch task of one worker."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._executor = BatchExecutor(store, owner)

    async def run(self) -> None:
        """Run due batches of operators in this worker until cancelled."""
        bell, wired = self._store.batches.doorbell()
        async with wired:
            while True:
                due_s: float | None = None
                try:
                    due_s = await self._executor.step()
                except (Unreachable, CommandFailed) as error:
                    log.debug("batches: %s", error, extra={"action": "batch.postponed"})
                except Exception:
                    log.exception("batches failed", extra={"action": "batch.failed"})
                if due_s == 0.0:
                    await asyncio.sleep(0)
                else:
                    await bell.wait(POLL_S if due_s is None else min(POLL_S, due_s))
