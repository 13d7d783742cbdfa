"""Client of the launcher: the fork server that starts the processes of this worker.

Used by `process`. The server is started with the first process, and again if it was killed.
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
PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from iogate.launcher.server import main; main()"
)
BUSY_S: Final = 0.002
END_S: Final = 15.0
LONGEST: Final = 8192
"""Maximum number of bytes that a keeper sends before they are read."""


class Launcher:
    """Connection to the fork server; `folder` is removed by the server after this worker's end."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def start(self, folder: Path, request: Mapping[str, Any], stdio: tuple[int, int, int]) -> Started:
        """Start a process with these descriptors as its standard streams.

        Raises OSError if it cannot be started, with the step that failed as its file name.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._ask(folder, [theirs.fileno(), *stdio])
            started = Started(ours)
            text = json.dumps(request).encode()
            await started.send(struct.pack(">I", len(text)) + text)
            said = await started.hear()
        except BaseException:
            ours.close()  # which ends the process, if there is one
            raise
        # A killed keeper sends no message: `hear` returns None again, and the process counts as killed.
        if said is not None and said.error is not None:
            ours.close()
            number, text_ = said.error
            raise OSError(number, text_.rpartition(": ")[2], text_.rpartition(": ")[0] or None)
        return started

    def close(self) -> None:
        """Close the connection to the server, which then removes the folder and ends."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is not None:
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(END_S)
            self._server = None

    async def _ask(self, folder: Path, fds: list[int]) -> None:
        for attempt in (1, 2):
            if self._server is None or self._server.poll() is not None or self._control is None:
                self.close()
                self._control = self._serve(folder)
            try:
                while True:
                    try:
                        socket.send_fds(self._control, [b"s"], fds)
                    except BlockingIOError:
                        await asyncio.sleep(BUSY_S)
                    else:
                        return
            except (BrokenPipeError, ConnectionResetError):
                if attempt == 2:
                    raise
                self.close()

    def _serve(self, folder: Path) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, _KIND)
        with theirs:
            self._server = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                [sys.executable, "-I", "-S", "-c", PROGRAM, ROOT, str(folder)],
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


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Message of a keeper, with exactly one of `error`, `started` and `ended`."""

    error: tuple[int, str] | None = None
    started: int | None = None
    ended: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    limit: Literal["processes", "memory"] | None = None


_said: Final = msgspec.json.Decoder(Said)


class Started:
    """A running process, controlled through the channel of its keeper."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._heard = b""
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # `hear` reports it
            await self._loop.sock_sendall(self._channel, data)

    async def hear(self) -> Said | None:
        """Return the next message of the keeper; None if it is gone.

        Data that no keeper sends counts as its end: the process is killed.
        """
        while b"\n" not in self._heard:
            try:
                chunk = await self._loop.sock_recv(self._channel, LONGEST)
            except ConnectionResetError:
                chunk = b""
            self._heard += chunk
            if not chunk or len(self._heard) > LONGEST:
                break
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            return _said.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.kill()
            return None

    def terminate(self) -> None:
        """Send SIGTERM to the process and its group."""
        with suppress(OSError):
            self._channel.send(keeper.TERMINATE)

    def kill(self) -> None:
        """Kill the process and all that it started."""
        with suppress(OSError):
            self._channel.send(b"K")

    def close(self) -> None:
        self._channel.close()


def encodable(texts: Mapping[str, str] | list[str]) -> None:
    """Check that a command line or environment can represent the texts.

    Raises ValueError if it cannot.
    """
    for name in texts:
        value = texts[name] if isinstance(texts, Mapping) else ""
        if "\0" in name + value or (isinstance(texts, Mapping) and (not name or "=" in name)):
            raise ValueError("a NUL character or a bad name")
        os.fsencode(name + value)
