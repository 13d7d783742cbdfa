"""Fork server of worker processes: a session of tests imports the modules of a worker once.

`Site.worker` uses it. A forked worker executes `iogate.worker` as `python -m` does, in a process of its own
with the given environment, folder and log; it only finds its modules imported, which is most of the cost of
a start. The supervisor's tests and every `iogate up` start workers by exec.

    test ── request, channel, log ──▶ server ── fork ──▶ worker
    test ◀── pid, exit status ── channel ── server
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

MODULE = "iogate.worker"
THREADS = Path("/proc/self/task")
POSSIBLE = THREADS.is_dir()
"""Whether this system is Linux; elsewhere, libraries of the system may not survive a fork."""
REQUEST_BYTES = 1 << 20


class Forked:
    """A process that the server has forked, in the form of `asyncio.subprocess.Process`."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel: socket.socket | None = channel
        self._status: int | None = None
        self.pid: int = struct.unpack("=i", channel.recv(4))[0]
        channel.setblocking(False)

    @property
    def returncode(self) -> int | None:
        """Exit status; negative: the signal; None: the process runs."""
        if self._channel is not None:
            with suppress(BlockingIOError):
                self._status = struct.unpack("=i", self._channel.recv(4))[0]
                self._channel.close()
                self._channel = None
        return self._status

    async def wait(self) -> int:
        while (code := self.returncode) is None:
            await asyncio.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(*arguments: str, environment: dict[str, str], folder: Path, log: BinaryIO) -> Forked:
    """Start a worker; `log` takes what it writes to its standard streams."""
    ours, theirs = socket.socketpair()
    request = {
        "arguments": arguments,
        "environment": environment,
        "folder": str(folder),
        "data": resource.getrlimit(resource.RLIMIT_DATA),
    }
    with theirs:
        socket.send_fds(_server(), [json.dumps(request).encode()], [theirs.fileno(), log.fileno()])
    return Forked(ours)


_started: list[tuple[subprocess.Popen[bytes], socket.socket]] = []


def _server() -> socket.socket:
    """Return the connection to the server of this session, which ends with it."""
    if not _started:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        _started.append((process, ours))
        atexit.register(_stop)
    return _started[0][1]


def _stop() -> None:
    for process, connection in _started:
        connection.close()
        process.wait()


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._channels: dict[int, socket.socket] = {}
        self._wakes, self._wake = os.pipe()
        for end in (self._wakes, self._wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def run(self) -> dict[str, Any] | None:
        """Serve until the end of the session, and return None; in a worker, return its request."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakes, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._wakes in ready:
                os.read(self._wakes, 4096)
                self._reap()
            if self._control.fileno() in ready:
                data, fds, _, _ = socket.recv_fds(self._control, REQUEST_BYTES, 2)
                if not data:
                    return None
                channel = socket.socket(fileno=fds[0])
                pid = os.fork()
                if pid == 0:
                    channel.close()
                    self._leave()
                    os.dup2(fds[1], 1)
                    os.dup2(fds[1], 2)
                    os.close(fds[1])
                    request: dict[str, Any] = json.loads(data)
                    return request
                os.close(fds[1])
                channel.sendall(struct.pack("=i", pid))
                self._channels[pid] = channel

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with self._channels.pop(ended[0]) as channel, suppress(OSError):
                    channel.sendall(struct.pack("=i", os.waitstatus_to_exitcode(ended[1])))

    def _leave(self) -> None:
        """Give up what belongs to the server, in a process that it has forked."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._wakes)
        os.close(self._wake)
        self._control.close()
        for channel in self._channels.values():
            channel.close()


def main() -> None:
    importlib.import_module(f"{MODULE}.__main__")
    assert len(list(THREADS.iterdir())) == 1, "a thread would be missing in a worker"
    gc.collect()
    gc.freeze()
    request = _Server(socket.socket(fileno=int(sys.argv[1]))).run()
    if request is None:
        return
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    resource.setrlimit(resource.RLIMIT_DATA, request["data"])
    sys.path[0] = request["folder"]
    sys.argv = ["-m", *request["arguments"]]
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
