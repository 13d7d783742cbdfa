"""`python -m bench streams`: what open event streams cost other callers of the same gateway process.

Two measurements of calls, in turns, on one gateway and one Redis; the figures are medians of the rounds:

    alone      nobody follows a run
    streams    1,000 streams are open, each of a run of its own that is under way and has written 200 entries
               to its journal (`--runs 1`: all of one run)

Prints p50 and p99 of the calls in milliseconds, and the ratio of the two p99.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.site import TOKEN, Site, arguments_of, redis_server
from bench.waiting import accept
from iogate.store.runs.leases import Commit
from iogate.store.store import open_store
from tests.keys import RING

PATH = "/v1/api/bench/noop/async"
BODY = '{"sku":"A-1","quantity":3}'
OPENING = 50
"""Streams that are opened at once."""
FIRST_S = 30.0


async def under_way(url: str, runs: int, entries: int) -> list[str]:
    """Start runs as a worker does, and leave them at their first task."""
    lines = [b'{"at":1790000000000,"kind":"task.started","reference":"/do/%d/x"}' % n for n in range(entries)]
    store = await open_store(url, keyring=RING)
    try:
        uids = await accept(store, "bench/nap", [b"{}"] * runs)
        left = set(uids)
        while left:
            claims = (await store.leases.take("bench", 100)).claims
            commits = [
                Commit(
                    uid=claim.uid,
                    token=claim.token,
                    seq=claim.seq + 1,
                    move="keep",
                    status="running",
                    journal=lines,
                )
                for claim in claims
            ]
            await store.leases.commit(commits)
            left -= {claim.uid for claim in claims}
        return uids
    finally:
        await store.close()


async def calls(port: int, *, seconds: float, connections: int) -> dict[str, Any]:
    """Measure calls from a process of their own."""
    command = [
        sys.executable, "-m", "bench.load", "--port", str(port), "--path", PATH,
        "--header", f"token: {TOKEN}", "--body", BODY,
        "--seconds", str(seconds), "--connections", str(connections),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    output, _ = await process.communicate()
    result: dict[str, Any] = json.loads(output)
    if result["bad"]:
        raise RuntimeError(f"{PATH} answered otherwise: {result['bad']}")
    return result


async def follow(port: int, uid: str, entries: int) -> asyncio.StreamWriter:
    """Open a stream and read all that has been written."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET /v1/runs/{uid}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\ntoken: {TOKEN}\r\n\r\n".encode()
    )
    async with asyncio.timeout(FIRST_S):
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(head.decode())
        await reader.readuntil(b"id: %d\nevent: journal\n" % entries)
    return writer


@contextlib.asynccontextmanager
async def followed(port: int, uids: list[str], streams: int, entries: int) -> AsyncIterator[float]:
    """Hold streams open over the runs in turn; gives the seconds that it took to open them."""
    writers: list[asyncio.StreamWriter] = []
    started = time.perf_counter()
    try:
        for first in range(0, streams, OPENING):
            part = range(first, min(first + OPENING, streams))
            writers += await asyncio.gather(*(follow(port, uids[n % len(uids)], entries) for n in part))
        yield time.perf_counter() - started
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def measure(port: int, uids: list[str], given: argparse.Namespace) -> dict[str, Any]:
    load = {"seconds": given.seconds, "connections": given.connections}
    await calls(port, seconds=1, connections=given.connections)
    alone, beside, opening = [], [], []
    for _ in range(given.rounds):
        alone.append(await calls(port, **load))
        async with followed(port, uids, given.streams, given.entries) as opened_s:
            opening.append(opened_s)
            beside.append(await calls(port, **load))
        await asyncio.sleep(1)

    def median(rounds: list[dict[str, Any]], name: str) -> float:
        return float(statistics.median(each[name] for each in rounds))

    found = {
        "openS": round(statistics.median(opening), 2),
        **{f"{name}Alone": median(alone, name) for name in ("per_second", "p50_ms", "p99_ms")},
        **{f"{name}Streams": median(beside, name) for name in ("per_second", "p50_ms", "p99_ms")},
    }
    found["ratioP99"] = round(found["p99_msStreams"] / found["p99_msAlone"], 2)
    return found


def main(arguments: list[str]) -> None:
    parser = arguments_of("streams", __doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--runs", type=int, help="runs that the streams show; without: one each")
    parser.add_argument("--entries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args(arguments)
    runs = given.runs or given.streams
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        site = Site(Path(name), store)
        site.environment["IOGATE_STREAMS"] = str(given.streams)
        site.apply()
        uids = asyncio.run(under_way(site.environment["BENCH_REDIS"], runs, given.entries))
        with site.gateway() as port:
            found = asyncio.run(measure(port, uids, given))
    print(json.dumps({"schema": "iogate.bench.streams/v1", "streams": given.streams, "runs": runs, **found}))
