"""Fork server of one worker: forks keepers, which take requests from its standard input.

Started by `effects.processes.launch` with the worker's folder of temporary files as its argument. A request
carries four descriptors: the keeper's channel, and standard input, output and error of the process. When the
worker ends, standard input is closed; keepers notice that themselves, and the server removes the folder.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Final

from iogate.launcher import folder_removal, keeper, system_calls, tree

LAST_S: Final = 10.0
"""Time that keepers have after the end of the worker, before the server kills them."""
ORPHANS_S: Final = 1.0
"""Longest time that the server spends on the orphans of a killed keeper."""
IDLE: Final = 2
"""Keepers that are forked in advance, so that a start does not wait for a fork."""


def main() -> None:
    """Run the launcher's fork server until the worker ends."""
    folder = sys.argv[1]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    if sys.platform == "linux":
        system_calls.prctl(system_calls.PR_SET_DUMPABLE, 0)
        # The orphans of a killed keeper become children of this process.
        system_calls.prctl(system_calls.PR_SET_CHILD_SUBREAPER, 1)
    control = socket.socket(fileno=0)
    taken, take = os.pipe()
    gc.freeze()
    gc.disable()
    keepers: set[int] = set()
    idle: set[int] = set()
    poll = select.poll()
    poll.register(control, 0)  # only its end: keepers receive the requests
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
    folder_removal.remove(folder)


def _become_keeper(control: socket.socket, inherited: tuple[int, ...], take: int) -> None:
    """Become a keeper, forked by the server: wait for a request, report that to the server, and serve it."""
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
    """Reap ended keepers of the fork server, kill stopped ones, and kill the orphans of failed ones.

    A keeper never stops by itself: a script of the same user has stopped it to escape its limits.
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
                    _kill_orphans(keepers)


def _kill(keepers: set[int]) -> None:
    """Kill the remaining keepers of the fork server and their process trees."""
    if not keepers:
        return
    for pid in keepers:
        os.kill(pid, signal.SIGKILL)
    for pid in keepers:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    _kill_orphans(set())


def _kill_orphans(keepers: set[int]) -> None:
    """Kill and reap all children of the fork server that are not keepers, until none is left."""
    until = time.monotonic() + ORPHANS_S
    while time.monotonic() < until:
        orphans = [child for child in tree.children(os.getpid()) if child not in keepers]
        if not orphans:
            return
        for orphan in orphans:
            for each in (orphan, *tree.descendants(orphan)):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        time.sleep(0.0005)
