"""HTTP/1.1 over a plain connection, for requests that no client library sends."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
RESPONSE_S = 60.0
REUSED_S = 2.0
"""Age of an idle connection from which another one is opened: the server closes those that send nothing."""
BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError)


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response whose body has been read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


def request(
    method: str,
    path: str | bytes,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    version: str = "1.1",
) -> bytes:
    """Return the bytes of a request; `body` adds its length, and nothing else is added."""
    lines = [*headers] if body is None else [*headers, ("content-length", str(len(body)))]
    target = path if isinstance(path, bytes) else path.encode("latin-1")
    head = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in lines)
    return b"%s %s HTTP/%s\r\n%s\r\n%s" % (
        method.encode("latin-1"),
        target,
        version.encode(),
        head,
        body or b"",
    )


async def response(reader: asyncio.StreamReader, method: str = "GET") -> Response:
    """Read one response. Raises one of BROKEN if the connection ends before."""
    async with asyncio.timeout(RESPONSE_S):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            status = int(first.split()[1])
            if status >= 200:
                break
        fields = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        # A response to CONNECT has no body if it is a success (RFC 9110, section 9.3.6).
        if method == "HEAD" or (method == "CONNECT" and status < 300) or status in {204, 304}:
            return Response(status=status, headers=headers)
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = await reader.read()
        return Response(status=status, headers=headers, body=body)


class Connections:
    """Kept-alive connections to one port of this machine, at most `most` at once.

    A request costs a tenth of the processor time of a client library, which would compete with the server.
    """

    def __init__(self, port: int, most: int) -> None:
        self._port = port
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._free = asyncio.Semaphore(most)

    async def ask(self, data: bytes) -> Response:
        """Send a request of `request`, once, and return its response. Raises one of BROKEN."""
        async with self._free:
            reader, writer = await self._connection()
            try:
                writer.write(data)
                got = await response(reader)
            except BaseException:
                writer.transport.abort()
                raise
            if got.closes:
                writer.close()
            else:
                self._idle.append((time.monotonic(), reader, writer))
            return got

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since_s, reader, writer = self._idle.pop()
            if time.monotonic() - since_s < REUSED_S and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port, limit=MIB)

    async def close(self) -> None:
        """Close the idle connections."""
        for _, _, writer in self._idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()


def resident(pid: int) -> int:
    """Return the resident bytes of a process, 0 if it has ended."""
    return sum(_field(Path(f"/proc/{pid}/status"), name) for name in ("VmRSS",)) * 1024


def children(pid: int) -> list[int]:
    """Return the ids of the children of a process."""
    found: set[int] = set()
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found |= {int(each) for each in (thread / "children").read_text(encoding="ascii").split()}
    except OSError:
        return sorted(found)
    return sorted(found)


def _field(file: Path, name: str) -> int:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1]


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Return one line per figure."""
    return "\n".join(f"{name:<44} {value}" for name, value in rows)
