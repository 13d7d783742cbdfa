"""Worker process: creates its objects and runs them until it is stopped.

Called by `python -m iogate.worker`. Exit codes: 0 after a normal end, 3 for invalid settings or functions, 6
for a store that must not be used. The worker waits for a store that is unreachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from redis import RedisError

from iogate import functions, logs
from iogate.effects.dispatcher import Effects
from iogate.errors import Misused
from iogate.security.keyring import Keyring, missing
from iogate.settings import Settings
from iogate.store.integrity import trust
from iogate.store.integrity.newest_seals import NewestSeals
from iogate.store.store import Store, StoreUnavailable, open_store
from iogate.supervision import handover, heartbeat
from iogate.telemetry import startup as telemetry
from iogate.timing.clock import StoreClock
from iogate.worker.events.batch_runner import BatchRunner
from iogate.worker.events.callback_delivery import CallbackDelivery
from iogate.worker.events.fault_runs import FaultRuns
from iogate.worker.events.matcher import Matcher
from iogate.worker.events.run_end_rules import RunEndRules
from iogate.worker.events.schedule_runner import ScheduleRunner
from iogate.worker.events.sink_delivery import Delivery
from iogate.worker.events.sinks import read_sinks
from iogate.worker.main_loop import Loop
from iogate.worker.maintenance import Maintenance
from iogate.worker.recording.modes import RecordModes
from iogate.worker.rq_worker import WorkflowWorker
from iogate.worker.runs.children import ChildResolver
from iogate.worker.runs.executor import Executor
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.programs import Programs
from iogate.worker.secrets.callback_secrets import CallbackSecrets
from iogate.worker.secrets.secret_store import SecretStore

if TYPE_CHECKING:
    from iogate.telemetry.tracing import Tracing
    from iogate.worker.run_spans import RunSpans

log = logging.getLogger(__name__)

RETRY_S = 0.5


def new_name() -> str:
    """Return the name that the supervisor gave this worker process, or else a new one."""
    return heartbeat.identity("worker")


async def work(
    settings: Settings,
    root: Path,
    *,
    name: str | None = None,
    solitary: bool = False,
    grace_s: float | None = None,
    temporary: bool = False,
    record_progress: Callable[[bytes], None] = lambda _: None,
    on_start: Callable[[Executor], None] = lambda _: None,
) -> None:
    """Run a worker process until SIGTERM, SIGINT or `shutdown` of RQ; a solitary one ends without suspects.

    `record_progress` keeps a line for crash recovery; `on_start` gets the executor. After `grace_s` (default:
    `drain_timeout`) the worker hands back the runs that have not ended or parked. `temporary`: the store ends
    with this process, so that `data_dir` does not remember its seals. Raises Misused if there is no store
    URL, and IogateError if there is no key to sign with.
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
    ticking = asyncio.create_task(heartbeat.keep_ticking())
    registry = functions.load(settings.functions, root)
    stopped = asyncio.Event()
    store = await _connect(settings, settings.redis_url, name, ring, stopped, temporary=temporary)
    if store is None:
        ticking.cancel()
        return
    secrets = SecretStore(settings, root, once=registry.once(), keyring=ring)
    programs = Programs(store.revisions)
    sinks = read_sinks(settings)
    clock = StoreClock()
    tracing, spans = _start_tracing(secrets)
    loader = Loader(
        programs,
        sinks,
        clock,
        modes=RecordModes(store.revisions),
        record_progress=record_progress if solitary else None,
        spans=spans,
    )
    try:
        async with Effects(
            settings=settings,
            resources=programs.resource,
            functions=registry,
            files=store.files.read,
            redactor=lambda: secrets.redaction,
        ) as effects:
            loop = Loop(
                store=store,
                name=name,
                concurrency=settings.concurrency,
                solitary=solitary,
                clock=clock,
                executor=lambda released: Executor(
                    leases=store.leases,
                    effects=effects,
                    clock=clock,
                    secrets=secrets,
                    loader=loader,
                    children=ChildResolver(store.revisions),
                    released=released,
                    spans=spans,
                ),
            )
            on_start(loop.executor)
            _stop_on_signals(loop.stop)
            if stopped.is_set():  # stopped during startup
                loop.stop()
            registration = asyncio.create_task(_register(settings.redis_url, name, loop), name="registration")
            maintenance = Maintenance(
                store=store,
                name=name,
                secrets=secrets,
                audits=not solitary,
                facts=lambda: {"runs": str(len(loop.executor.runs))},
                callbacks=CallbackSecrets(root, ring),
            )
            beside = [registration, asyncio.create_task(maintenance.run(), name="maintenance")]
            if not solitary:
                # A solitary worker ends soon, so other workers do this work.
                delivery = Delivery(
                    outbox=store.outbox, sinks=sinks, effects=effects, secrets=secrets, owner=name
                )
                rules = RunEndRules(store.revisions)
                callbacks = CallbackDelivery(
                    store=store,
                    effects=effects,
                    rules=rules,
                    redaction=lambda: secrets.redaction,
                    root=root,
                    spans=spans,
                )
                beside += [
                    asyncio.create_task(callbacks.run(), name="callbacks"),
                    asyncio.create_task(FaultRuns(store, rules).run(), name="faults"),
                    asyncio.create_task(ScheduleRunner(store).run(), name="schedules"),
                    asyncio.create_task(BatchRunner(store, name).run(), name="batches"),
                    asyncio.create_task(Matcher(store.events, name).run(), name="matcher"),
                    asyncio.create_task(delivery.run(), name="delivery"),
                ]
            for task in beside:
                task.add_done_callback(log_ended)
            # These objects live as long as the process, so the garbage collector can skip them.
            gc.freeze()
            log.info("worker %s takes runs", name, extra={"action": "worker.started", "worker": name})
            try:
                await loop.run(settings.drain_timeout if grace_s is None else grace_s)
            finally:
                await _end(beside)
                await maintenance.leave()
    finally:
        await store.close()
        if tracing is not None:
            await tracing.close()
        ticking.cancel()
    log.info("worker %s ended", name, extra={"action": "worker.ended", "worker": name})


