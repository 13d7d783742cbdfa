"""Keeper of one process: starts it, monitors its process tree, reports its exit, and kills the whole tree.

Forked by `server`. It is the subreaper of all descendants of the process, so that none can leave the tree,
not even with `setsid` and a cleared environment. Its channel is connected to the worker:

    worker ──▶ 4 bytes length, JSON request; later "T": SIGTERM to the group; "K" or end of file: kill all
    keeper ──▶ {"error": [number, text]}, or {"started": pid} and later {"ended": code, "limit": name}

Invariant: after the keeper has reported the exit, no process of its tree is left, except those that a tool
(the command line of Docker or Podman) leaves running on purpose.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from iogate.launcher import confinement, system_calls, tree

SHORTEST_INTERVAL_S: Final = 0.05
LONGEST_INTERVAL_S: Final = 0.4
"""Longest interval between two checks of a tree, if it is small and does not grow."""
TERMINATE: Final = b"T"
LONGEST_NAME: Final = 512
"""Limit of characters of a step or file name in an error; the worker reads only short messages."""
_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGCHLD", "SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
"""Signals that Python ignores or handles; a program starts with their default actions."""


class _Exited(Exception):
    """The leader of the tree has exited; `code` is 128 + n after signal n."""

    def __init__(self, code: int) -> None:
        self.code = code


def prepare() -> int:
    """Prepare a keeper: become a subreaper; return a descriptor that becomes readable when a child exits."""
    if sys.platform == "linux":
        system_calls.prctl(system_calls.PR_SET_CHILD_SUBREAPER, 1)
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    return wakes


def keep(channel: socket.socket, stdio: Sequence[int], wakes: int) -> None:
    """Read a request from `channel`, and run its process to the end; `wakes` comes from `prepare`."""
    with channel.makefile("rb") as file:
        length = file.read(4)
        if len(length) < 4:
            return
        request = json.loads(file.read(struct.unpack(">I", length)[0]))
    try:
        leader = _start(request, stdio)
    except OSError as fault:
        _send(channel, {"error": [fault.errno, _text(fault)]})
        return
    finally:
        for fd in stdio:
            os.close(fd)
    _send(channel, {"started": leader})
    _Monitor(channel, wakes, leader, request).run()


def _start(request: dict[str, Any], stdio: Sequence[int]) -> int:
    """Start the kept process and return its process id after exec.

    Raises OSError with the failed step.
    """
    if request.get("sandbox") is not None or request["user"] is not None:
        return _start_forked(request, stdio)
    os.chdir(request["folder"])
    # A spawn takes a third of the time of a fork: the keeper confines itself, and its child inherits that.
    _confine(request, alone=False)
    environment = request["environment"]
    actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(_above_stdio(stdio))]
    # Not of processor time: the keeper checks the tree for as long as the process runs.
    with confinement.lent_processor_time(request["limits"]):
        leader = os.posix_spawn(
            _find(request["argv"][0], environment),
            request["argv"],
            environment,
            file_actions=actions,
            setsid=True,
            setsigdef=_SIGNALS,
        )
    # It may have raised its soft limit, and started others, before this.
    for each in (leader, *tree.descendants(leader)):
        confinement.limit_processor_time(request["limits"], each)
    return leader


def _start_forked(request: dict[str, Any], stdio: Sequence[int]) -> int:
    """Start the process confined more than its keeper, which remains out of reach of its signals.

    Raises OSError with the failed step.
    """
    if request.get("sandbox") is not None:
        confinement.unshare_pids(as_user=request["user"] is not None)
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
    """Execute the program to keep in the child, which remains as the first process of a sandbox."""
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
            confinement.enter_sandbox(sandbox)
            program = os.fork()
            if program != 0:
                os.close(report)
                _run_init(program)
            os.setsid()
        os.chdir(request["folder"])
        confinement.limit_processor_time(request["limits"])
        _confine(request, alone=request["user"] is None)
        environment = request["environment"]
        os.execve(_find(request["argv"][0], environment), request["argv"], environment)
    except OSError as fault:
        os.write(report, json.dumps([fault.errno, fault.filename]).encode())
    finally:
        os._exit(127)


def _confine(request: dict[str, Any], *, alone: bool) -> None:
    confinement.set_limits(request["limits"], alone=alone)
    if request["user"] is not None:
        confinement.switch_user(request["user"])
        system_calls.prctl(system_calls.PR_SET_DUMPABLE, 0)
    if not request["tool"]:
        confinement.forbid_new_privileges()


def _above_stdio(stdio: Sequence[int]) -> list[int]:
    """Return the descriptors to keep, duplicated to numbers above 2, so that `dup2` overwrites none."""
    return [os.dup(fd) if fd < 3 else fd for fd in stdio]


def _find(program: str, environment: dict[str, str]) -> str:
    """Return the path of the program to keep. Raises FileNotFoundError."""
    if os.sep in program:
        return program
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(2, os.strerror(2), program)


def _run_init(program: int) -> None:
    """Keep a program as the first process of a PID namespace: reap children until it ends, then exit."""
    for fd in range(3):
        os.close(fd)
    if sys.platform == "linux":
        system_calls.prctl(system_calls.PR_SET_DUMPABLE, 0)
    # The first process of a namespace receives only signals that it handles.
    signal.signal(signal.SIGTERM, lambda *_: _forward(program))
    while True:
        with suppress(InterruptedError):
            pid, status = os.waitpid(-1, 0)
            if pid == program:
                os._exit(_code(status))


def _forward(program: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(program, signal.SIGTERM)


class _Monitor:
    """Monitor of one process tree until its leader exits."""

    def __init__(self, channel: socket.socket, wakes: int, leader: int, request: dict[str, Any]) -> None:
        self._channel, self._wakes, self._leader = channel, wakes, leader
        self._tool = bool(request["tool"])
        self._most: int | None = request["limits"].get("processes")
        self._memory: int | None = request["limits"].get("memory")
        # The first process of a sandbox belongs to the launcher.
        self._ours = 1 if request.get("sandbox") is not None else 0
        self._limit: str | None = None

    def run(self) -> None:
        """Monitor the process tree of this keeper; after its leader exits, kill the rest and report it."""
        interval_s = SHORTEST_INTERVAL_S
        check_at = time.monotonic() + interval_s
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wakes, select.POLLIN)
        try:
            while True:
                self._reap()
                # By the clock: a script can wake the keeper all the time, by orphans that end.
                if not self._tool and time.monotonic() >= check_at:
                    interval_s = self._check_limits(interval_s)
                    check_at = time.monotonic() + interval_s
                left_s = max(0.0, check_at - time.monotonic())
                ready = dict(poll.poll(None if self._tool else left_s * 1000))
                if self._channel.fileno() in ready:
                    self._handle_command()
                elif self._wakes in ready:
                    with suppress(BlockingIOError):
                        os.read(self._wakes, 4096)
        except _Exited as ended:
            code = ended.code
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, signal.SIGKILL)
        if not self._tool:
            tree.kill_all(os.getpid())
        _send(self._channel, {"ended": code, "limit": self._limit})

    def _handle_command(self) -> None:
        command = b""
        with suppress(OSError):
            command = self._channel.recv(1)
        if command == TERMINATE:
            if self._ours:
                os.kill(self._leader, signal.SIGTERM)
            else:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._leader, signal.SIGTERM)
            return
        raise _Exited(self._kill())

    def _reap(self) -> None:
        """Reap ended children of the keeper, except the leader until its group is killed."""
        ended = os.waitid(os.P_PID, self._leader, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            status = ended.si_status
            raise _Exited(status if ended.si_code == os.CLD_EXITED else 128 + status)
        for child in tree.children(os.getpid()):
            if child != self._leader:
                with suppress(ChildProcessError):
                    os.waitpid(child, os.WNOHANG)

    def _check_limits(self, interval_s: float) -> float:
        """Kill the kept tree if it exceeds its limits; return the interval until the next check."""
        found = tree.descendants(os.getpid())
        if self._most is not None and len(found) - self._ours > self._most:
            self._limit = "processes"
            raise _Exited(self._kill())
        held = max(map(tree.shared_memory, found), default=0)
        if self._memory is not None and held > self._memory:
            self._limit = "memory"
            raise _Exited(self._kill())
        grows = (self._most or 0) < len(found) * 8 or held > (self._memory or held) / 8
        return SHORTEST_INTERVAL_S if grows else min(LONGEST_INTERVAL_S, interval_s * 2)

    def _kill(self) -> int:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, signal.SIGKILL)
        if not self._tool:
            tree.kill_all(os.getpid())
        return 128 + signal.SIGKILL


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _text(fault: OSError) -> str:
    text = (
        f"{str(fault.filename)[:LONGEST_NAME]}: {fault.strerror}" if fault.filename else str(fault.strerror)
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    with suppress(OSError):  # the worker may be gone
        channel.sendall(json.dumps(message).encode() + b"\n")
