"""An HTTP sink that keeps what it gets and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Got:
    headers: dict[str, str]
    """Names in lower case."""
    event: dict[str, Any]
    at_s: float
    """Moment of the loop's clock."""


@dataclass
class SinkServer:
    answers: deque[int] = field(default_factory=deque)
    """Statuses of the next answers, 204 afterwards; 0 closes the connection without one."""
    got: list[Got] = field(default_factory=list)
    url: str = ""

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [each.event for each in self.got]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/events"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    def setting(self, **members: Any) -> dict[str, Any]:
        """The sink as the setting `events` gives it."""
        return {"url": self.url, "headers": {}, "emitted": True, "lifecycle": False, **members}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                at_s = asyncio.get_running_loop().time()
                self.got.append(Got(headers=headers, event=json.loads(body), at_s=at_s))
                status = self.answers.popleft() if self.answers else 204
                if not status:
                    return
                writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % status)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
