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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from iogate.gateway.sockets import BACKLOG
from iogate.supervision import ticks

log = logging.getLogger(__name__)

SETTLE_S = 0.3
"""Time to read from connections accepted last, and to tell kept-alive clients that theirs close."""
CONNECTIONS = 10_000
HEADERS_S = 10
HEADERS_BUFFER = 131_072
"""Bytes of a request head that the server accepts; `calls` refuses smaller ones with a message."""


class _Server(Server):
    """The granian server on the event loop of this process, with a bound socket."""

    def __init__(self, app: Any, listening: socket.socket) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADERS_S * 1000, max_buffer_size=HEADERS_BUFFER
            ),
            log_level=LogLevels.error,
            log_dictconfig=_LOGGING,
        )
        self._listening = listening
        self._inode = os.fstat(listening.fileno()).st_ino

    def _init_shared_socket(self) -> None:
        # From here on granian owns the descriptor and closes it.
        holder: Any = SocketHolder
        self._shd = holder(self._listening.detach(), False, BACKLOG)
        self._ssp = None

    def stop_accepting(self) -> None:
        """Leave new connections to the other processes on the port.

        granian would close connections that it has accepted but not read from yet. So its descriptors are
        replaced with those of an unused listener, and granian has time to read.
        """
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            unused.listen(1)
            unused.setblocking(False)
            for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
                with contextlib.suppress(OSError):
                    if os.fstat(number).st_ino == self._inode:
                        os.dup2(unused.fileno(), number, inheritable=False)

    def interrupt(self) -> None:
        """Stop accepting connections, and end after the requests in flight."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()


# granian's records go to our handlers; `__main__` logs the start itself.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "incremental": False,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {}, "granian.access": {}},
}


def _raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit, since each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(
    app: Any,
    listening: socket.socket,
    drain: Callable[[], None],
    *,
    grace_s: float,
    background: Sequence[asyncio.Task[None]] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, then end without dropping a request that ends within `grace_s`.

    The end of a task of `background` is a defect and ends the server in the same way, so that the supervisor
    starts another process. Raises the exception of that task, or RuntimeError if it has none.
    """
    _raise_file_limit()
    server = _Server(app, listening)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(server.serve())
    ticking = asyncio.create_task(ticks.keep_ticking())
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({serving, stopped, *background}, return_when=asyncio.FIRST_COMPLETED)
        dead = next((task for task in background if task.done()), None)
        if dead is not None:
            log.error(
                "background task %s ended unexpectedly; the process stops",
                dead.get_name(),
                extra={"action": "gateway.background"},
            )
        if not serving.done():
            drain()
            if sys.platform == "linux":
                server.stop_accepting()
                await asyncio.sleep(SETTLE_S)
            server.interrupt()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(serving), grace_s)
        if serving.done():
            serving.result()
        else:
            log.warning("requests were still open after %g s", grace_s, extra={"action": "gateway.cut"})
        if dead is not None:
            dead.result()
            raise RuntimeError(f"background task {dead.get_name()} ended")
    finally:
        for task in (ticking, stopped, serving):
            task.cancel()
        await asyncio.gather(ticking, stopped, serving, return_exceptions=True)
