"""A server that remembers every call it got, in order, with its Idempotency-Key."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field

from tests.http_server import HttpServer


@dataclass(frozen=True, kw_only=True)
class Call:
    path: str
    key: str


@dataclass
class CountingServer(HttpServer):
    """Answers after `delay_s`, so that kills hit calls under way."""

    delay_s: float = 0.02
    flaky: str = ""
    """Path that answers 503 to the first key of each run that comes there, whenever that comes."""
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        call = Call(path=path, key=headers.get("idempotency-key", ""))
        data = json.loads(body)
        calls = self.calls[str((data if "uid" in data else data["data"])["uid"])]
        calls.append(call)
        first = next(each.key for each in calls if each.path == path)
        fails = path == self.flaky and call.key == first
        await asyncio.sleep(self.delay_s)
        status = b"503 Service Unavailable" if fails else b"200 OK"
        return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % status

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
