"""`python -m tests.faults.duplicates`: concurrent duplicates of one call through several gateway processes.

Half of the keys are in the header, half in the input. Each key is called at the same time over many
connections, in four gateway processes that share a port; then once more with another body. Ends with 1 unless
each key has exactly one run and each other body got a 422.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from iogate.compiler.revision import Idempotency, Limits
from iogate.store.embedded.server import temporary_server
from iogate.store.store import open_store
from tests.gateway.driver import announced, api, listening, publish, spawn, until
from tests.keys import RING

NAMES = ("header/one", "pointer/one")


@dataclass(kw_only=True)
class Found:
    """Results of all calls."""

    keys: int
    duplicates: int
    runs: int = 0
    """Number of runs in the store."""
    uids: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    differing: Counter[int] = field(default_factory=Counter)
    """Statuses of the calls with another body."""
    split: int = 0
    """Keys whose calls got different uids."""
    gateways: int = 0
    """Processes that took part."""

    @property
    def holds(self) -> bool:
        return (
            self.runs == len(self.uids) == self.keys
            and not self.split
            and self.statuses == {202: self.keys * self.duplicates}
            and self.differing == {422: self.keys}
        )

    def figures(self) -> dict[str, Any]:
        return {
            "keys": self.keys,
            "calls": self.keys * self.duplicates,
            "statuses": dict(self.statuses),
            "runs": self.runs,
            "keysWithSeveralUids": self.split,
            "otherBody": dict(self.differing),
            "gateways": self.gateways,
        }


async def _call(client: httpx.AsyncClient, key: int, amount: int) -> httpx.Response:
    name = NAMES[key % 2]
    headers = {"idempotency-key": f"key-{key}"} if key % 2 == 0 else {}
    return await client.post(f"/v1/api/{name}/async", json={"id": key, "amount": amount}, headers=headers)


async def _all_duplicates(clients: list[httpx.AsyncClient], found: Found) -> None:
    for key in range(found.keys):
        calls = (_call(clients[number % len(clients)], key, 1) for number in range(found.duplicates))
        replies = await asyncio.gather(*calls)
        found.statuses.update(reply.status_code for reply in replies)
        uids = {reply.json()["response"].get("uid", "") for reply in replies}
        found.uids |= uids
        found.split += len(uids) > 1
    for key in range(found.keys):
        found.differing[(await _call(clients[key % len(clients)], key, 2)).status_code] += 1


async def campaign(url: str, folder: Path, *, keys: int, duplicates: int, gateways: int = 4) -> Found:
    """Return the results of `duplicates` concurrent calls of each key."""
    store = await open_store(url, client_name="duplicates", keyring=RING)
    await store.call("FLUSHALL")
    by_pointer = Idempotency(header=None, pointer="/id", required=True)
    limits = Limits(queued=keys + 1)
    await publish(store, api(NAMES[0], limits=limits), api(NAMES[1], limits=limits, idempotency=by_pointer))
    found = Found(keys=keys, duplicates=duplicates)
    with listening() as on:
        processes = [spawn(url, on, folder) for _ in range(gateways)]
        try:
            await until(lambda: announced(store, *processes), 60.0)
            found.gateways = len(processes)
            # A connection belongs to the process that accepted it.
            clients = [httpx.AsyncClient(base_url=processes[0].url, timeout=60.0) for _ in range(8)]
            try:
                await _all_duplicates(clients, found)
            finally:
                await asyncio.gather(*(client.aclose() for client in clients))
            found.runs = (await store.runs.counts())["pending"]
        finally:
            for process in processes:
                process.stop()
            await store.close()
    return found


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.duplicates", description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--duplicates", type=int, default=50, help="concurrent calls of each key")
    given = parser.parse_args(arguments)
    began_s = time.monotonic()
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(server.url, Path(folder), keys=given.keys, duplicates=given.duplicates)
    print(json.dumps({**found.figures(), "seconds": round(time.monotonic() - began_s, 1)}))
    return 0 if found.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
