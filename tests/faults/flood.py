"""`python -m tests.faults.flood`: a good client of large requests beside one that sends too many.

A real gateway takes bodies of 1 MiB, each of which is costly to validate, from connections of one address;
every other connection gives up after a second and sends the next. A client of 127.0.0.2 calls with 44 KB and
reads the run, both of which wait for the same process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from iogate.store.embedded.server import temporary_server
from iogate.store.store import open_store
from tests.gateway.driver import announced, api, listening, publish, spawn, until
from tests.keys import RING

MIB = 1024 * 1024
COSTLY = b"[" + b",".join([b"9e-324"] * 10_000 + [b"{}"] * ((MIB - 100_000) // 3)) + b"]"
GOOD = json.dumps({"lines": [{"sku": f"A-{number}", "text": "x" * 70} for number in range(440)]}).encode()
PATIENCE_S = 1.0
HOLDS_S = 5.0
"""Longest good request: one costly job, which no gateway interrupts, takes 3 s at most."""


@dataclass(kw_only=True)
class Good:
    """Figures of the good client."""

    statuses: Counter[int] = field(default_factory=Counter)
    calls_s: list[float] = field(default_factory=list)
    reads_s: list[float] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return set(self.statuses) <= {200, 202} and max(self.calls_s + self.reads_s) < HOLDS_S

    def figures(self) -> dict[str, object]:
        return {
            "statuses": dict(self.statuses),
            **{
                f"{name}_{what}_ms": round(measure(seconds) * 1e3, 1)
                for name, seconds in (("call", self.calls_s), ("read", self.reads_s))
                for what, measure in (("median", statistics.median), ("longest", max))
                if seconds
            },
        }


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def flood(port: int, *, clients: int, addresses: int) -> None:
    """Send costly bodies until cancelled."""

    async def one(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                own = f"127.0.1.{1 + number % addresses}"
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(own, 0))
                try:
                    writer.write(_request("POST", "/v1/api/flooded/one/async", COSTLY))
                    async with asyncio.timeout(PATIENCE_S if number % 2 else None):
                        await writer.drain()
                        await _response(reader)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(one(number))


async def good(port: int, *, seconds: float) -> Good:
    """Call and read from another address, ten times a second if responses come at once."""
    found = Good()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    ends_s = time.perf_counter() + seconds
    while time.perf_counter() < ends_s:
        started_s = time.perf_counter()
        writer.write(_request("POST", "/v1/api/good/one/async", GOOD))
        status, body = await _response(reader)
        found.statuses[status] += 1
        found.calls_s.append(time.perf_counter() - started_s)
        if status == 202:
            started_s = time.perf_counter()
            writer.write(_request("GET", f"/v1/runs/{json.loads(body)['response']['uid']}"))
            status, body = await _response(reader)
            found.statuses[status] += 1
            found.reads_s.append(time.perf_counter() - started_s)
        await asyncio.sleep(0.1)
    writer.close()
    return found


async def campaign(
    url: str, folder: Path, *, seconds: float, clients: int, addresses: int
) -> tuple[Good, Good]:
    """Return the figures of the good client alone, and beside the flood."""
    store = await open_store(url, client_name="flood", keyring=RING)
    await store.call("FLUSHALL")
    await publish(store, api("flooded/one"), api("good/one", input_schema={"type": "object"}))
    with listening() as on:
        gateway = spawn(url, on, folder)
        try:
            await until(lambda: announced(store, gateway))
            await good(gateway.port, seconds=0.5)
            alone = await good(gateway.port, seconds=min(seconds, 5.0))
            flooding = asyncio.create_task(flood(gateway.port, clients=clients, addresses=addresses))
            await asyncio.sleep(1.0)
            try:
                beside = await good(gateway.port, seconds=seconds)
            finally:
                flooding.cancel()
                await asyncio.gather(flooding, return_exceptions=True)
        finally:
            gateway.stop()
            await store.close()
    return alone, beside


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=14, help="connections of the flood")
    parser.add_argument("--addresses", type=int, default=1, help="from which they come")
    given = parser.parse_args(arguments)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        alone, beside = await campaign(
            server.url,
            Path(folder),
            seconds=given.seconds,
            clients=given.clients,
            addresses=given.addresses,
        )
    print(json.dumps({"alone": alone.figures(), "beside": beside.figures()}))
    return 0 if beside.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
