"""Parent process of `up`, `serve` and `worker`, which supervises store, gateways and workers.

    signals ◀── store ◀── apply ◀── gateways, workers ◀── banner ◀── until a signal, watching
                                                                     │
    exit ◀── store ends, unless others use it ◀── children end, workers first

Invariant: no child outlives the parent; the next parent adopts a store that was left running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iogate.cli.apis import credentials, workflow_commands
from iogate.cli.processes import banner
from iogate.cli.processes.local_operator import add_operator, login_note
from iogate.cli.processes.store_retry import LIMIT_S, retry_until_available
from iogate.cli.render import write_stderr
from iogate.cli.session import Session
from iogate.errors import IogateError, Refused, Unreachable

if TYPE_CHECKING:
    import socket

    from iogate.cli.documents.bundle import CheckResult
    from iogate.cli.revisions.folder_changes import Stamp
    from iogate.reconcile.apply import Applied
    from iogate.settings import Settings
    from iogate.store.store import Store
    from iogate.supervision.supervisor import Child, Supervisor

READY_S = 30.0
POLL_S = 0.05
CLOSING_S = 5.0
"""Time for a gateway to close its connections after `drain_timeout`."""
PORT_S = 3.0
"""Time to wait for the port, since gateways of a killed parent end a moment after it."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Selection of the parts that a parent runs."""

    gateways: bool = False
    workers: bool = False
    apply: bool = False
    watch: bool = False


