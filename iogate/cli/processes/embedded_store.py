"""The embedded store as a supervising parent keeps it: started, restarted when it dies, stopped at the end.

Used by `up`, `serve` and `worker`. Invariant: a store that others on this machine still use outlives us.
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
    """The URL of the store: the one that is set, else the embedded one, kept alive meanwhile."""
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
        log.info("a store was running in %s already, it is used", settings.data_dir)
    keeper = _StoreSupervisor(settings, embedded)
    task = asyncio.create_task(keeper.keep(), name="keep the store")
    try:
        yield embedded.url
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keeper.stop()


class _StoreStart:
    """A start under way, in a thread: a store that loads its files may take minutes."""

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
        """End the start, and return the store if it was there already."""
        self._cancelled.set()
        with contextlib.suppress(IogateError, OSError):
            return await self.done
        return None


class _StoreSupervisor:
    def __init__(self, settings: Settings, embedded: EmbeddedServer) -> None:
        self._settings = settings
        self._embedded = embedded

    async def keep(self) -> None:
        """Start it again whenever it is gone, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            if self._embedded.alive:
                continue
            log.warning("the store is gone, it is started again", extra={"action": "store.restarted"})
            try:
                starting = _StoreStart(self._settings)
                try:
                    self._embedded = await asyncio.shield(starting.done)
                except asyncio.CancelledError:
                    self._embedded = await starting.cancel() or self._embedded
                    raise
            except (IogateError, OSError) as error:
                # Whatever it is, such as a disk that is full: it may pass, and nobody else starts the store.
                log.error("%s", error, extra={"action": "store.unstartable"})  # noqa: TRY400 — for people
                await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        if not self._embedded.alive:
            return
        if await _in_use(self._embedded.url):
            log.info("the store stays, others use it", extra={"action": "store.left"})
            return
        try:
            await asyncio.to_thread(self._embedded.stop)
        except IogateError as error:
            log.error("%s", error.message, extra={"action": "store.stuck"})  # noqa: TRY400 — for people


async def _in_use(url: str) -> bool:
    """Tell whether live gateways or workers of other parents on this machine use the store.

    A copied folder holds announcements of processes that use the original, so that only those count that
    were made after the server started. A parent whose processes are missed starts the store again.
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
    return any(process.host == host and _runs(process.pid) for process in known)


async def _started_s(store: Store) -> int:
    """Return the second in which the server started, by its own clock."""
    uptime_s = int((await store.server_info())["uptime_in_seconds"])
    return await store.now_ms() // 1000 - uptime_s


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
