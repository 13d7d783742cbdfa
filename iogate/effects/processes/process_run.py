"""Runs one process to its end: pipes without deadlock, bounded output, kill of all children.

Called by `scripts` and `containers`. The launcher starts the process; its keeper reports the end.

    started -> ended                         the tree ended by the keeper, rest of the output read
            -> too much output               killed, reported
            -> cancelled: SIGTERM -> 0.5 s   SIGKILL to all that it started

Invariant: when `run` returns or raises, the process, all that it started and its pipes are gone; a tool (the
command line of Docker or Podman) may leave processes that left its group.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

from iogate.effects.processes.launcher_client import LauncherClient, RunningProcess, check_encodable

Stream = Literal["stdout", "stderr"]
Wrote = Callable[[Stream, bytes], None]
"""Receives the output of a process as it is written."""

CHUNK: Final = 64 * 1024
TAIL: Final = 32 * 1024
"""Bytes kept of a stream that is not the output: an error message, and the longest secret before it."""

GRACE_S: Final = 0.5
KILL_S: Final = 6.0
"""Longest time that a keeper may take to end a tree; beyond it the process counts as killed."""


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """Limits and isolation of a process."""

    limits: Mapping[str, int] = field(default_factory=dict)
    """`memory`, `cpu` (seconds), `file` and `processes`; absent ones are unlimited."""
    user: tuple[int, int] | None = None
    """User and group of the process; None: those of the worker."""
    sandbox: Mapping[str, Any] | None = None
    """Namespaces of the process, in the form of `launcher.confinement.enter_sandbox`."""
    tool: bool = False
    """True for a command line tool, which may leave processes running."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A process to run, and the streams that are its output."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    home: Path
    """The folder of the worker's processes."""
    stdin: bytes | None = None
    keep: frozenset[Stream] = frozenset()
    confinement: Confinement = Confinement()
    wrote: Wrote | None = None
    cap: int = 10 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Exit:
    """Exit of a process: `code` is 128 + n after signal n, as in shells."""

    code: int
    stdout: bytes
    stderr: bytes
    partial: frozenset[Stream] = frozenset()
    """Streams of which only the end was kept."""
    limit: str | None = None
    """The exceeded limit for which the keeper killed the process."""


class TooMuchOutput(Exception):
    """A kept stream grew over the cap; the process has been killed."""

    def __init__(self, stream: str, cap: int) -> None:
        super().__init__(f"wrote more than {cap} bytes to {stream}")


async def run(command: Command, launcher: LauncherClient) -> Exit:
    """Run one process to its end, with bounded output.

    Raises OSError or ValueError if it cannot be started, TooMuchOutput, and CancelledError after the process
    and its children have ended.
    """
    check_encodable(list(command.argv))
    check_encodable(command.environment)
    pipes = _Pipes(stdin=command.stdin is not None)
    try:
        started = await launcher.start(command.home, _request(command), pipes.theirs)
    except BaseException:
        pipes.close()
        raise
    finally:
        pipes.close_theirs()
    return await _wait_until_ended(command, started, pipes)


async def _wait_until_ended(command: Command, started: RunningProcess, pipes: _Pipes) -> Exit:
    overflow: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    names: tuple[Stream, Stream] = ("stdout", "stderr")
    readers = [
        _Reader(name, file, command.cap if name in command.keep else None, overflow, command.wrote)
        for name, file in zip(names, pipes.outputs, strict=True)
    ]
    writer = _Writer(pipes.input, command.stdin or b"") if pipes.input else None
    last_message = asyncio.ensure_future(started.receive())
    try:
        ends: list[asyncio.Future[Any]] = [last_message, overflow]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not last_message.done():
            started.kill()
            await asyncio.wait([last_message], timeout=KILL_S)
    except asyncio.CancelledError:
        started.terminate()
        try:
            await asyncio.wait([last_message], timeout=GRACE_S)
        finally:
            started.kill()
            await _wait_despite_cancellation(last_message)
        raise
    finally:
        last_message.cancel()
        started.close()
        if writer is not None:
            writer.close()
        for reader in readers:
            reader.finish()
    if overflow.done():
        raise TooMuchOutput(overflow.result(), command.cap)
    message = None if last_message.cancelled() else last_message.result()
    stdout, stderr = (bytes(reader.data) for reader in readers)
    return Exit(
        code=137 if message is None or message.ended is None else message.ended,
        stdout=stdout,
        stderr=stderr,
        partial=frozenset(reader.name for reader in readers if reader.partial),
        limit=None if message is None else message.limit,
    )


async def _wait_despite_cancellation(last_message: asyncio.Future[Any]) -> None:
    """Wait for the end of a process, even if the wait itself is cancelled again."""
    until = asyncio.get_running_loop().time() + KILL_S
    while not last_message.done() and asyncio.get_running_loop().time() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([last_message], timeout=0.1)


def _request(command: Command) -> dict[str, Any]:
    confinement = command.confinement
    return {
        "argv": list(command.argv),
        "environment": dict(command.environment),
        "folder": str(command.folder),
        "limits": dict(confinement.limits),
        "user": confinement.user,
        "sandbox": confinement.sandbox,
        "tool": confinement.tool,
    }


class _Pipes:
    """The three standard streams of a process: our ends and, until `close_theirs`, its ends."""

    def __init__(self, *, stdin: bool) -> None:
        """Open the pipes of a process. Raises OSError, with none left open, if there are too many files."""
        opened: list[int] = []
        try:
            opened += os.pipe() if stdin else [os.open(os.devnull, os.O_RDONLY)]
            for _ in range(2):
                opened += os.pipe()
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        read, *write, stdout, their_stdout, stderr, their_stderr = opened
        self.input: IO[bytes] | None = os.fdopen(write[0], "wb", buffering=0) if write else None
        self.outputs: list[IO[bytes]] = [os.fdopen(ours, "rb", buffering=0) for ours in (stdout, stderr)]
        self.theirs = (read, their_stdout, their_stderr)

    def close_theirs(self) -> None:
        for fd in self.theirs:
            os.close(fd)

    def close(self) -> None:
        for file in (self.input, *self.outputs):
            if file is not None:
                file.close()


class _Reader:
    """Reader of one stream: all of it up to the cap, or only its tail without a cap."""

    def __init__(
        self,
        name: Stream,
        file: IO[bytes],
        cap: int | None,
        overflow: asyncio.Future[str],
        wrote: Wrote | None,
    ) -> None:
        self.data = bytearray()
        self.name: Stream = name
        self.partial = False
        """Whether `data` lacks the beginning of the stream."""
        self._file, self._cap, self._overflow, self._wrote = file, cap, overflow, wrote
        self._loop = asyncio.get_running_loop()
        os.set_blocking(file.fileno(), False)
        self._loop.add_reader(file.fileno(), self._read)

    def _read(self) -> bool:
        """Read one chunk of the process's output; return False if there is none, for now or at the end."""
        try:
            chunk = os.read(self._file.fileno(), CHUNK)
        except BlockingIOError:
            return False
        self.data += chunk
        if chunk and self._wrote is not None:
            self._wrote(self.name, chunk)
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
        """Read the rest of the process's pipe without waiting for a daemon that holds it open."""
        while not self._file.closed and self._read():
            pass
        self._close()

    def _close(self) -> None:
        if not self._file.closed:
            self._loop.remove_reader(self._file.fileno())
            self._file.close()


class _Writer:
    """Writer of standard input, as fast as it is read; a process that stops reading is no error."""

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
