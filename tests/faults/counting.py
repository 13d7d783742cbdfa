"""A server that remembers every call it got, in order, with its Idempotency-Key."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Call:
    path: str
    key: str


@dataclass
class CountingServer:
    """Keep-alive HTTP/1.1 on loopback; answers after `delay_s`, so that kills hit calls under way."""

    delay_s: float = 0.02
    flaky: str = ""
    """Path that answers 503 to the first key of each run that comes there, whenever that comes."""
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    url: str = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                path = head[0].split(" ")[1]
                call = Call(path=path, key=headers.get("idempotency-key", ""))
                data = json.loads(body)
                calls = self.calls[str((data if "uid" in data else data["data"])["uid"])]
                calls.append(call)
                first = next(each.key for each in calls if each.path == path)
                fails = path == self.flaky and call.key == first
                await asyncio.sleep(self.delay_s)
                status = b"503 Service Unavailable" if fails else b"200 OK"
                writer.write(
                    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % status
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def repeated_after_commit(self) -> list[str]:
        """uids whose first call came again after the second had been seen: a committed call repeated."""
        wrong = []
        for uid, calls in self.calls.items():
            paths = [call.path for call in calls]
            if "/second" in paths and "/first" in paths[paths.index("/second") :]:
                wrong.append(uid)
        return wrong

    def changed_keys(self) -> list[str]:
        """uids where a repetition of a call came with another Idempotency-Key."""
        return [
            uid
            for uid, calls in self.calls.items()
            if any(
                len({call.key for call in calls if call.path == path}) > 1 for path in ("/first", "/second")
            )
        ]

    def repeats(self) -> int:
        """How many calls came again at all: those that were in flight at a kill."""
        return sum(
            max(0, sum(call.path == path for call in calls) - 1)
            for calls in self.calls.values()
            for path in ("/first", "/second")
        )
