"""The embedded store as a supervising parent keeps it: started, restarted when it dies, stopped at the end.

Used by `up`, `serve` and `worker`. Invariant: a store that others on this machine still use outlives us.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from iogate.errors import InvalidFiles, IogateError
from iogate.settings import WRONG_SETTING

if TYPE_CHECKING:
    from iogate.settings import Settings
    from iogate.store.embedded import Embedded

log = logging.getLogger(__name__)

LOOK_S = 0.2
AGAIN_S = 1.0


@asynccontextmanager
async def kept_store(settings: Settings) -> AsyncIterator[str]:
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
    starting = asyncio.ensure_future(asyncio.to_thread(_start, settings))
    try:
        embedded = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Told to end while it starts: what comes of it would be left running.
        with contextlib.suppress(IogateError, OSError):
            await _Keeper(settings, await starting).stop()
        raise
    if embedded.adopted:
        log.info("a store was running in %s already, it is used", settings.data_dir)
    keeper = _Keeper(settings, embedded)
    task = asyncio.create_task(keeper.keep(), name="keep the store")
    try:
        yield embedded.url
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keeper.stop()


def _start(settings: Settings) -> Embedded:
    """Start or adopt the embedded store as the settings say."""
    from iogate.store.embedded import start_embedded

    return start_embedded(settings.data_dir, named=settings.store_server)


class _Keeper:
    def __init__(self, settings: Settings, embedded: Embedded) -> None:
        self._settings = settings
        self._embedded = embedded

    async def keep(self) -> None:
        """Start it again whenever it is gone, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._embedded.alive:
                continue
            log.warning("the store is gone, it is started again", extra={"action": "store.restarted"})
            try:
                # Shielded: a start that is under way when we are told to end must not be left half done.
                starting = asyncio.ensure_future(asyncio.to_thread(_start, self._settings))
                self._embedded = await asyncio.shield(starting)
            except asyncio.CancelledError:
                with contextlib.suppress(IogateError, OSError):
                    self._embedded = await starting
                raise
            except (IogateError, OSError) as error:
                # Whatever it is, such as a disk that is full: it may pass, and nobody else starts the store.
                log.error("%s", error, extra={"action": "store.unstartable"})  # noqa: TRY400 — for people
                await asyncio.sleep(AGAIN_S)

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
    """Whether live gateways or workers of other parents on this machine use the store."""
    from iogate.store.connection import open_store

    try:
        store = await open_store(url, client_name="iogate-parent")
    except IogateError:
        return False
    try:
        known = [*await store.presence.list("gateway"), *await store.presence.list("worker")]
    except IogateError:
        return False
    finally:
        await store.close()
    host = socket.gethostname()
    return any(process.host == host and _runs(process.pid) for process in known)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
