"""The parent's part of the work: which workers to keep, what follows a death or silence, who takes suspects.

Used by `up` and `rq_worker` with a Supervisor. Invariant: the runs of a worker that died are somebody
else's to take as soon as the parent sees it die, and a run that kills workers meets nobody but itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from iogate.errors import Unreachable
from iogate.settings import Settings, secret_variables, to_environment
from iogate.store.connection.connection import CommandFailed
from iogate.store.maintenance.presence import WORKER
from iogate.store.runs.leases import POISONED
from iogate.store.store import Store, open_store
from iogate.supervision import handover
from iogate.supervision.supervisor import Child, Exit, Supervisor
from iogate.worker.pool import crash_report, heartbeat_files, standby

log = logging.getLogger(__name__)

PREFIX = "worker-"
SOLITARY_PREFIX = "solitary-"
SOLITARY = 8
"""Suspects that are tried at once, each in a process of its own: a worker that died may leave a hundred,
each in the middle of a call that takes a second, and all are to go on within half a minute."""
LOOK_S = 0.5
READY_S = 10.0
"""Suspects wait no longer for a worker or gateway that does not come up."""
BURY_S = 20.0
"""Beyond that, the leases have expired by themselves."""
HAND_BACK_S = 5.0
"""Time after `drain_timeout` for handing back the runs that are left."""


class Pool:
    """Workers and solitary workers of one parent; `settings.redis_url` is set."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings = settings
        self._root = root
        self._data_dir = root / settings.data_dir
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._burials: set[asyncio.Task[None]] = set()
        self._standby = standby.Standby(PREFIX)

    def children(self, count: int | None = None) -> tuple[Child, ...]:
        """The workers that the settings ask for."""
        wanted = self._settings.workers if count is None else count
        return tuple(self._child(f"{PREFIX}{n}") for n in range(1, wanted + 1))

    async def handle_exit(self, gone: Exit) -> None:
        """After each exit of a child: what a worker held goes to others."""
        if not gone.name.startswith((PREFIX, SOLITARY_PREFIX, standby.PREFIX)):
            return
        task = asyncio.create_task(self._bury(gone.identity, gone))
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def watch(self, supervisor: Supervisor) -> None:
        """Start a solitary worker while suspects wait, a standby while a worker is silent.

        One solitary start at a time, after those who serve everybody else: a crash leaves many suspects at
        once, and the start of a process costs a second of a core.
        """
        names = [f"{SOLITARY_PREFIX}{n}" for n in range(1, SOLITARY + 1)]
        try:
            await self._bury_abandoned()
            await supervisor.ready(READY_S)
            while True:
                await asyncio.sleep(LOOK_S)
                self._standby.look(supervisor, self._child)
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
        """End what is left of burials, and the connection."""
        if self._burials:
            _, pending = await asyncio.wait(self._burials, timeout=1)
            for task in pending:
                task.cancel()
        if self._store is not None:
            await self._store.close()
            self._store = None

    async def _bury_abandoned(self) -> None:
        """What a parent that was killed could not do: its workers died with it, and nobody noticed."""
        dead = await asyncio.to_thread(heartbeat_files.find_abandoned, self._data_dir)
        await asyncio.gather(*(self._bury(worker) for worker in dead))

    def _child(self, name: str, *, solitary: bool = False) -> Child:
        return Child(
            name=name,
            command=(sys.executable, "-P", "-m", "iogate.worker", *(("--solitary",) if solitary else ())),
            environment=self._environment(),
            handover={
                **to_environment(self._settings),
                **handover.selected(os.environ, secret_variables(self._settings)),
            },
            directory=str(self._root),
            ticks=True,
            grace_s=self._settings.drain_timeout + HAND_BACK_S,
            restart=not solitary,
            stage=1,
        )

    def _environment(self) -> dict[str, str]:
        """Return what the settings pass on to workers of this parent's environment."""
        settings = self._settings
        named = (*settings.worker_environment, *settings.process_environment)
        if "container" in settings.allow_run:
            # It brings the HTTP client, for which a parent has no use.
            from iogate.effects.processes import containers  # noqa: PLC0415 - see above

            named += containers.VARIABLES
        return handover.selected(os.environ, named)

    async def _open(self) -> Store:
        async with self._opening:
            if self._store is None:
                assert self._settings.redis_url is not None
                self._store = await open_store(self._settings.redis_url, client_name="iogate-parent")
            return self._store

    async def _bury(self, worker: str, gone: Exit | None = None) -> None:
        uid, error = "", POISONED
        # One that was told to end and had to be killed did not die by itself.
        seen = gone is not None and gone.reason != "stopped"
        if (
            note := crash_report.decode_note(heartbeat_files.read_progress(self._data_dir, worker))
        ) is not None:
            uid, error = note.uid, crash_report.describe_crash(note, gone, self._settings.error_types)
        try:
            async with asyncio.timeout(BURY_S):
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
                "%d run of %s goes on elsewhere" if runs == 1 else "%d runs of %s go on elsewhere",
                runs,
                worker,
                extra={"action": "worker.buried", "worker": worker, "runs": runs},
            )
