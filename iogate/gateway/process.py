"""One gateway process: its socket, its HTTP server, its signals and its end.

Called by `python -m iogate.gateway`. Several processes serve one port and none depends on another's
life: the supervising parent replaces one that dies, the others serve on.

    serving ──SIGTERM──▶ not ready, waiters let go ──▶ stops accepting ──▶ requests in flight end ──▶ exit
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
"""Time for connections that were just accepted, and for those kept alive to hear that they end."""
CONNECTIONS = 10_000
HEADERS_S = 10
HEADERS_BUFFER = 131_072
"""What the server holds of a head before it refuses it; `calls` refuses smaller ones with a message."""


class _Server(Server):
    """granian in this process's own loop, on a socket that is bound already."""

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
        # granian owns the descriptor from here on, and closes it.
        holder: Any = SocketHolder
        self._shd = holder(self._listening.detach(), False, BACKLOG)
        self._ssp = None

    def stop_accepting(self) -> None:
        """Leave what comes from now on to those who share the socket.

        granian would close connections whose first request it has accepted but not read yet. So its
        descriptors get another listener, one that nobody knows, and it has time to read.
        """
        with socket.socket() as nobodys:
            nobodys.bind(("127.0.0.1", 0))
            nobodys.listen(1)
            nobodys.setblocking(False)
            for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
                with contextlib.suppress(OSError):
                    if os.fstat(number).st_ino == self._inode:
                        os.dup2(nobodys.fileno(), number, inheritable=False)

    def interrupt(self) -> None:
        """Stop accepting, and end once the requests in flight have."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()


# Its records go to our handlers; what it says on a good day, `__main__` says.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "incremental": False,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {}, "granian.access": {}},
}


def _raise_file_limit() -> None:
    """A connection is a file: as many as the system lets us have."""
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

    A task of `background` that ends is a defect: serving ends in the same way, and its exception is raised,
    RuntimeError if there is none, so that the supervisor starts another process.
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
                "the background task %s ended, and so does this process",
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
            raise RuntimeError(f"the background task {dead.get_name()} ended")
    finally:
        for task in (ticking, stopped, serving):
            task.cancel()
        await asyncio.gather(ticking, stopped, serving, return_exceptions=True)
