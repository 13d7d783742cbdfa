"""Heartbeat of a supervised child process: its identity, and ticks through a pipe to its parent.

Called by gateway and worker processes; `supervisor` sets the environment and reads the pipe. Invariant: the
functions do nothing in a process without a supervisor.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket

IDENTITY = "IOGATE_CHILD"
"""Environment variable with the identity of the child, unique to each process."""
TICK_FD = "IOGATE_TICK_FD"
"""Environment variable that names the inherited file descriptor of the pipe for ticks."""


def identity(name: str) -> str:
    """Return the heartbeat identity of this process: the one from its supervisor, or a new one."""
    return os.environ.get(IDENTITY) or new_identity(name)


def new_identity(name: str) -> str:
    """Return an identity for heartbeats that no other process has: `HOST.NAME.RANDOM`."""
    return f"{socket.gethostname()}.{name}.{secrets.token_hex(4)}"


def tick() -> None:
    """Send a heartbeat to the parent; if the parent is dead, terminate this process."""
    fd = os.environ.get(TICK_FD)
    if fd is None:
        return
    try:
        os.set_blocking(int(fd), False)
        os.write(int(fd), b".")
    except BlockingIOError:
        pass  # the parent is busy, and enough ticks are in the pipe
    except BrokenPipeError:
        os.kill(os.getpid(), signal.SIGTERM)


async def keep_ticking(every_s: float = 1.0) -> None:
    """Send heartbeats for as long as the event loop runs."""
    while True:
        tick()
        await asyncio.sleep(every_s)
