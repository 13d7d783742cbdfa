"""Fork server: a session of tests imports the modules of `iogate`, of gateways and of workers once.

A forked process executes its module as `python -m` does, in a process and a session of its own with the given
environment, folder and standard streams; it only finds modules imported, which is most of the cost of a
start. The children of a supervisor are started by exec; `fork_client` is the `iogate` of a page.

    test ── request, channel, streams ──▶ server ── fork ──▶ process
    test ◀── pid, exit status ── channel ── server
"""

from __future__ import annotations

import atexit
import fcntl
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
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tests import patience

MODULES = (
    "iogate.cli.app",
    "iogate.cli.documents.bundle",
    "iogate.cli.processes.shutdown_progress",
    "iogate.cli.processes.embedded_store",
    "iogate.cli.processes.store_opening",
    "iogate.cli.revisions.folder_changes",
    "iogate.cli.revisions.folder_publication",
    "iogate.compiler.compile",
    "iogate.documents.loader",
    "iogate.gateway.__main__",
    "iogate.worker.__main__",
    "iogate.worker.pool.pool",
)
THREADS = Path("/proc/self/task")
POSSIBLE = THREADS.is_dir()
"""Whether this system is Linux; elsewhere, libraries of the system may not survive a fork."""
REQUEST_BYTES = 1 << 20
MOST_FILES = 8
FIRST_MOVED = 500
STATUS = struct.Struct("=i")


class Forked:
    """A process that the server has forked, in the form of `subprocess.Popen`."""

    def __init__(self, arguments: tuple[str, ...], channel: socket.socket) -> None:
        self._arguments = arguments
        self._channel = channel
        self.returncode: int | None = None
        self.pid: int = STATUS.unpack(channel.recv(STATUS.size))[0]

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._channel, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                assert timeout is not None
                raise subprocess.TimeoutExpired(self._arguments, timeout)
            with self._channel:
                self.returncode = STATUS.unpack(self._channel.recv(STATUS.size))[0]
        return self.returncode

    def send_signal(self, number: int) -> None:
        # The server may have taken its exit status since.
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = Forked | subprocess.Popen[bytes]


def start(
    *arguments: str,
    environment: Mapping[str, str],
    folder: Path,
    stdin: IO[Any] | int = subprocess.DEVNULL,
    stdout: IO[Any] | int,
    stderr: IO[Any] | int,
    files: Sequence[int] = (),
    patient: bool = False,
) -> Process:
    """Start `python -m …` in a folder; it inherits `files`, descriptors, under the same numbers.

    The streams are files, or descriptors. One that is `patient` waits longer for its store.
    """
    if not POSSIBLE:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=files,
            start_new_session=True,
        )
    with Path(os.devnull).open("rb") as nothing:
        streams = [nothing if stdin == subprocess.DEVNULL else stdin, stdout, stderr]
        ours, theirs = socket.socketpair()
        request = {
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(folder),
            "files": [0, 1, 2, *files],
            "data": resource.getrlimit(resource.RLIMIT_DATA),
            "patient": patient,
        }
        with theirs:
            given = [each if isinstance(each, int) else each.fileno() for each in (*streams, *files)]
            socket.send_fds(connection(), [json.dumps(request).encode()], [theirs.fileno(), *given])
        return Forked(arguments, ours)


def run(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    given: str = "",
    timeout_s: float = 50.0,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` to its end, patient, in the environment of this process if none is given."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(given.encode())
        stdin.seek(0)
        process = start(
            *arguments,
            environment=os.environ if environment is None else environment,
            folder=folder,
            stdin=stdin,
            stdout=out,
            stderr=err,
            patient=True,
        )
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
            process.wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())


_started: list[tuple[subprocess.Popen[bytes], socket.socket]] = []


def connection() -> socket.socket:
    """Return the connection to the server of this session, which ends with it."""
    if not _started:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        _started.append((process, ours))
        atexit.register(_stop)
    return _started[0][1]


def _stop() -> None:
    for process, ours in _started:
        ours.close()
        process.terminate()  # another process may have inherited the connection
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
        """Serve until the end of the session, and return None; in a forked process, return its request."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakes, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._wakes in ready:
                os.read(self._wakes, 4096)
                self._reap()
            if self._control.fileno() in ready:
                data, fds, _, _ = socket.recv_fds(self._control, REQUEST_BYTES, MOST_FILES)
                if not data:
                    return None
                channel, *files = fds
                prepared, prepare = os.pipe()
                pid = os.fork()
                if pid == 0:
                    os.close(channel)
                    os.close(prepared)
                    self._leave()
                    request: dict[str, Any] = json.loads(data)
                    prepare = _moved(prepare)
                    for fd, target in zip([_moved(fd) for fd in files], request["files"], strict=True):
                        os.dup2(fd, target)
                        os.close(fd)
                    os.close(prepare)
                    return request
                for fd in (*files, prepare):
                    os.close(fd)
                # From here on it has no files but its own, and no signal meets the server's handlers.
                os.read(prepared, 1)
                os.close(prepared)
                self._channels[pid] = socket.socket(fileno=channel)
                self._channels[pid].sendall(STATUS.pack(pid))

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with self._channels.pop(ended[0]) as channel, suppress(OSError):
                    channel.sendall(STATUS.pack(os.waitstatus_to_exitcode(ended[1])))

    def _leave(self) -> None:
        """Give up what belongs to the server, in a process that it has forked."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._wakes)
        os.close(self._wake)
        self._control.close()
        for channel in self._channels.values():
            channel.close()


def _moved(fd: int) -> int:
    """Return a descriptor under a number that no request names."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_MOVED)
    os.close(fd)
    return moved


def main() -> None:
    for name in MODULES:
        importlib.import_module(name)
        if name.endswith(".__main__"):
            del sys.modules[name]  # it is executed, not imported
    assert len(list(THREADS.iterdir())) == 1, "a thread would be missing in a process"
    gc.collect()
    gc.freeze()
    request = _Server(socket.socket(fileno=int(sys.argv[1]))).run()
    if request is None:
        return
    if request["patient"]:
        patience.be_patient()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    resource.setrlimit(resource.RLIMIT_DATA, request["data"])
    module, *arguments = request["arguments"]
    sys.path[0] = request["folder"]
    sys.argv = ["-m", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
