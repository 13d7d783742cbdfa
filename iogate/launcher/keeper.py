"""Keeper of one process: starts it, watches its tree, reports its end, and leaves nothing of it behind.

Forked by `server`. It is the subreaper of all that the process starts: nothing leaves its tree, also not by
`setsid` and a cleared environment. Its channel leads to the worker:

    worker ──▶ 4 bytes length, JSON request; later "T": SIGTERM to the group; "K" or end of file: kill all
    keeper ──▶ {"error": [number, text]}, or {"started": pid} and later {"ended": code, "limit": name}

Invariant: when the keeper has reported the end, no process of its tree is left, except what a tool (the
command line of Docker or Podman) means to leave running.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from iogate.launcher import confinement, kernel, tree

FIRST_LOOK_S: Final = 0.05
LONGEST_LOOK_S: Final = 0.4
"""Time between two looks at a tree that is small and does not grow."""
TERMINATE: Final = b"T"
LONGEST_NAME: Final = 512
"""Characters of the name of a step or a file in an error; the worker reads only short messages."""
_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGCHLD", "SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
"""Python ignores or handles them; a program starts with their defaults."""


class _Ended(Exception):
    """The leader has ended; `code` is 128 + n after signal n."""

    def __init__(self, code: int) -> None:
        self.code = code


def prepare() -> int:
    """Become the subreaper of all that will be started; return the descriptor that a child's end wakes."""
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    return wakes


def keep(channel: socket.socket, stdio: Sequence[int], wakes: int) -> None:
    """Run one process to its end."""
    with channel.makefile("rb") as file:
        length = file.read(4)
        if len(length) < 4:
            return
        request = json.loads(file.read(struct.unpack(">I", length)[0]))
    try:
        leader = _start(request, stdio)
    except OSError as fault:
        _say(channel, {"error": [fault.errno, _text(fault)]})
        return
    finally:
        for fd in stdio:
            os.close(fd)
    _say(channel, {"started": leader})
    _Watch(channel, wakes, leader, request).run()


def _start(request: dict[str, Any], stdio: Sequence[int]) -> int:
    """Start the process and return its number once it executes its program.

    Raises OSError with the step that failed.
    """
    if request.get("sandbox") is not None or request["user"] is not None:
        return _start_forked(request, stdio)
    os.chdir(request["folder"])
    # A spawn costs a third of a fork: the keeper confines itself, which its child inherits.
    _confine(request, alone=False)
    environment = request["environment"]
    actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(_above_stdio(stdio))]
    return os.posix_spawn(
        _found(request["argv"][0], environment),
        request["argv"],
        environment,
        file_actions=actions,
        setsid=True,
        setsigdef=_SIGNALS,
    )


def _start_forked(request: dict[str, Any], stdio: Sequence[int]) -> int:
    """Start the process confined more than its keeper, which stays the worker's user: no signal of it counts.

    Raises OSError with the step that failed.
    """
    if request.get("sandbox") is not None:
        confinement.separate(as_user=request["user"] is not None)
    reports, report = os.pipe()
    leader = os.fork()
    if leader == 0:
        os.close(reports)
        _run(request, stdio, report)
    os.close(report)
    with open(reports, "rb") as file:
        fault = file.read()
    if fault:
        os.waitpid(leader, 0)
        number, name = json.loads(fault)
        raise OSError(number, os.strerror(number), name)
    return leader


def _run(request: dict[str, Any], stdio: Sequence[int], report: int) -> None:
    """Become the program; in the child, which stays as the first process of a sandbox."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for target, fd in enumerate(_above_stdio(stdio)):
            os.dup2(fd, target)
        os.dup2(report, 3, inheritable=False)
        os.closerange(4, confinement.FILES)
        report = 3
        sandbox = request.get("sandbox")
        if sandbox is not None:
            confinement.enclose(sandbox)
            program = os.fork()
            if program != 0:
                os.close(report)
                _be_first(program)
            os.setsid()
        os.chdir(request["folder"])
        _confine(request, alone=request["user"] is None)
        environment = request["environment"]
        os.execve(_found(request["argv"][0], environment), request["argv"], environment)
    except OSError as fault:
        os.write(report, json.dumps([fault.errno, fault.filename]).encode())
    finally:
        os._exit(127)


def _confine(request: dict[str, Any], *, alone: bool) -> None:
    confinement.limit(request["limits"], alone=alone)
    if request["user"] is not None:
        confinement.become(request["user"])
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    if not request["tool"]:
        confinement.renounce()


def _above_stdio(stdio: Sequence[int]) -> list[int]:
    """Return the descriptors under numbers above 2, where they do not stand in each other's way."""
    return [os.dup(fd) if fd < 3 else fd for fd in stdio]


