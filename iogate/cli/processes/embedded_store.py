"""Supervision of the embedded store: start, restart after a crash, stop at the end.

Used by `up`, `serve` and `worker`. Invariant: a store that others on this machine still use is not stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from iogate.errors import InvalidFiles, IogateError
from iogate.settings import WRONG_SETTING

if TYPE_CHECKING:
    from iogate.settings import Settings
    from iogate.store.embedded.server import EmbeddedServer
    from iogate.store.store import Store

log = logging.getLogger(__name__)

POLL_S = 0.2
RETRY_S = 1.0


@asynccontextmanager
async def supervised_store(settings: Settings) -> AsyncIterator[str]:
    """Yield the URL of the store; start and supervise the embedded one if `redis_url` is not set.

    Raises:
        InvalidFiles: the settings ask for replicated durability without `redis_url`.
    """
    if settings.redis_url is not None:
        yield settings.redis_url
        return
    if settings.confirming:
        raise InvalidFiles(
            "durability is replicated, and the embedded store has no replicas",
            code=WRONG_SETTING,
            hint="set redis_url to a primary with replicas, or durability: local",
        )
    starting = _StoreStart(settings)
    try:
        embedded = await asyncio.shield(starting.done)
    except asyncio.CancelledError:
        if (left := await starting.cancel()) is not None:
            await _StoreSupervisor(settings, left).stop()
        raise
    if embedded.adopted:
        log.info(
            "using the store that already runs in %s",
            settings.data_dir,
            extra={"action": "store.adopted"},
        )
    supervisor = _StoreSupervisor(settings, embedded)
    task = asyncio.create_task(supervisor.run(), name="store supervisor")
    try:
        yield embedded.url
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await supervisor.stop()


class _StoreStart:
    """Start of the store in a thread, since loading its files may take minutes."""

    def __init__(self, settings: Settings) -> None:
        from iogate.store.embedded.machine import memory_limit
        from iogate.store.embedded.server import start_embedded

        self._cancelled = threading.Event()
        start = partial(
            start_embedded,
            settings.data_dir,
            named=settings.store_server,
            memory=memory_limit(settings.store_memory),
            aborted=self._cancelled,
        )
        self.done: asyncio.Future[EmbeddedServer] = asyncio.ensure_future(asyncio.to_thread(start))

    async def cancel(self) -> EmbeddedServer | None:
        """Cancel the start of the supervised embedded store; return it if it is running already."""
        self._cancelled.set()
        with contextlib.suppress(IogateError, OSError):
            return await self.done
        return None


class _StoreSupervisor:
    """Supervisor of a running embedded store."""

    def __init__(self, settings: Settings, embedded: EmbeddedServer) -> None:
        self._settings = settings
        self._embedded = embedded

    async def run(self) -> None:
        """Supervise the embedded store: restart it whenever it has ended, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            if self._embedded.alive:
                continue
            log.warning("the store has ended, restarting it", extra={"action": "store.restarted"})
            try:
                starting = _StoreStart(self._settings)
                known = self._embedded.url
                try:
                    self._embedded = await asyncio.shield(starting.done)
                except asyncio.CancelledError:
                    self._embedded = await starting.cancel() or self._embedded
                    raise
                if self._embedded.url != known:
                    log.error(
                        "the store has another socket, because the folder of its socket was deleted: "
                        "gateways and workers reach it after a restart of this command",
                        extra={"action": "store.moved"},
                    )
            except (IogateError, OSError) as error:
                # Retry: the cause, such as a full disk, may pass, and no other process restarts the store.
                log.error("%s", error, extra={"action": "store.unstartable"})  # noqa: TRY400 — expected, so without traceback
                await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        if not self._embedded.alive:
            return
        if await _in_use(self._embedded.url):
            log.info("the store is not stopped: other processes use it", extra={"action": "store.left"})
            return
        try:
            await asyncio.to_thread(self._embedded.stop)
        except IogateError as error:
            log.error("%s", error.message, extra={"action": "store.stuck"})  # noqa: TRY400 — expected, so without traceback


async def _in_use(url: str) -> bool:
    """Tell whether live gateways or workers of other parents on this machine use the embedded store.

    A copied folder has announcements of processes that use the original, so only those since the start of
    the server count. A parent whose processes are missed restarts the store.
    """
    from iogate.store.store import open_store

    try:
        store = await open_store(url, client_name="iogate-parent")
    except IogateError:
        return False
    try:
        started_s = await _started_s(store)
        known = [
            *await store.presence.list("gateway", after_s=started_s),
            *await store.presence.list("worker", after_s=started_s),
        ]
    except IogateError:
        return False
    finally:
        await store.close()
    host = socket.gethostname()
    return any(process.host == host and _is_alive(process.pid) for process in known)


async def _started_s(store: Store) -> int:
    """Return the second in which the supervised embedded store started, by its own clock."""
    uptime_s = int((await store.server_info())["uptime_in_seconds"])
    return await store.now_ms() // 1000 - uptime_s


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
