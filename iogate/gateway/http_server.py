"""HTTP server of one gateway process, its signals and its graceful shutdown.

Called by `python -m iogate.gateway`. Several processes may serve one port independently: the supervising
parent replaces a process that dies, while the others continue.

    serving ──SIGTERM──▶ not ready, waits ended ──▶ stops accepting ──▶ requests in flight end ──▶ exit
                                                                    └──`grace_s`──▶ exit
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from iogate.gateway.certificates import Certificates, Pair, Signature, Unusable, as_files
from iogate.gateway.sockets import BACKLOG
from iogate.supervision import heartbeat

log = logging.getLogger(__name__)

SETTLE_S = 0.3
"""Time to read from connections accepted last, and to tell kept-alive clients that theirs close."""
CONNECTIONS = 10_000
HEADERS_S = 10
HEADERS_BUFFER = 131_072
"""Bytes of a request head that the server accepts; `calls` refuses smaller ones with a message."""
STREAMS = 100
"""Requests at once on one connection of HTTP/2."""
LOOK_S = 1.0
"""Interval between looks at the files of the certificate."""


class _Server(Server):
    """The granian server on the event loop of this process, with a bound socket.

    A worker is the part of granian that accepts connections; another one with other files takes over when
    the certificate changes, while the first ends its requests.
    """

    def __init__(
        self, app: Any, listening: socket.socket, *, http2: bool = False, pair: Pair | None = None
    ) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto if http2 else HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADERS_S * 1000, max_buffer_size=HEADERS_BUFFER
            ),
            http2_settings=HTTP2Settings(max_concurrent_streams=STREAMS, max_headers_size=HEADERS_BUFFER),
            log_level=LogLevels.error,
            log_dictconfig=_LOGGING,
        )
        self._listening = listening
        self._inode = os.fstat(listening.fileno()).st_ino
        self._pair = pair
        self._accepting = -1
        """Descriptor on which the current worker accepts connections."""
        self._spawning: tuple[Any, Any] = (None, None)
        self._files = contextlib.ExitStack()
        """Copies of certificate and key, which a worker reads when it starts."""

    def _init_shared_socket(self) -> None:
        self._ssp = None

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        self._spawning = (spawn_target, target_loader)
        self.wrks.append(self._started())

    def _started(self) -> Any:
        """Start a worker of the HTTP server on a copy of the socket, with the current certificate.

        Raises OSError, without a change, if the system cannot copy the socket or the certificate.
        """
        with contextlib.ExitStack() as files:
            self.ssl_ctx = _tls(files.enter_context(as_files(self._pair)) if self._pair else None)
            self._accepting = self._listening.dup().detach()
            self._files = files.pop_all()
        # granian owns the copy and closes it.
        holder: Any = SocketHolder
        self._shd = holder(self._accepting, False, BACKLOG)
        spawn_target, target_loader = self._spawning
        worker: Any = self._spawn_worker(idx=0, target=spawn_target, callback_loader=target_loader)
        worker.start()
        return worker

    async def replace(self, pair: Pair) -> None:
        """Serve new HTTP connections with another certificate; requests in flight end on the old ones.

        Raises OSError if the system has no descriptors left; the old certificate then stays in use.
        """
        old: Any = self.wrks[0]
        number, files = self._accepting, self._files
        self._pair = pair
        # Before the new worker starts: no later step may fail, since the old worker would stay beside it.
        with _unused_listener() as unused:
            self.wrks[0] = self._started()
            files.close()
            await asyncio.sleep(SETTLE_S)
            os.dup2(unused.fileno(), number, inheritable=False)
        await asyncio.sleep(SETTLE_S)
        old.terminate()

    def stop_accepting(self) -> None:
        """Leave new connections of the HTTP server to the other processes on the port.

        granian would close connections that it has accepted but not read from yet. So its descriptors are
        replaced with those of an unused listener, and granian has time to read.
        """
        with _unused_listener() as unused:
            for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
                with contextlib.suppress(OSError):
                    if os.fstat(number).st_ino == self._inode:
                        os.dup2(unused.fileno(), number, inheritable=False)

    def interrupt(self) -> None:
        """Stop the HTTP server after the requests in flight; it accepts no more connections."""
        self._listening.close()
        self.interrupt_signal = True
        self.main_loop_interrupt.set()


@contextlib.contextmanager
def _unused_listener() -> Iterator[socket.socket]:
    """Yield an unused listening socket for a trial of the HTTP server."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        unused.listen(1)
        unused.setblocking(False)
        yield unused


