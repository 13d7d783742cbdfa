"""`python -m tests.faults.keyed_calls`: coalesced calls, and a busy concurrency key beside another one.

First, calls of one key arrive at the same time through several gateway processes; all become one run. Then
a concurrency key gets thousands of calls, one of which runs at a time, and another key gets one. Ends with 1
unless there is exactly one coalesced run with the latest input, and the run of the other key starts within a
second, while those of the busy key keep their order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from iogate.compiler.revision import Coalesce, Concurrency, Limits
from iogate.store import keys
from iogate.store.embedded.server import temporary_server
from iogate.store.runs.traffic import Traffic
from iogate.store.store import Store, open_store
from tests.gateway.driver import announced, api, listening, publish, spawn, until
from tests.keys import RING
from tests.store.builders import accepted, commit

MERGED = api("merged/one", coalesce=Coalesce(key="/sku", window_s=3_600.0, max_s=3_600.0))
SERIAL = api("serial/one", limits=Limits(queued=1_000_000, concurrency=Concurrency(key="/customer")))
AT_ONCE = 100


@dataclass(kw_only=True)
class Found:
    """Results of both parts."""

    calls: int = 0
    merged_uids: set[str] = field(default_factory=set)
    merged_runs: int = 0
    last_is_kept: bool = False
    """Whether the run has the input of a call that was made after all others."""
    queued: int = 0
    """Runs of the busy key."""
    other_s: float = 0.0
    """Time from the call of the other key to the start of its run."""
    order_is_kept: bool = False

    @property
    def holds(self) -> bool:
        return (
            len(self.merged_uids) == self.merged_runs == 1
            and self.last_is_kept
            and self.other_s < 1.0
            and self.order_is_kept
        )

    def figures(self) -> dict[str, Any]:
        return {
            "coalescedCalls": self.calls,
            "runs": self.merged_runs,
            "latestInputKept": self.last_is_kept,
            "runsOfBusyKey": self.queued,
            "startOfOtherKeyMs": round(self.other_s * 1e3, 1),
            "orderKept": self.order_is_kept,
        }


async def _coalesced(store: Store, url: str, folder: Path, found: Found, gateways: int) -> None:
    with listening() as on:
        processes = [spawn(url, on, folder) for _ in range(gateways)]
        try:
            await until(lambda: announced(store, *processes), 60.0)
            clients = [httpx.AsyncClient(base_url=processes[0].url, timeout=60.0) for _ in range(8)]

            async def call(number: int) -> None:
                reply = await clients[number % len(clients)].post(
                    f"/v1/api/{MERGED.id}/async", json={"sku": "A-1", "number": number}
                )
                found.merged_uids.add(reply.json()["response"].get("uid", f"refused: {reply.status_code}"))

            try:
                for first in range(0, found.calls, AT_ONCE):
                    await asyncio.gather(*(call(n) for n in range(first, min(found.calls, first + AT_ONCE))))
                await call(-1)
            finally:
                await asyncio.gather(*(client.aclose() for client in clients))
        finally:
            for process in processes:
                process.stop()
    found.merged_runs = (await store.runs.counts())["pending"]
    view = await store.runs.show(next(iter(found.merged_uids)))
    found.last_is_kept = view is not None and json.loads(view.input)["number"] == -1


async def _serialised(store: Store, found: Found) -> None:
    intake = store.intake()
    for first in range(0, found.queued, AT_ONCE):
        count = min(AT_ONCE, found.queued - first)
        await asyncio.gather(*(accepted(intake, SERIAL, traffic=Traffic(key="busy")) for _ in range(count)))
    lane = await store.call("LRANGE", f"{keys.LANE}{SERIAL.id}:busy", 0, -1)
    started: list[str] = []
    at: dict[str, float] = {}

    async def work() -> None:
        while True:
            for claim in (await store.leases.take("w1", 8)).claims:
                started.append(claim.uid)
                at[claim.uid] = time.monotonic()
                await store.leases.commit([commit(claim)])
            await asyncio.sleep(0.02)

    working = asyncio.create_task(work())
    try:
        await asyncio.sleep(0.5)
        began = time.monotonic()
        other = await accepted(intake, SERIAL, traffic=Traffic(key="idle"))
        while other not in at:
            await asyncio.sleep(0.005)
        found.other_s = at[other] - began
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    of_busy = [uid for uid in started if uid != other][1:]
    found.order_is_kept = of_busy == [uid.decode() for uid in lane[: len(of_busy)]]


async def campaign(url: str, folder: Path, *, calls: int, queued: int, gateways: int = 4) -> Found:
    """Return the results of both parts."""
    store = await open_store(url, client_name="keyed_calls", keyring=RING)
    found = Found(calls=calls, queued=queued)
    try:
        await store.call("FLUSHALL")
        await publish(store, MERGED, SERIAL)
        await _coalesced(store, url, folder, found, gateways)
        await _serialised(store, found)
    finally:
        await store.close()
    return found


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.keyed_calls", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000, help="coalesced calls")
    parser.add_argument("--queued", type=int, default=10_000, help="runs of the busy key")
    given = parser.parse_args(arguments)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(server.url, Path(folder), calls=given.calls, queued=given.queued)
    print(json.dumps(found.figures()))
    return 0 if found.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