async def run(session: Session, flags: dict[str, Any], parts: Parts) -> None:
    """Run a parent process of the selected parts, with these flags, until a signal.

    Raises KeyboardInterrupt after SIGINT, and as the check, the apply and the start of the parts do.
    """
    from iogate import logs
    from iogate.cli.documents.bundle import compile_or_fail, save_lock
    from iogate.cli.revisions.folder_changes import stamp
    from iogate.supervision import handover
    from iogate.supervision.supervisor import Supervisor
    from iogate.telemetry import otel_variables as telemetry

    def read_settings() -> Settings:
        return session.settings(flags)

    handover.conceal()
    before = stamp(Path.cwd(), read_settings().data_dir) if parts.watch else frozenset()
    settings = read_settings()
    logs.set_up(settings.log_format)
    if problem := telemetry.find_problem(telemetry.read(os.environ)):
        # Once here, not in each process.
        session.screen.warn(problem)
    if parts.workers:
        await _check_isolation(settings)
    checked = compile_or_fail(settings, purpose="apply") if parts.apply else None
    if checked is not None:
        save_lock(session.screen, checked)
    exit_callbacks: list[Any] = []
    supervisor = Supervisor(
        exited=lambda child: exit_callbacks[0](child) if exit_callbacks else _ignore_exit()
    )
    signalled = asyncio.create_task(supervisor.until_signal(), name="signals")
    parent = _Parent(session, settings, parts, checked, supervisor, exit_callbacks)
    serving = asyncio.create_task(parent.serve(read_settings, before), name="parent")
    try:
        await asyncio.wait({signalled, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        signalled.cancel()
    if signalled.done() and not signalled.cancelled() and signalled.result() == signal.SIGINT:
        raise KeyboardInterrupt


async def _check_isolation(settings: Settings) -> None:
    """Check in the parent that processes can be isolated as the settings require; workers would not start.

    Raises:
        Misused: isolation is not possible.
    """
    if settings.process_isolation != "none":
        from iogate.effects import Effects

        async with Effects(settings=settings):
            pass


async def _ignore_exit() -> None:
    """Do nothing: default callback of the parent process for the exit of a child."""


@dataclass(frozen=True, kw_only=False)
class _Parent:
    """Parent process that runs the selected parts."""

    session: Session
    settings: Settings
    parts: Parts
    checked: CheckResult | None
    supervisor: Supervisor
    exit_callbacks: list[Any]

    async def serve(self, read_settings: Any, before: Stamp) -> None:
        """Run as the parent process: open the store, apply, start the children, and wait until cancelled.

        `before` is the stamp of the files that are applied.
        """
        from iogate.cli.processes.embedded_store import supervised_store

        whole = self.parts.gateways and self.parts.workers
        settings = add_operator(self.settings) if whole else self.settings
        async with _listen(settings, self.parts) as files, supervised_store(self.settings) as url:
            settings = replace(settings, redis_url=url)
            write_stderr(f"store: {self._store_name(url)}", style="bright_black")
            store = await self._open_store(settings)
            try:
                for finding in await retry_until_available(store.findings) if self.settings.redis_url else ():
                    self.session.screen.warn(f"{finding.message}; {finding.hint}")
                number = await self._apply(store)
                async with self._children(store, settings, files):
                    await self._announce_or_warn(store, settings, number)
                    if self.parts.watch:
                        await self._watch(store, read_settings, before)
                    await asyncio.Event().wait()
            finally:
                await store.close()

    async def _open_store(self, settings: Settings) -> Store:
        """Open the store for the parent process; wait for an embedded one, report a wrong address at once.

        An embedded store of an earlier release is adopted, since only its user could write to it.
        """
        from iogate.cli.processes.store_opening import open_to_serve

        limit_s = 0.0 if self.settings.redis_url else LIMIT_S
        return await retry_until_available(
            lambda: open_to_serve(
                settings,
                publishes=self.parts.apply or self.parts.watch,
                embedded=self.settings.redis_url is None,
                say=self.session.screen.note,
            ),
            limit_s=limit_s,
        )

    def _store_name(self, url: str) -> str:
        from iogate.security.redaction_patterns import redact_url

        where = "" if self.settings.redis_url else f" (embedded in {self.settings.data_dir})"
        return redact_url(url) + where

    async def _apply(self, store: Store) -> int | None:
        """Publish the files before the parent process serves; return the number of the live revision.

        A restart does not publish again what a rollback took back. Without an apply, it is None also if the
        record of the live revision is refused.
        """
        from iogate.cli.revisions.folder_publication import publish_folder, read_origin, summarize
        from iogate.reconcile.apply import NotConverged
        from iogate.reconcile.deletion_guard import TAKEN_BACK
        from iogate.store.revisions.revision_errors import NotAuthentic

        if (checked := self.checked) is not None:
            origin = await asyncio.to_thread(read_origin, self.settings)
            applied: Applied | None = None
            try:
                applied = await retry_until_available(
                    lambda: publish_folder(store, checked, origin=origin, wait_s=0)
                )
            except NotConverged as late:
                applied = late.applied  # gateways of other machines, or of a parent that was killed just now
            except Refused as refused:
                if refused.code != TAKEN_BACK:
                    raise
                self.session.screen.warn(f"{refused.message}: it is not published again; {refused.hint}")
            if applied is not None:
                self.session.screen.note(summarize(applied))
                return applied.number
        try:
            live = await retry_until_available(store.revisions.live)
        except NotAuthentic:
            # Workers continue runs, gateways serve other projects, and a repair needs the embedded store.
            return None
        return live[0] if live is not None else None

    @asynccontextmanager
    async def _children(
        self, store: Store, settings: Settings, files: tuple[int, ...]
    ) -> AsyncIterator[None]:
        from iogate.cli.processes.shutdown_progress import ShutdownProgress
        from iogate.settings.urls import gateway_url
        from iogate.worker.pool.pool import Pool

        async with self.supervisor:
            watching: asyncio.Task[None] | None = None
            if self.parts.workers:
                # Links to the gateway beside them work without a setting.
                url = gateway_url(settings) if self.parts.gateways else settings.public_url
                pool = Pool(replace(settings, public_url=url), Path.cwd())
                self.exit_callbacks.append(pool.handle_exit)
                for child in pool.children():
                    self.supervisor.add(child)
                watching = asyncio.create_task(pool.watch(self.supervisor), name="suspects")
            if self.parts.gateways:
                for child in _gateways(settings, files):
                    self.supervisor.add(child)
            try:
                yield
            finally:
                async with ShutdownProgress(
                    self.session.screen, store, self.supervisor, settings.drain_timeout
                ):
                    await self.supervisor.stop()
                if watching is not None:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)

    async def _announce_or_warn(self, store: Store, settings: Settings, number: int | None) -> None:
        """Print the banner of the parent process, or warn: a banner that fails ends no gateway."""
        from iogate.store.connection.failures import CommandFailed

        try:
            await self._announce(store, settings, number)
        except Unreachable as error:
            self.session.screen.warn(f"{error.message}; the processes wait for it")
        except (IogateError, CommandFailed) as error:
            hint = f"; {error.hint}" if isinstance(error, IogateError) and error.hint else ""
            self.session.screen.warn(f"the processes run, but their APIs cannot be listed: {error}{hint}")

    async def _announce(self, store: Store, settings: Settings, number: int | None) -> None:
        """Wait until the parent's children are ready and serve the revision, then print the banner."""
        from iogate.store.revisions.convergence import loaded_revision

        screen = self.session.screen
        until = time.monotonic() + READY_S
        ready = await self.supervisor.ready(READY_S)
        while ready and self.parts.gateways and number is not None:
            pids = set(self.supervisor.pids().values())
            known = await retry_until_available(lambda: store.presence.list("gateway"))
            taken = [loaded_revision(each, settings.project) for each in known if each.pid in pids]
            if len(taken) >= settings.gateways and min(taken) >= number:
                break
            if time.monotonic() > until:
                ready = False
            await asyncio.sleep(POLL_S)
        if not ready:
            screen.warn(f"not all processes are ready after {READY_S:g} s; still waiting")
        if not self.parts.gateways:
            screen.note(f"working: {settings.workers * settings.concurrency} runs at once")
            return
        if number is None:
            await retry_until_available(store.revisions.live)  # raises the error of a record that is refused
        from iogate.operators.schedules import schedules_json
        from iogate.settings.urls import console_url, gateway_url

        url = gateway_url(settings)
        rows = await retry_until_available(lambda: banner.live_rows(store, number, self.checked))
        schedules = schedules_json((await retry_until_available(store.schedules.upcoming)).values())
        assert settings.redis_url is not None
        curl = banner.easiest_call(rows, url)
        screen.data(
            "up" if self.parts.workers else "serve",
            {
                "revision": number,
                "store": self._store_name(settings.redis_url),
                "url": url,
                "apis": [row.to_json() for row in rows],
                "schedules": schedules,
                "curl": curl,
            },
            banner.parts(
                url=url,
                store=self._store_name(settings.redis_url),
                revision=number,
                rows=rows,
                events=credentials.describe_senders(settings),
                schedules=workflow_commands.schedule_table(schedules) if schedules else None,
            ),
        )
        if settings.operators != self.settings.operators and (
            note := login_note(settings, console_url(settings))
        ):
            screen.note(note)
        elif settings.operators and settings.console_port is not None:
            screen.note(f"console   {console_url(settings)}/console")
        elif settings.console_port is not None:
            screen.warn("console_port has no effect: the setting operators names nobody")

    async def _watch(self, store: Store, read_settings: Any, before: Stamp) -> None:
        from iogate.cli.revisions.folder_changes import watch

        self.session.screen.note("watching: each change of a file is applied")
        await watch(self.session.screen, store, read_settings, settings=self.settings, seen=before)


@asynccontextmanager
async def _listen(settings: Settings, parts: Parts) -> AsyncIterator[tuple[int, ...]]:
    """Open the gateways' sockets in the parent, so that pending connections survive a gateway.

    The first one is that of callers, the second one that of operators if they have a port of their own.

    Raises Unusable for a certificate that the gateways could not use.
    """
    if not parts.gateways:
        yield ()
        return
    from iogate.gateway.certificates import Certificates

    if settings.tls:
        # Here, so that the message is that of the command, not of a gateway that is started again and again.
        await asyncio.to_thread(Certificates(settings.tls).load)
    with contextlib.ExitStack() as opened:
        listening = [opened.enter_context(await _listen_on(settings.host, settings.port))]
        if settings.console_port is not None and settings.operators:
            listening.append(
                opened.enter_context(await _listen_on(settings.host, settings.console_port, is_console=True))
            )
        yield tuple(each.fileno() for each in listening)


async def _listen_on(host: str, port: int, *, is_console: bool = False) -> socket.socket:
    """Return a listening socket; wait for its port. Raises PortTaken or Misused."""
    from iogate.gateway.sockets import CONSOLE_HINT, HINT, PortTaken, listen

    until = time.monotonic() + PORT_S
    while True:
        try:
            return listen(host, port, hint=CONSOLE_HINT if is_console else HINT)
        except PortTaken:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(POLL_S)


def _gateways(settings: Settings, files: tuple[int, ...]) -> tuple[Child, ...]:
    from iogate.gateway.sockets import CONSOLE_FD, LISTEN_FD
    from iogate.settings import to_environment
    from iogate.supervision.supervisor import Child

    return tuple(
        Child(
            name=f"gateway-{number}",
            command=(sys.executable, "-P", "-m", "iogate.gateway"),
            environment={name: str(file) for name, file in zip((LISTEN_FD, CONSOLE_FD), files, strict=False)},
            # A later revision may refer to any variable, so a gateway keeps all of them, in memory only.
            handover={**os.environ, **to_environment(settings)},
            files=files,
            ticks=True,
            grace_s=settings.drain_timeout + CLOSING_S,
        )
        for number in range(1, settings.gateways + 1)
    )
