"""Descendants of a process, read from /proc.

Used by `keeper` and `server`, which are subreapers: processes stay descendants even if they change groups,
sessions and environments. Without /proc no descendants are found, and only the process group is killed.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

END_S = 5.0


def children(pid: int) -> list[int]:
    """Return the direct children of a process in its tree, including ended ones."""
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
    """Return all descendants of a process in its tree, parents first."""
    found = children(pid)
    for each in found:
        found += children(each)
    return found


def shared_memory(pid: int) -> int:
    """Return the bytes of shared memory of a process in a tree, which no resource limit counts."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"RssShmem:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def kill_all(pid: int) -> None:
    """Kill and reap the tree below a process, repeatedly, since it may fork meanwhile."""
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
    """Reap the ended processes in the tree below this one."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
