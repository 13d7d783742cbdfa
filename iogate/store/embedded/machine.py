"""Memory of this machine or container, for the limit of the embedded store.

Used by the commands that start the store. Reads the control groups of Linux, v1 and v2.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def memory_limit(setting: int | str) -> int:
    """Return the setting `store_memory` in bytes; it may be a percentage of this machine's memory."""
    if isinstance(setting, int):
        return setting
    return memory() * int(setting.removesuffix("%")) // 100


def memory() -> int:
    """Return the memory of this machine in bytes, or of its container if that has less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits()])


def _limits() -> Iterator[int]:
    """Yield the limits of this machine's memory by the control groups of this process."""
    try:
        groups = OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(path)
        # In a container, the path may be that of the host while the root is the container's group.
        for each in (group, *group.parents):
            try:
                text = (root / str(each).lstrip("/") / name).read_text(encoding="utf-8").strip()
            except OSError:
                continue
            if text.isdecimal():
                yield int(text)
