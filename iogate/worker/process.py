"""A worker process, from its settings to its exit; live objects are put together here.

Called by `python -m iogate.worker`. Its exit codes: 0 after a good end, 3 for settings or functions
that do not hold, 6 for a store that must not be used. A store that is only out of reach is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from redis import RedisError

from iogate import functions
from iogate.effects.perform import Effects
from iogate.errors import Misused
from iogate.security.keyring import Keyring, missing
from iogate.settings import Settings
from iogate.store.integrity import trust
from iogate.store.store import Store, StoreUnavailable, open_store
from iogate.supervision import ticks
from iogate.timing.clock import StoreClock
from iogate.worker.events.delivery import Delivery
from iogate.worker.events.matcher import Matcher
from iogate.worker.events.schedules import ScheduleRunner
from iogate.worker.events.sinks import read_sinks
from iogate.worker.loop import PRESUMED_LOST_S, Loop
from iogate.worker.maintenance import Maintenance
from iogate.worker.rq_worker import WorkflowWorker
from iogate.worker.runs.children import ChildResolver
from iogate.worker.runs.executor import Executor
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.programs import Programs
from iogate.worker.secrets.secret_store import SecretStore

log = logging.getLogger(__name__)

RETRY_S = 0.5


def new_name() -> str:
    """Who this process is: what its parent says, or a name of its own."""
    return ticks.identity() or f"{socket.gethostname()}.worker.{os.getpid()}.{secrets.token_hex(2)}"


async def work(
    settings: Settings,
    root: Path,
    *,
    name: str | None = None,
    solitary: bool = False,
    grace_s: float | None = None,
    record_progress: Callable[[bytes], None] = lambda _: None,
    on_start: Callable[[Executor], None] = lambda _: None,
) -> None:
    """Work until SIGTERM, SIGINT or RQ's `shutdown`; solitary: until there is nothing to do.

    `record_progress` keeps a line for who buries this process; `on_start` gets what drives its runs. After
    `grace_s` (None: the setting `drain_timeout`) the runs that have not ended or parked are handed back.
    """
    if settings.redis_url is None:
        raise Misused(
            "a worker needs a store: redis_url is not set",
            hint='set redis_url, or use "iogate worker", which starts a store in data_dir',
        )
    ring = trust.keyring(settings, root)
    if not ring.can_sign:
        raise missing("a worker executes what processes with the key have accepted")
    name = name or new_name()
    ticking = asyncio.create_task(ticks.keep_ticking())
    registry = functions.load(settings.functions, root)
    stopped = asyncio.Event()
    store = await _connect(settings.redis_url, name, ring, stopped, settings.confirming)
    if store is None:
        ticking.cancel()
        return
    secrets = SecretStore(settings, root, once=registry.once())
    programs = Programs(store.revisions)
    sinks = read_sinks(settings)
    loader = Loader(programs, secrets, sinks, record_progress=record_progress if solitary else None)
    try:
        async with Effects(
            settings=settings,
            resources=programs.resource,
            functions=registry,
            redactor=lambda: secrets.redaction,
        ) as effects:
            clock = StoreClock()
            loop = Loop(
                store=store,
                name=name,
                concurrency=settings.concurrency,
                solitary=solitary,
                clock=clock,
                executor=lambda released: Executor(
                    leases=store.leases,
                    loader=loader,
                    children=ChildResolver(store.revisions),
                    effects=effects,
                    secrets=secrets,
                    clock=clock,
                    released=released,
                    presumed_lost_s=PRESUMED_LOST_S,
                ),
            )
            on_start(loop.executor)
            _stop_on_signals(loop.stop)
            if stopped.is_set():  # told to end while all this was put together
                loop.stop()
            registration = asyncio.create_task(_register(settings.redis_url, name, loop))
            maintenance = Maintenance(
                store=store,
                name=name,
                secrets=secrets,
                audits=not solitary,
                facts=lambda: {"runs": str(len(loop.executor.runs))},
            )
            beside = [registration, asyncio.create_task(maintenance.run(), name="maintenance")]
            if not solitary:
                # A solitary worker ends when it has nothing to do: these are not its business.
                delivery = Delivery(
                    outbox=store.outbox, sinks=sinks, effects=effects, secrets=secrets, owner=name
                )
                beside += [
                    asyncio.create_task(ScheduleRunner(store).run(), name="schedules"),
                    asyncio.create_task(Matcher(store.events, name).run(), name="matcher"),
                    asyncio.create_task(delivery.run(), name="delivery"),
                ]
            # What lives now lives as long as the process: no collection need look at it again.
            gc.freeze()
            log.info("worker %s takes runs", name, extra={"action": "worker.started", "worker": name})
            try:
                await loop.run(settings.drain_timeout if grace_s is None else grace_s)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                await maintenance.leave()
    finally:
        await store.close()
        ticking.cancel()
    log.info("worker %s ended", name, extra={"action": "worker.ended", "worker": name})


async def _connect(url: str, name: str, ring: Keyring, stopped: asyncio.Event, replicas: int) -> Store | None:
    """Open the store, however long it takes; None when the process is told to end first."""
    _stop_on_signals(stopped.set)
    said = False
    while not stopped.is_set():
        try:
            return await open_store(url, client_name=name, keyring=ring, replicas=replicas)
        except StoreUnavailable as error:
            if not said:
                log.warning("%s; the worker waits for it", error, extra={"action": "store.lost"})
                said = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), RETRY_S)
    return None


async def _register(url: str, name: str, loop: Loop) -> None:
    """Be a worker to RQ for as long as the loop runs."""
    while True:
        try:
            worker = await asyncio.to_thread(WorkflowWorker, name, url)
            break
        except (RedisError, OSError):
            await asyncio.sleep(RETRY_S)
    worker.attend(loop.hear)
    try:
        await asyncio.Event().wait()
    finally:
        await worker.leave()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