def _tls(files: tuple[str, str] | None) -> Any:
    """Return the TLS configuration of the HTTP server in granian's form; None: no TLS."""
    if files is None:
        return (False, None, None, None, str(SSLProtocols.tls12), None, [], False)
    return (True, *files, None, str(SSLProtocols.tls12), None, [], False)


async def trial_server(cert: str, key: str) -> None:
    """Try an HTTP server with these TLS files on its own port; an unusable file ends the process."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        listening.setblocking(False)
        server = _Server(_nothing, listening)
        server.ssl_ctx = _tls((cert, key))
        holder: Any = SocketHolder
        server._shd = holder(listening.dup().detach(), False, 1)  # noqa: SLF001 - of this module
        server._ssp = None  # noqa: SLF001 - of this module
        worker: Any = server._spawn_worker(0, server._spawn_asgi_worker, _nothing)  # noqa: SLF001 - of this module
        worker.start()
        await asyncio.sleep(0.1)


async def _nothing(*_: Any) -> None:
    return


# granian's records go to our handlers; `__main__` logs the start itself.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "incremental": False,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {}, "granian.access": {}},
}


def _raise_file_limit() -> None:
    """Raise the limit of open files of the HTTP server to the hard limit, one for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(
    sites: Sequence[tuple[Any, socket.socket]],
    drain: Callable[[], None],
    *,
    grace_s: float,
    background: Sequence[asyncio.Task[None]] = (),
    http2: bool = False,
    certificates: Certificates | None = None,
) -> None:
    """Serve HTTP until SIGTERM or SIGINT, then end without dropping a request that ends within `grace_s`.

    Each site is an ASGI application with its listening socket.

    The end of a task of `background` is a defect and ends the server in the same way, so that the supervisor
    starts another process. Raises the exception of that task, or RuntimeError if it has none; Unusable for
    files of the certificate that cannot be used.
    """
    _raise_file_limit()
    pair = None if certificates is None else await asyncio.to_thread(certificates.load)
    servers = [_Server(app, listening, http2=http2, pair=pair) for app, listening in sites]
    following: list[asyncio.Task[None]] = []
    if certificates is not None and pair is not None:
        certificates.note_use(pair)
        following.append(asyncio.create_task(_follow(servers, certificates), name="certificates"))
    watched = [*background, *following]
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = [asyncio.create_task(server.serve()) for server in servers]
    ticking = asyncio.create_task(heartbeat.keep_ticking())
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({*serving, stopped, *watched}, return_when=asyncio.FIRST_COMPLETED)
        dead = next((task for task in watched if task.done()), None)
        if dead is not None:
            log.error(
                "background task %s ended unexpectedly; the process stops",
                dead.get_name(),
                extra={"action": "gateway.background"},
            )
        open_ = [server for server, task in zip(servers, serving, strict=True) if not task.done()]
        if open_:
            drain()
            if sys.platform == "linux":
                for server in open_:
                    server.stop_accepting()
                await asyncio.sleep(SETTLE_S)
            for server in open_:
                server.interrupt()
            await asyncio.wait(serving, timeout=grace_s)
        for task in serving:
            if task.done():
                task.result()
        if not all(task.done() for task in serving):
            log.warning("requests were still open after %g s", grace_s, extra={"action": "gateway.cut"})
        if dead is not None:
            dead.result()
            raise RuntimeError(f"background task {dead.get_name()} ended")
    finally:
        own: list[asyncio.Task[Any]] = [ticking, stopped, *following, *serving]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)


async def _follow(servers: Sequence[_Server], certificates: Certificates) -> None:
    """Replace the servers' certificate whenever its files are; after a failure, the last good pair stays.

    A lack of memory, descriptors or time may pass: the next look tries again. The log has each failure of the
    same files once.
    """
    logged: tuple[str, Signature] | None = None
    while True:
        await asyncio.sleep(LOOK_S)
        if not await asyncio.to_thread(certificates.have_changed):
            continue
        try:
            pair = await asyncio.to_thread(certificates.load)
            for server in servers:
                await server.replace(pair)
        except Unusable as error:
            reason = f"{error.message} ({error.hint})"
        except OSError as error:
            certificates.try_again()
            where = f"tls: cannot change to {certificates.cert}"
            reason = f"{where}: {error} (the gateway tries again each second)"
        else:
            certificates.note_use(pair)
            logged = None
            log.info(
                "certificate reloaded from %s", certificates.cert, extra={"action": "certificate.reloaded"}
            )
            continue
        if logged != (failure := (reason, certificates.seen)):
            logged = failure
            log.warning(
                "%s; the previous certificate stays in use", reason, extra={"action": "certificate.refused"}
            )
