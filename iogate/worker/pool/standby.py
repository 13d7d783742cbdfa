"""One worker more while another is silent: an expression that does not end holds up its own worker alone.

Asked by `pool` at each look. Invariants: there is one standby worker at most that takes runs, and its end is
graceful. It stays for a while, so that a machine that is merely busy does not start one after the other.

    none ──a worker silent for SILENT_S──▶ stands in ──all workers tick, for CALM_S──▶ drains, ends
                      ▲                        │
                      └───────── dies ◀────────┘  (the next one AGAIN_S after it began)
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
"""Longer than an honest step takes; a worker ticks each second."""
CALM_S = 30.0
AGAIN_S = 10.0


class Standby:
    """Beside the workers whose names begin with `workers`."""

    def __init__(self, workers: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._needed_at: float | None = None
        """When one was needed last; None: none is."""
        self._began_at = -math.inf
        self._count = 0
        self._endings: set[asyncio.Task[None]] = set()

    def look(self, supervisor: Supervisor, make: Callable[[str], Child]) -> None:
        """Start one or let it go, as the workers are now; `make` gives a worker of a name."""
        silences = supervisor.silences()
        workers = {name: for_s for name, for_s in silences.items() if name.startswith(self._workers)}
        there = [name for name in silences if name.startswith(PREFIX)]
        if not self.needed(workers.values()):
            for name in there:
                self._end(supervisor, name)
        elif not there and self._clock() - self._began_at >= AGAIN_S:
            self._began_at = self._clock()
            self._count += 1
            name = f"{PREFIX}{self._count}"
            silent = ", ".join(worker for worker, for_s in workers.items() if _silent(for_s))
            log.warning(
                "%s takes runs meanwhile: no sign of life of %s",
                name,
                silent or "a worker that is starting",
                extra={"action": "standby.started", "child": name},
            )
            supervisor.add(replace(make(name), once=True))

    def needed(self, silences: Collection[float | None]) -> bool:
        """Whether one is needed, or was until just now. A worker that only starts is no reason to begin."""
        now = self._clock()
        needed = self._needed_at is not None
        if any(_silent(for_s) for for_s in silences) or (needed and None in silences):
            self._needed_at = now
        elif self._needed_at is not None and now - self._needed_at >= CALM_S:
            self._needed_at = None
        return self._needed_at is not None

    async def close(self) -> None:
        """Leave what still ends to the supervisor."""
        for ending in self._endings:
            ending.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _end(self, supervisor: Supervisor, name: str) -> None:
        # A task of its own: it may take as long as its runs have left to be let go.
        log.info("%s ends: all workers tick", name, extra={"action": "standby.ending", "child": name})
        ending = asyncio.create_task(supervisor.remove(name), name=f"end {name}")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


def _silent(for_s: float | None) -> bool:
    return for_s is not None and for_s >= SILENT_S
