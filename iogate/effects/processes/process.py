"""Runs one process to its end: pipes without deadlock, bounded output, a kill that reaches its children.

Called by `scripts`. It is written on `subprocess` and the loop's readers because asyncio's own process
support waits for every holder of a pipe, so that a forgotten background child would hold a run for ever.

    started -> exited                        group killed, rest of the output read, reaped
            -> too much output               killed, reported
            -> cancelled: SIGTERM -> 0.5 s   SIGKILL to group and all that carry the mark, reaped

Invariant: when `run` returns or raises, the process, its group and its pipes are gone. A child that made a
session of its own survives a normal end, as a daemon means to, but not a cancelled one.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from iogate.effects.processes import orphans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Stream = Literal["stdout", "stderr"]

CHUNK: Final = 64 * 1024
TAIL: Final = 32 * 1024
"""Bytes kept of a stream that is not the output: an error message, and the longest secret before it."""

GRACE_S: Final = 0.5
LIMITS: Final = (
    ("RLIMIT_CORE", 0),  # a core file would hold secrets
    ("RLIMIT_NOFILE", 1024),
    ("RLIMIT_NPROC", 4096),  # of the user, all processes counted: stops a fork bomb, not honest work
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and which of its streams are the output."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    stdin: bytes | None = None
    keep: frozenset[Stream] = frozenset()
    mark: str = ""
    cap: int = 10 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How it ended: `code` is 128 + n after signal n, as shells say it."""

    code: int
    stdout: bytes
    stderr: bytes
    partial: frozenset[Stream] = frozenset()
    """Streams of which only the end was kept."""


class TooMuchOutput(Exception):
    """A kept stream grew over the cap; the process has been killed."""

    def __init__(self, stream: str, cap: int) -> None:
        super().__init__(f"wrote more than {cap} bytes to {stream}")


async def run(command: Command) -> Exit:
    """Run to the end.

    Raises OSError or ValueError where it cannot be started, TooMuchOutput, and CancelledError after the
    process and its children are dead.
    """
    loop = asyncio.get_running_loop()
    process = subprocess.Popen(  # noqa: S603, ASYNC220 - running what authors wrote is the purpose; see above
        list(command.argv),
        stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=command.folder,
        env=dict(command.environment),
        start_new_session=True,
    )
    _limit(process.pid)
    overflow: asyncio.Future[str] = loop.create_future()
    readers = [
        _Reader(name, file, command.cap if name in command.keep else None, overflow)
        for name, file in _streams(process)
        if file is not None
    ]
    writer = _Writer(process.stdin, command.stdin or b"") if process.stdin else None
    exited = asyncio.ensure_future(_exited(process.pid))
    try:
        ends: list[asyncio.Future[Any]] = [exited, overflow]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            orphans.sweep_out(command.mark)
            raise TooMuchOutput(overflow.result(), command.cap)
    except asyncio.CancelledError:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait([exited], timeout=GRACE_S)
        finally:
            _signal_group(process.pid, signal.SIGKILL)
            orphans.sweep_out(command.mark)
        raise
    finally:
        # The leader is dead but not yet reaped, or alive: either way its number is still its own.
        _signal_group(process.pid, signal.SIGKILL)
        exited.cancel()
        code = _reap(process)
        if writer is not None:
            writer.close()
        for reader in readers:
            reader.finish()
    if overflow.done():
        raise TooMuchOutput(overflow.result(), command.cap)
    stdout, stderr = (bytes(reader.data) for reader in readers)
    partial = frozenset(reader.name for reader in readers if reader.partial)
    return Exit(code=code if code >= 0 else 128 - code, stdout=stdout, stderr=stderr, partial=partial)


def _streams(process: subprocess.Popen[bytes]) -> tuple[tuple[Stream, IO[bytes] | None], ...]:
    return (("stdout", process.stdout), ("stderr", process.stderr))


def _limit(pid: int) -> None:
    """Lower the limits of a started process; it has had no time to do harm, and a fork stays cheap."""
    if sys.platform != "linux":
        return
    for name, value in LIMITS:
        kind = getattr(resource, name)
        with suppress(OSError, ValueError):
            hard = resource.prlimit(pid, kind)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, kind, (bound, bound))


def _reap(process: subprocess.Popen[bytes]) -> int:
    """Give the exit code of a killed or ended process; one that the kernel cannot let go is left behind."""
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


async def _exited(pid: int) -> None:
    """Return when the process has ended, without reaping it."""
    loop = asyncio.get_running_loop()
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    ended: asyncio.Future[None] = loop.create_future()
    # Once: the descriptor stays readable, and the future can be set but one time.
    loop.add_reader(fd, lambda: None if ended.done() else ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(fd)
        os.close(fd)


class _Reader:
    """Reads one stream as it comes: all of it up to the cap, or only its tail where there is none."""

    def __init__(self, name: Stream, file: IO[bytes], cap: int | None, overflow: asyncio.Future[str]) -> None:
        self.data = bytearray()
        self.name: Stream = name
        self.partial = False
        """`data` lacks the beginning of the stream."""
        self._file, self._cap, self._overflow = file, cap, overflow
        self._loop = asyncio.get_running_loop()
        os.set_blocking(file.fileno(), False)
        self._loop.add_reader(file.fileno(), self._read)

    def _read(self) -> bool:
        """Take one chunk; False where there is none left, for now or for good."""
        try:
            chunk = os.read(self._file.fileno(), CHUNK)
        except BlockingIOError:
            return False
        self.data += chunk
        if self._cap is None:
            self.partial = self.partial or len(self.data) > TAIL
            del self.data[:-TAIL]
        elif len(self.data) > self._cap:
            chunk = b""
            if not self._overflow.done():
                self._overflow.set_result(self.name)
        if not chunk:
            self._close()
        return bool(chunk)

    def finish(self) -> None:
        """Take what the dead have left in the pipe; a daemon that holds it open is not waited for."""
        while not self._file.closed and self._read():
            pass
        self._close()

    def _close(self) -> None:
        if not self._file.closed:
            self._loop.remove_reader(self._file.fileno())
            self._file.close()


class _Writer:
    """Feeds standard input as fast as it is read; a process that stops reading is no error."""

    def __init__(self, file: IO[bytes], data: bytes) -> None:
        self._file, self._rest = file, memoryview(data)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(file.fileno(), False)
        self._loop.add_writer(file.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._rest = self._rest[os.write(self._file.fileno(), self._rest[:CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._rest = self._rest[:0]
        if not self._rest:
            self.close()

    def close(self) -> None:
        if not self._file.closed:
            self._loop.remove_writer(self._file.fileno())
            self._file.close()
