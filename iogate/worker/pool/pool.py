"""Pool of worker processes under a supervisor: solitary and standby workers, and crash recovery.

Used by the commands that start workers. Invariants: the runs of a dead worker return to the queue as soon as
the supervisor sees its exit; a suspect shares its process with no other run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from iogate.errors import Unreachable
from iogate.settings import Settings, permissions, to_environment
from iogate.store.connection.connection import CommandFailed
from iogate.store.maintenance.process_presence import WORKER
from iogate.store.runs.leases import POISONED
from iogate.store.store import Store, open_store
from iogate.supervision import handover
from iogate.supervision.supervisor import Child, Exit, Supervisor
from iogate.worker.pool import crash_report, heartbeat_files, standby

log = logging.getLogger(__name__)

PREFIX = "worker-"
SOLITARY_PREFIX = "solitary-"
SOLITARY = 8
"""Largest number of solitary workers: a dead worker may leave a hundred suspects, each with a call that takes
a second, and all should continue within half a minute."""
LOOK_S = 0.5
READY_S = 10.0
"""Longest time that suspects wait for the other processes to start."""
RECOVERY_S = 20.0
"""Time limit of a recovery, after which the leases have expired by themselves."""
HAND_BACK_S = 5.0
"""Time after `drain_timeout` for handing back the runs that are left."""


class Pool:
    """Workers of one supervisor; `settings.redis_url` must be set."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings = settings
        self._root = root
        self._data_dir = root / settings.data_dir
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._recoveries: set[asyncio.Task[None]] = set()
        self._standby = standby.Standby(PREFIX)

    def children(self, count: int | None = None) -> tuple[Child, ...]:
        """Return the worker processes of the pool that the settings ask for, or `count`."""
        wanted = self._settings.workers if count is None else count
        return tuple(self._child(f"{PREFIX}{n}") for n in range(1, wanted + 1))

    async def handle_exit(self, gone: Exit) -> None:
        """Recover the runs of a worker of the pool after its exit; other processes are ignored."""
        if not gone.name.startswith((PREFIX, SOLITARY_PREFIX, standby.PREFIX)):
            return
        task = asyncio.create_task(self._recover(gone.identity, gone))
        self._recoveries.add(task)
        task.add_done_callback(self._recoveries.discard)

    async def watch(self, supervisor: Supervisor) -> None:
        """Watch the pool: start a solitary worker while suspects wait, a standby while one is silent.

        Runs until cancelled. Solitary workers start one at a time, after the other processes: a crash leaves
        many suspects at once, and the start of a process costs a second of CPU time.
        """
        names = [f"{SOLITARY_PREFIX}{n}" for n in range(1, SOLITARY + 1)]
        try:
            await self._recover_abandoned()
            await supervisor.ready(READY_S)
            while True:
                await asyncio.sleep(LOOK_S)
                self._standby.update(supervisor, self._child)
                free = [name for name in names if name not in supervisor.pids()]
                if free and await self._suspects() and await supervisor.ready(LOOK_S):
                    supervisor.add(self._child(free[0], solitary=True))
        finally:
            await self._standby.close()
            await self.close()

    async def _suspects(self) -> int:
        try:
            return await (await self._open()).leases.suspects()
        except (Unreachable, CommandFailed):
            return 0

    async def close(self) -> None:
        """Close the pool: cancel the recoveries that are under way, and disconnect."""
        if self._recoveries:
            _, pending = await asyncio.wait(self._recoveries, timeout=1)
            for task in pending:
                task.cancel()
        if self._store is not None:
            await self._store.close()
            self._store = None

    async def _recover_abandoned(self) -> None:
        """Recover the runs of workers of a pool that died together with their supervisor."""
        dead = await asyncio.to_thread(heartbeat_files.find_abandoned, self._data_dir)
        await asyncio.gather(*(self._recover(worker) for worker in dead))

    def _child(self, name: str, *, solitary: bool = False) -> Child:
        return Child(
            name=name,
            command=(sys.executable, "-P", "-m", "iogate.worker", *(("--solitary",) if solitary else ())),
            environment=self._environment(),
            # A callback of a later revision may refer to any variable. They stay in the memory of the worker:
            # its processes get those of `environment` only.
            handover={**os.environ, **to_environment(self._settings)},
            directory=str(self._root),
            ticks=True,
            grace_s=self._settings.drain_timeout + HAND_BACK_S,
            restart=not solitary,
            stage=1,
        )

    def _environment(self) -> dict[str, str]:
        """Return the environment variables that the pool passes on to workers by the settings."""
        settings = self._settings
        named = (*settings.worker_environment, *settings.process_environment)
        if permissions.allows_kind(settings.allow_run, "container"):
            # This import loads the HTTP client, which a supervisor does not need.
            from iogate.effects.processes import containers  # noqa: PLC0415 - see above

            named += containers.VARIABLES
        return handover.selected(os.environ, named)

    async def _open(self) -> Store:
        async with self._opening:
            if self._store is None:
                assert self._settings.redis_url is not None
                self._store = await open_store(self._settings.redis_url, client_name="iogate-parent")
            return self._store

    async def _recover(self, worker: str, gone: Exit | None = None) -> None:
        uid, error = "", POISONED
        # A worker that was stopped and then killed did not die by itself.
        seen = gone is not None and gone.reason != "stopped"
        if (
            note := crash_report.decode_note(heartbeat_files.read_progress(self._data_dir, worker))
        ) is not None:
            uid, error = note.uid, crash_report.describe_crash(note, gone, self._settings.error_types)
        try:
            async with asyncio.timeout(RECOVERY_S):
                while True:
                    try:
                        store = await self._open()
                        runs = await store.leases.recover(worker, uid=uid, error=error, seen=seen)
                        await store.presence.leave(WORKER, worker)
                        break
                    except (Unreachable, CommandFailed):
                        await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return
        heartbeat_files.remove(self._data_dir, worker)
        if runs:
            log.warning(
                "returned %d run of %s to the queue" if runs == 1 else "returned %d runs of %s to the queue",
                runs,
                worker,
                extra={"action": "worker.recovered", "worker": worker, "runs": runs},
            )
