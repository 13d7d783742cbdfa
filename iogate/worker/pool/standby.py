"""Standby worker: takes runs while another worker is blocked, for example by an endless expression.

Used by `pool` in each iteration. Invariants: at most one standby worker takes runs, and it shuts down
gracefully. It stays for a while, so that a busy machine does not start one after another.

    none ──a worker silent for SILENT_S──▶ running ──all workers tick, for CALM_S──▶ drains, ends
                      ▲                       │
                      └──────── dies ◀────────┘  (the next one starts AGAIN_S after this one)
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from iogate.supervision.supervisor import Child, Supervisor

log = logging.getLogger(__name__)

PREFIX = "standby-"
SILENT_S = 2.5
"""Longer than a normal step takes; a worker ticks every second."""
CALM_S = 30.0
AGAIN_S = 10.0


class Standby:
    """Control of the standby worker for the workers whose names begin with `workers`."""

    def __init__(self, workers: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._needed_at: float | None = None
        """Time when one was last needed; None if none is needed."""
        self._began_at = -math.inf
        self._count = 0
        self._endings: set[asyncio.Task[None]] = set()

    def update(self, supervisor: Supervisor, make: Callable[[str], Child]) -> None:
        """Start or stop the standby worker as needed; `make` returns the process for a name."""
        silences = supervisor.silences()
        workers = {name: for_s for name, for_s in silences.items() if name.startswith(self._workers)}
        running = [name for name in silences if name.startswith(PREFIX)]
        if not self.needed(workers.values()):
            for name in running:
                self._end(supervisor, name)
        elif not running and self._clock() - self._began_at >= AGAIN_S:
            self._began_at = self._clock()
            self._count += 1
            name = f"{PREFIX}{self._count}"
            silent = ", ".join(worker for worker, for_s in workers.items() if _silent(for_s))
            log.warning(
                "started standby worker %s: no heartbeat of %s",
                name,
                silent or "a worker that is starting",
                extra={"action": "standby.started", "child": name},
            )
            supervisor.add(replace(make(name), once=True))

    def needed(self, silences: Collection[float | None]) -> bool:
        """Tell whether a standby is needed, or was until recently. A worker that is starting needs none."""
        now = self._clock()
        needed = self._needed_at is not None
        if any(_silent(for_s) for for_s in silences) or (needed and None in silences):
            self._needed_at = now
        elif self._needed_at is not None and now - self._needed_at >= CALM_S:
            self._needed_at = None
        return self._needed_at is not None

    async def close(self) -> None:
        """Stop waiting for the ends of standby workers; the supervisor completes them."""
        for ending in self._endings:
            ending.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _end(self, supervisor: Supervisor, name: str) -> None:
        # In a separate task, because its graceful shutdown takes time.
        log.info(
            "stopping standby worker %s: all workers respond",
            name,
            extra={"action": "standby.ending", "child": name},
        )
        ending = asyncio.create_task(supervisor.remove(name), name=f"end {name}")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


def _silent(for_s: float | None) -> bool:
    return for_s is not None and for_s >= SILENT_S
