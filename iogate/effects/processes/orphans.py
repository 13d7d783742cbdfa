"""Ends what user code leaves behind: processes that left their group, and those of a killed worker.

Every process of an effect carries IOGATE_PROCESS in its environment, and its children inherit it, so that
they can be found wherever they have fled to. `process` sweeps after a cancelled effect. Run as a script,
this module is the watch that outlives a worker: it waits for the end of its standard input, which the
worker's death brings, and then sweeps all that was the worker's; a byte instead is the worker's farewell.
It imports only the standard library. Where there is no /proc, sweeping finds nothing, and killing the
process group must do.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

VARIABLE = "IOGATE_PROCESS"

PROC = Path("/proc")


def sweep(mark: str, *, prefix: bool = False) -> int:
    """Kill every process that carries the mark, or one that starts with it; return how many there were."""
    wanted = f"\0{VARIABLE}={mark}".encode() + (b"" if prefix else b"\0")
    killed = 0
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in b"\0" + (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
        except OSError:  # gone meanwhile, or another user's
            continue
    return killed


def sweep_out(mark: str, *, prefix: bool = False, deadline_s: float = 1.0) -> None:
    """Sweep until nothing is left: a process that forks while it is killed is found the next time."""
    end = time.monotonic() + deadline_s
    while sweep(mark, prefix=prefix) and time.monotonic() < end:
        pass


def main() -> None:
    mark, folder = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, 1):
        return  # the worker says farewell: it has ended what was its own
    # A process that was being started when the worker died carries its mark only a moment later.
    for _ in range(5):
        sweep_out(mark, prefix=True)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
