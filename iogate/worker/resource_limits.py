"""Resource limits of a worker and of the processes that it starts.

Called once by `__main__`. Invariant: an expression or a script that uses too much memory ends its own
process, before the store or other workers run out of it.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

MEMORY = 4 * 1024**3
"""Largest data segment of one process, in bytes."""
SHARE = 0.8
"""Largest share of the memory of the machine, or of the container if that is less."""
FIRST_VICTIM = "500"
"""OOM score adjustment: the kernel kills a worker before the store."""

_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def apply() -> None:
    """Apply the resource limits of a worker to this process, as far as the system permits."""
    bound = min(MEMORY, int(SHARE * _memory()))
    for kind, wanted in ((resource.RLIMIT_DATA, bound), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):
            soft, hard = resource.getrlimit(kind)
            limits = [each for each in (soft, hard, wanted) if each != resource.RLIM_INFINITY]
            resource.setrlimit(kind, (min(limits), hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM)


def _memory() -> int:
    """Return the memory of the machine or container in bytes, for the limits of a worker."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CONTAINER:
        with contextlib.suppress(OSError, ValueError):
            available = min(available, int(path.read_text()))
    return available
