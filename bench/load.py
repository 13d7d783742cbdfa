"""A closed-loop load generator: keep-alive connections, one request under way on each.

Standard library only and frugal, since it shares two cores with what it measures. Counts an answer
only when its status is the expected one. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

NUMBER = b"{number}"
"""Placeholder in a header for another number in each request."""


class Connection(asyncio.Protocol):
    """Sends the same request again as soon as its answer is complete."""

    def __init__(self, request: bytes, expected: bytes, tally: Tally) -> None:
        self.request = request
        self.pieces = request.split(NUMBER)
        self.expected = expected
        self.tally = tally
        self.buffer = b""
        self.sent_at = 0.0
        self.number = time.time_ns()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment] # TCP gives a Transport
        self.send()

    def send(self) -> None:
        request = self.request
        if len(self.pieces) > 1:
            self.number += 1
            request = (b"%x-%x" % (id(self), self.number)).join(self.pieces)
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        head_end = buffer.find(b"\r\n\r\n")
        if head_end < 0:
            self.buffer = buffer
            return
        head = buffer[:head_end].lower()
        at = head.find(b"content-length:")
        end_of_line = head.find(b"\r\n", at)
        length = int(head[at + 15 : end_of_line if end_of_line > 0 else None])
        if len(buffer) < head_end + 4 + length:
            self.buffer = buffer
            return
        self.buffer = b""
        tally = self.tally
        if head.startswith(self.expected, 9):
            tally.good += 1
        else:
            tally.bad[buffer[:200].decode(errors="replace")] = (
                tally.bad.get(buffer[:200].decode(errors="replace"), 0) + 1
            )
        tally.latencies.append(time.perf_counter() - self.sent_at)
        if tally.open and (tally.limit is None or tally.sent < tally.limit):
            tally.sent += 1
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.tally.live -= 1
        if self.tally.live == 0:
            self.tally.finished.set()


class Tally:
    """What all connections of one measurement count together."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.sent = 0
        self.good = 0
        self.bad: dict[str, int] = {}
        self.latencies: list[float] = []
        self.open = True
        self.live = 0
        self.finished = asyncio.Event()


async def drive(arguments: argparse.Namespace) -> dict[str, object]:
    headers = "".join(f"{line}\r\n" for line in arguments.header)
    body = arguments.body.encode()
    request = (
        f"POST {arguments.path} HTTP/1.1\r\nHost: {arguments.host}:{arguments.port}\r\n"
        f"Content-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    tally = Tally(arguments.requests)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    tally.live = tally.sent = arguments.connections
    for _ in range(arguments.connections):
        await loop.create_connection(
            lambda: Connection(request, arguments.expect.encode(), tally), arguments.host, arguments.port
        )
    try:
        await asyncio.wait_for(tally.finished.wait(), arguments.seconds)
    except TimeoutError:
        tally.open = False
        await asyncio.wait_for(tally.finished.wait(), 10)
    elapsed = time.perf_counter() - started
    ordered = sorted(tally.latencies)

    def percentile(share: float) -> float:
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0

    return {
        "good": tally.good,
        "bad": tally.bad,
        "seconds": round(elapsed, 3),
        "per_second": round(tally.good / elapsed, 1),
        "p50_ms": percentile(0.5),
        "p99_ms": percentile(0.99),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--body", default="{}")
    parser.add_argument("--expect", default="202")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--requests", type=int, default=None)
    json.dump(asyncio.run(drive(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
