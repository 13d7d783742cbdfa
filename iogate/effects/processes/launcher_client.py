"""Client of the launcher: the fork server that starts the processes of this worker.

Used by `process_run`, and by `workspace` for folders. The server is started with the first folder, and again
if it was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

import iogate
from iogate.launcher import keeper

ROOT: Final = str(Path(iogate.__file__).parent.parent)
# `-I -S`: nothing of the project or of the environment is read.
SERVER_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from iogate.launcher.server import main; main()"
)
RETRY_S: Final = 0.002
STOP_TIMEOUT_S: Final = 15.0
MAX_MESSAGE: Final = 8192
"""Maximum number of bytes that a keeper sends before they are read."""


class LauncherClient:
    """Connection to the fork server; `folder` is removed by the server after this worker's end."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def start(
        self, folder: Path, request: Mapping[str, Any], stdio: tuple[int, int, int]
    ) -> RunningProcess:
        """Start a process through the launcher, with these descriptors as its standard streams.

        Raises OSError if it cannot be started, with the step that failed as its file name.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._request_start(folder, [theirs.fileno(), *stdio])
            started = RunningProcess(ours)
            text = json.dumps(request).encode()
            await started.send(struct.pack(">I", len(text)) + text)
            message = await started.receive()
        except BaseException:
            ours.close()  # which ends the process, if there is one
            raise
        # A killed keeper sends no message: `receive` returns None again, and the process counts as killed.
        if message is not None and message.error is not None:
            ours.close()
            number, text_ = message.error
            raise OSError(number, text_.rpartition(": ")[2], text_.rpartition(": ")[0] or None)
        return started

    def watch(self, folder: Path) -> None:
        """Start the launcher unless it runs, so that it removes `folder` if this worker is killed."""
        if self._server is None or self._server.poll() is not None or self._control is None:
            self.close()
            with suppress(OSError):  # `start` reports it
                self._control = self._start_server(folder)

    def close(self) -> None:
        """Close the connection to the launcher, which then removes the folder and ends."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is not None:
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(STOP_TIMEOUT_S)
            self._server = None

    async def _request_start(self, folder: Path, fds: list[int]) -> None:
        for attempt in (1, 2):
            if self._server is None or self._server.poll() is not None or self._control is None:
                self.close()
                self._control = self._start_server(folder)
            try:
                while True:
                    try:
                        socket.send_fds(self._control, [b"s"], fds)
                    except BlockingIOError:
                        await asyncio.sleep(RETRY_S)
                    else:
                        return
            except (BrokenPipeError, ConnectionResetError):
                if attempt == 2:
                    raise
                self.close()

    def _start_server(self, folder: Path) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, _KIND)
        with theirs:
            self._server = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                [sys.executable, "-I", "-S", "-c", SERVER_PROGRAM, ROOT, str(folder)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={},
            )
        ours.setblocking(False)
        return ours


# Linux preserves message boundaries; other systems support streams only.
_KIND: Final = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_STREAM


class KeeperMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Message of a keeper, with exactly one of `error`, `started` and `ended`."""

    error: tuple[int, str] | None = None
    started: int | None = None
    ended: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    limit: Literal["processes", "memory"] | None = None


_decoder: Final = msgspec.json.Decoder(KeeperMessage)


class RunningProcess:
    """A running process, controlled through the channel of its keeper."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._received = b""
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # `receive` reports it
            await self._loop.sock_sendall(self._channel, data)

    async def receive(self) -> KeeperMessage | None:
        """Return the next message of the launcher's keeper about its process; None if it is gone.

        Data that no keeper sends counts as its end: the process is killed.
        """
        while b"\n" not in self._received:
            try:
                chunk = await self._loop.sock_recv(self._channel, MAX_MESSAGE)
            except ConnectionResetError:
                chunk = b""
            self._received += chunk
            if not chunk or len(self._received) > MAX_MESSAGE:
                break
        line, _, self._received = self._received.partition(b"\n")
        try:
            return _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.kill()
            return None

    def terminate(self) -> None:
        """Send SIGTERM, through the launcher, to the process and its group."""
        with suppress(OSError):
            self._channel.send(keeper.TERMINATE)

    def kill(self) -> None:
        """Kill, through the launcher, the process and all that it started."""
        with suppress(OSError):
            self._channel.send(b"K")

    def close(self) -> None:
        self._channel.close()


def check_encodable(texts: Mapping[str, str] | list[str]) -> None:
    """Check that the launcher can represent these texts in a command line or environment.

    Raises ValueError if it cannot.
    """
    for name in texts:
        value = texts[name] if isinstance(texts, Mapping) else ""
        if "\0" in name + value or (isinstance(texts, Mapping) and (not name or "=" in name)):
            raise ValueError("a NUL character or a bad name")
        os.fsencode(name + value)
