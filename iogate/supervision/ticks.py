"""What a supervised child says to its parent: who it is, and that it is alive.

Called by gateway and worker processes; `supervisor` sets the environment and reads the other end of the pipe.
Invariant: a process that nobody supervises says nothing and loses nothing by it.
"""

from __future__ import annotations

import asyncio
import os
import signal

IDENTITY = "IOGATE_CHILD"
"""Environment variable that tells a child its identity: unique to each process, not to its name."""
TICK_FD = "IOGATE_TICK_FD"
"""Environment variable that names the inherited file descriptor of the pipe for ticks."""


def identity() -> str | None:
    """Who this process is to its parent; None in a process that nobody supervises."""
    return os.environ.get(IDENTITY)


def tick() -> None:
    """Say that this process is alive. A parent that is gone takes it with it."""
    fd = os.environ.get(TICK_FD)
    if fd is None:
        return
    try:
        os.set_blocking(int(fd), False)
        os.write(int(fd), b".")
    except BlockingIOError:
        pass  # the parent is busy and has ticks enough to read
    except BrokenPipeError:
        os.kill(os.getpid(), signal.SIGTERM)


async def keep_ticking(every_s: float = 1.0) -> None:
    """Tick for as long as the event loop turns."""
    while True:
        tick()
        await asyncio.sleep(every_s)
