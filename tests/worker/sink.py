"""HTTP sink that records what it receives and responds as configured."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.http_server import HttpServer


@dataclass(frozen=True, kw_only=True)
class Got:
    headers: dict[str, str]
    """Names in lower case."""
    event: dict[str, Any]
    at_s: float
    """Moment of the loop's clock."""


@dataclass
class SinkServer(HttpServer):
    answers: deque[int] = field(default_factory=deque)
    """Statuses of the next answers, 204 afterwards; 0 closes the connection without one."""
    got: list[Got] = field(default_factory=list)

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [each.event for each in self.got]

    def setting(self, **members: Any) -> dict[str, Any]:
        """Return the sink in the form of the setting `events`."""
        return {"url": f"{self.url}/events", "headers": {}, "emitted": True, "lifecycle": False, **members}

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        del path
        at_s = asyncio.get_running_loop().time()
        self.got.append(Got(headers=headers, event=json.loads(body), at_s=at_s))
        status = self.answers.popleft() if self.answers else 204
        return b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % status if status else None
