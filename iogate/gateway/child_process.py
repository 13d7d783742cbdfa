"""Process of a gateway that does its costly work outside of the event loop: the messages to and from it.

Used by `validation` and `operators.large_requests`, whose processes read messages from standard input and
write one per job to standard output, each after four bytes of length. Invariant: the environment of such a
process has no secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LENGTH: Final = 4
"""Bytes of the length before each message."""
STOP_S: Final = 1.0
_PASSED: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


@dataclass(frozen=True, kw_only=True)
class ChildProcess:
    """A running process with the connection to it."""

    child: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, message: bytes) -> None:
        """Send a message to the child process of the gateway. Raises OSError if it died."""
        self.writer.write(len(message).to_bytes(LENGTH, "big"))
        self.writer.write(message)
        await self.writer.drain()

    async def receive(self) -> bytes:
        """Return the next message of the gateway's child process.

        Raises OSError or IncompleteReadError if it died.
        """
        size = int.from_bytes(await self.reader.readexactly(LENGTH), "big")
        return await self.reader.readexactly(size)

    async def end(self) -> int:
        """Close the connection to the child process, which ends it, and return its exit code."""
        self.writer.close()
        try:
            return await asyncio.to_thread(self.child.wait, STOP_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return await asyncio.to_thread(self.child.wait)


async def start(
    module: str,
    *,
    stderr: int | None,
    environment: Mapping[str, str] | None = None,
    files: Sequence[int] = (),
) -> ChildProcess:
    """Start a module of this package as a child process. Raises OSError if the system cannot.

    `environment` is added to a minimal one; the process inherits `files`. `stderr` is as for Popen; None is
    that of the gateway.
    """
    spawning = asyncio.ensure_future(asyncio.to_thread(_connect, module, stderr, environment or {}, files))
    try:
        child, connection = await asyncio.shield(spawning)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _abandon(*await spawning)
        raise
    try:
        reader, writer = await asyncio.open_connection(sock=connection)
    except BaseException:
        await _abandon(child, connection)
        raise
    return ChildProcess(child=child, reader=reader, writer=writer)


async def _abandon(child: subprocess.Popen[bytes], connection: socket.socket) -> None:
    """End a child process after a failed start: close the connection, kill it, and wait for its end."""
    connection.close()
    child.kill()
    await asyncio.to_thread(child.wait)


def _connect(
    module: str, stderr: int | None, environment: Mapping[str, str], files: Sequence[int]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            return _spawn(module, theirs, stderr, environment, files), ours
    except OSError:
        ours.close()
        raise


def _spawn(
    module: str,
    connection: socket.socket,
    stderr: int | None,
    environment: Mapping[str, str],
    files: Sequence[int],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - a module of this package
        [sys.executable, "-P", "-m", module],
        stdin=connection.fileno(),
        stdout=connection.fileno(),
        stderr=stderr,
        env={**{name: os.environ[name] for name in _PASSED if name in os.environ}, **environment},
        pass_fds=tuple(files),
        # A terminal sends its interrupt to the whole group.
        start_new_session=True,
    )


def read_message(file: BinaryIO) -> bytes | None:
    """Return, in a child process, the next message of the gateway; None after the connection was closed."""
    head = file.read(LENGTH)
    if len(head) < LENGTH:
        return None
    size = int.from_bytes(head, "big")
    message = file.read(size)
    return message if len(message) == size else None


def write_message(file: BinaryIO, message: bytes) -> None:
    """Send, in a child process, a message to the gateway. Raises BrokenPipeError if the gateway is gone."""
    file.write(len(message).to_bytes(LENGTH, "big"))
    file.write(message)
    file.flush()
