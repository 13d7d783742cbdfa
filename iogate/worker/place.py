"""Which processes can be seen from here: the same kernel, booted once, and one namespace of pids.

Used by `upkeep`, which announces it, and by `workforce`, which judges by it whether a pid of the past is
dead. A host's name is not enough: containers and machines share names.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def place() -> str:
    """Equal for processes that can see each other's pids; empty where that cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def is_dead(pid: int) -> bool:
    """No process has this pid here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