def _found(program: str, environment: dict[str, str]) -> str:
    """Return the path of a program. Raises FileNotFoundError."""
    if os.sep in program:
        return program
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(2, os.strerror(2), program)


def _be_first(program: int) -> None:
    """Reap as the first process of a PID namespace, whose end ends all others, until the program ends."""
    for fd in range(3):
        os.close(fd)
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    # A namespace's first process gets no signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: _forward(program))
    while True:
        with suppress(InterruptedError):
            pid, status = os.waitpid(-1, 0)
            if pid == program:
                os._exit(_code(status))


def _forward(program: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(program, signal.SIGTERM)


class _Watch:
    """Follows one tree until it has ended."""

    def __init__(self, channel: socket.socket, wakes: int, leader: int, request: dict[str, Any]) -> None:
        self._channel, self._wakes, self._leader = channel, wakes, leader
        self._tool = bool(request["tool"])
        self._most: int | None = request["limits"].get("processes")
        self._memory: int | None = request["limits"].get("memory")
        # The first process of a sandbox is ours.
        self._ours = 1 if request.get("sandbox") is not None else 0
        self._limit: str | None = None

    def run(self) -> None:
        look_s = FIRST_LOOK_S
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wakes, select.POLLIN)
        try:
            while True:
                self._reap()
                ready = dict(poll.poll(None if self._tool else look_s * 1000))
                if self._channel.fileno() in ready:
                    self._obey()
                elif self._wakes in ready:
                    with suppress(BlockingIOError):
                        os.read(self._wakes, 4096)
                elif not ready:
                    look_s = self._look(look_s)
        except _Ended as ended:
            code = ended.code
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, signal.SIGKILL)
        if not self._tool:
            tree.end_all(os.getpid())
        _say(self._channel, {"ended": code, "limit": self._limit})

    def _obey(self) -> None:
        word = b""
        with suppress(OSError):
            word = self._channel.recv(1)
        if word == TERMINATE:
            if self._ours:
                os.kill(self._leader, signal.SIGTERM)
            else:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._leader, signal.SIGTERM)
            return
        raise _Ended(self._kill())

    def _reap(self) -> None:
        """Take in what has ended; the leader stays until its group is killed, so that it keeps its number."""
        ended = os.waitid(os.P_PID, self._leader, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            status = ended.si_status
            raise _Ended(status if ended.si_code == os.CLD_EXITED else 128 + status)
        for child in tree.children(os.getpid()):
            if child != self._leader:
                with suppress(ChildProcessError):
                    os.waitpid(child, os.WNOHANG)

    def _look(self, look_s: float) -> float:
        """Hold the tree against its limits; return the time until the next look."""
        found = tree.descendants(os.getpid())
        if self._most is not None and len(found) - self._ours > self._most:
            self._limit = "processes"
            raise _Ended(self._kill())
        held = max(map(tree.shared_memory, found), default=0)
        if self._memory is not None and held > self._memory:
            self._limit = "memory"
            raise _Ended(self._kill())
        grows = (self._most or 0) < len(found) * 8 or held > (self._memory or held) / 8
        return FIRST_LOOK_S if grows else min(LONGEST_LOOK_S, look_s * 2)

    def _kill(self) -> int:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, signal.SIGKILL)
        if not self._tool:
            tree.end_all(os.getpid())
        return 128 + signal.SIGKILL


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _text(fault: OSError) -> str:
    text = (
        f"{str(fault.filename)[:LONGEST_NAME]}: {fault.strerror}" if fault.filename else str(fault.strerror)
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    with suppress(OSError):  # the worker is gone: nobody waits
        channel.sendall(json.dumps(message).encode() + b"\n")
