"""The processes below one process, as /proc shows them.

Used by `keeper`, which is their subreaper: whatever they do with groups, sessions and environments, they stay
its descendants. Where there is no /proc, there seem to be none, and the process group must do.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

END_S = 5.0


def children(pid: int) -> list[int]:
    """Return the direct children of a process, the ended ones included."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below one, parents first."""
    found = children(pid)
    for each in found:
        found += children(each)
    return found


def shared_memory(pid: int) -> int:
    """Return the bytes of shared memory that a process holds; no resource limit counts them."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"RssShmem:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def end_all(pid: int) -> None:
    """Kill and reap every process below this one; what forks meanwhile is found in the next pass."""
    until = time.monotonic() + END_S
    while True:
        reap()
        found = descendants(pid)
        for each in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        if not found or time.monotonic() > until:
            return
        time.sleep(0.0005)


def reap() -> None:
    """Take in the children of this process that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
