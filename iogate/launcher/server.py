"""Fork server of one worker: idle keepers take requests from its standard input; it forks new ones.

Started by `effects.processes.launch` with the worker's folder of temporary files as its argument. A request
carries four descriptors: the keeper's channel, and standard input, output and error of the process. The end
of its standard input is the end of the worker: keepers notice that themselves, and the folder is removed.
"""

from __future__ import annotations

import gc
import os
import select
import shutil
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Final

from iogate.launcher import keeper, kernel, tree

LAST_S: Final = 10.0
"""Longest time that keepers may take after the worker's end; then the server kills them."""
STRAYS_S: Final = 1.0
"""Longest time that the server spends on what one killed keeper has left."""
IDLE: Final = 2
"""Keepers that are forked beforehand: a start waits for none."""


def main() -> None:
    """Serve until the worker is gone."""
    folder = sys.argv[1]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        # What a keeper that was killed has left comes here.
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    control = socket.socket(fileno=0)
    taken, take = os.pipe()
    gc.freeze()
    gc.disable()
    keepers: set[int] = set()
    idle: set[int] = set()
    poll = select.poll()
    poll.register(control, 0)  # its end alone: requests are for the keepers
    poll.register(wakes, select.POLLIN)
    poll.register(taken, select.POLLIN)
    while True:
        while len(idle) < IDLE:
            pid = os.fork()
            if pid == 0:
                _become_keeper(control, (wakes, wake, taken), take)
            keepers.add(pid)
            idle.add(pid)
        ready = dict(poll.poll())
        if wakes in ready:
            with suppress(BlockingIOError):
                os.read(wakes, 4096)
            _reap(keepers)
            idle &= keepers
        if taken in ready:
            idle.difference_update(
                struct.unpack(f"={IDLE}i", os.read(taken, 4 * IDLE).ljust(4 * IDLE, b"\0"))
            )
        if control.fileno() in ready:
            break
    until = time.monotonic() + LAST_S
    while keepers and time.monotonic() < until:
        time.sleep(0.02)
        _reap(keepers)
    _kill(keepers)
    shutil.rmtree(folder, ignore_errors=True)


def _become_keeper(control: socket.socket, inherited: tuple[int, ...], take: int) -> None:
    """Wait for a request, tell the server that it is taken, and serve it."""
    try:
        signal.set_wakeup_fd(-1)
        for fd in inherited:
            os.close(fd)
        ended = keeper.prepare()
        message, fds, _, _ = socket.recv_fds(control, 1, 4)
        if message:
            os.write(take, struct.pack("=i", os.getpid()))
            os.close(take)
            control.close()
            for fd in fds:  # a received descriptor is inheritable
                os.set_inheritable(fd, False)
            channel, *stdio = fds
            keeper.keep(socket.socket(fileno=channel), stdio, ended)
        os._exit(0)
    finally:
        os._exit(1)


def _reap(keepers: set[int]) -> None:
    """Reap ended keepers; kill a stopped one, and end what a killed one leaves behind.

    No keeper stops by itself: a script of the same user has sent the signal to escape its end and its limits.
    """
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                if pid in keepers:
                    os.kill(pid, signal.SIGKILL)
            elif pid in keepers:
                keepers.discard(pid)
                if status != 0:
                    _end_strays(keepers)


def _kill(keepers: set[int]) -> None:
    """Kill the keepers that are left and end their trees."""
    if not keepers:
        return
    for pid in keepers:
        os.kill(pid, signal.SIGKILL)
    for pid in keepers:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    _end_strays(set())


def _end_strays(keepers: set[int]) -> None:
    """Kill and reap all children that are no keepers; what forks meanwhile is found in the next pass."""
    until = time.monotonic() + STRAYS_S
    while time.monotonic() < until:
        strays = [child for child in tree.children(os.getpid()) if child not in keepers]
        if not strays:
            return
        for stray in strays:
            for each in (stray, *tree.descendants(stray)):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(stray, os.WNOHANG)
        time.sleep(0.0005)