def log_ended(task: asyncio.Task[None]) -> None:
    """Log a background task of this worker process that has ended too early, with its exception."""
    log.error(
        "background task %s of the worker ended unexpectedly; restart the worker",
        task.get_name(),
        exc_info=None if task.cancelled() else task.exception(),
        extra={"action": "worker.background"},
    )


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End the background tasks of this worker process, when it stops."""
    for task in tasks:
        task.remove_done_callback(log_ended)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _start_tracing(secrets: SecretStore) -> tuple[Tracing | None, RunSpans | None]:
    """Create tracer and spans of this worker process, if OpenTelemetry's variables name a collector."""
    tracer = telemetry.start({**os.environ, **handover.variables()})
    if tracer is None:
        return None, None
    from iogate.worker.run_spans import RunSpans  # noqa: PLC0415 - it imports OpenTelemetry

    return tracer, RunSpans(tracer, redact=lambda text: logs.scrub(secrets.redaction.text(text)))


async def _connect(
    settings: Settings, url: str, name: str, ring: Keyring, stopped: asyncio.Event, *, temporary: bool
) -> Store | None:
    """Open the store for this worker process, with retries; return None if it is stopped first."""
    _stop_on_signals(stopped.set)
    logged = False
    seals = None if temporary else NewestSeals(settings.data_dir, url)
    while not stopped.is_set():
        try:
            store = await open_store(
                url, client_name=name, keyring=ring, replicas=settings.confirming, seals=seals
            )
        except StoreUnavailable as error:
            if not logged:
                log.warning("%s; the worker waits for it", error, extra={"action": "store.unreachable"})
                logged = True
        else:
            if logged:
                log.info("the store is reachable", extra={"action": "store.reachable"})
            return store
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), RETRY_S)
    return None


async def _register(url: str, name: str, loop: Loop) -> None:
    """Keep this worker process registered in RQ until cancelled."""
    while True:
        try:
            worker = await asyncio.to_thread(WorkflowWorker, name, url)
            break
        except (RedisError, OSError):
            await asyncio.sleep(RETRY_S)
    worker.start_listening(loop.handle_command)
    try:
        await asyncio.Event().wait()
    finally:
        await worker.leave()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
