"""Progress report of a graceful shutdown: the runs and requests that it waits for.

Used by `up`, `serve` and `worker` while the supervisor stops its children, workers first. It only reads the
store, and works without it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from iogate.errors import Unreachable
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.cli.render import Screen
    from iogate.store.store import Store
    from iogate.supervision.supervisor import Supervisor

DELAY_S = 0.5
"""A shutdown that ends within this time reports nothing."""
INTERVAL_S = 5.0


class ShutdownProgress:
    """Context manager that reports the progress of a shutdown on stderr every few seconds."""

    def __init__(self, screen: Screen, store: Store, supervisor: Supervisor, drain_timeout_s: float) -> None:
        self._screen = screen
        self._store = store
        self._supervisor = supervisor
        self._limit_s = drain_timeout_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._report(), name="shutdown progress")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _report(self) -> None:
        from iogate.store.connection.connection import CommandFailed

        again = "Ctrl-C again" if sys.stderr.isatty() else "another signal"
        since, running = time.monotonic(), True
        await asyncio.sleep(DELAY_S)
        while True:
            workers = [
                identity
                for name, identity in self._supervisor.identities().items()
                if not name.startswith("gateway-")
            ]
            if running and not workers:
                # The supervisor stops gateways after the last worker, with a timeout of their own.
                since, running = time.monotonic(), False
            waits_for = "open requests"
            if workers:
                try:
                    runs = await self._store.leases.held_by(workers)
                    waits_for = counted(runs, "run") if runs else ""
                except (Unreachable, CommandFailed):
                    waits_for = "runs"
            spent_s = time.monotonic() - since
            if waits_for and spent_s >= DELAY_S:
                left_s = max(0.0, self._limit_s - spent_s)
                self._screen.note(f"waiting for {waits_for}, up to {left_s:.0f} s; {again} ends at once")
            await asyncio.sleep(INTERVAL_S if waits_for and spent_s >= DELAY_S else DELAY_S)
