"""What a worker, and with it each process that it starts, may take of its machine.

Called once by `__main__`. Invariant: an expression or a script that eats memory ends its own process, long
before the machine has none left for the store and for other workers.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

MEMORY = 4 * 1024**3
"""Bytes of data of one process."""
SHARE = 0.8
"""Of the machine's memory, or of the container's, where that is less."""
FIRST_VICTIM = "500"
"""Where the kernel runs out of memory all the same, it ends a worker before the store."""

_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def apply() -> None:
    """Bound this process; what the system does not let one set stays as it is."""
    bound = min(MEMORY, int(SHARE * _memory()))
    for kind, wanted in ((resource.RLIMIT_DATA, bound), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):
            soft, hard = resource.getrlimit(kind)
            limits = [each for each in (soft, hard, wanted) if each != resource.RLIM_INFINITY]
            resource.setrlimit(kind, (min(limits), hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM)


def _memory() -> int:
    """Bytes that there are."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CONTAINER:
        with contextlib.suppress(OSError, ValueError):
            there = min(there, int(path.read_text()))
    return there
