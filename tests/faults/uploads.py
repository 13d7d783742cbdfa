"""`python -m tests.faults.uploads`: gateways are killed while they store the files of calls.

Each round sends a call with a file of several chunks and kills the gateway with SIGKILL as soon as a part of
the file is in the store; the caller repeats the call with its idempotency key. Ends with 1 unless each
accepted run has its file, everything else expires within the stated time, and nothing is left after the runs
were pruned.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from iogate.compiler.revision import Files
from iogate.store import keys
from iogate.store.embedded.server import temporary_server
from iogate.store.run_files import CHUNK
from iogate.store.store import Store, open_store
from tests.gateway.driver import announced, api, listening, publish, spawn, until
from tests.keys import RING
from tests.store.builders import commit

NAME = "docs/scan"
MIB = 1024 * 1024
FILES = Files(size=32 * MIB, total=32 * MIB, count=1)


@dataclass(kw_only=True)
class Found:
    rounds: int
    runs: set[str] = field(default_factory=set)
    broken: int = 0
    """Accepted runs whose file cannot be read."""
    kept: int = 0
    """Files without a run that do not expire, or later than stated."""
    expiring: int = 0
    """Files of killed gateways, which expire."""
    left: int = 0
    """Keys of files that are left after all runs were pruned and all that expires has expired."""

    @property
    def holds(self) -> bool:
        return len(self.runs) == self.rounds and not (self.broken or self.kept or self.left)

    def to_json(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "runs": len(self.runs),
            "withoutTheirFile": self.broken,
            "expiring": self.expiring,
            "keptTooLong": self.kept,
            "leftAfterPrune": self.left,
        }


async def _scan(store: Store, prefix: str) -> list[str]:
    cursor, found = b"0", []
    while True:
        cursor, page = await store.call("SCAN", cursor, "MATCH", prefix + "*", "COUNT", 1000)
        found += [key.decode() for key in page]
        if cursor == b"0":
            return found


async def _call(url: str, number: int, content: bytes) -> str | None:
    """Return the uid of an accepted call, None if the gateway broke the connection."""
    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:
        try:
            reply = await client.post(
                f"/v1/api/{NAME}/async",
                files={"scan": ("a.bin", content)},
                headers={"idempotency-key": str(number)},
            )
        except httpx.TransportError:
            return None
    return str(reply.json()["response"]["uid"]) if reply.status_code == 202 else None


async def campaign(url: str, folder: Path, *, rounds: int, chunks: int = 60) -> Found:
    """Kill a gateway in each round, and return what is in the store afterwards."""
    store = await open_store(url, client_name="uploads", keyring=RING)
    await store.call("FLUSHALL")
    await publish(store, api(NAME, files=FILES))
    found, digests = Found(rounds=rounds), {}
    with listening() as on:
        gateway = spawn(url, on, folder)
        try:
            for number in range(rounds):
                await until(lambda gateway=gateway: announced(store, gateway), 60.0)  # type: ignore[misc]
                content = random.Random(number).randbytes(chunks * CHUNK)
                known = set(await _scan(store, keys.FILES))
                call = asyncio.create_task(_call(gateway.url, number, content))
                # Without a pause: the gateway stores a chunk in a millisecond or two.
                while not call.done() and not set(await _scan(store, keys.FILES)) - known:
                    await asyncio.sleep(0)
                gateway.stop()
                uid = await call
                gateway = spawn(url, on, folder)
                if uid is None:
                    await until(lambda gateway=gateway: announced(store, gateway), 60.0)  # type: ignore[misc]
                    uid = await _call(gateway.url, number, content)
                if uid is not None:
                    found.runs.add(uid)
                    digests[uid] = hashlib.sha256(content).hexdigest()
        finally:
            gateway.stop()
    try:
        await _examine(store, found, digests)
    finally:
        await store.close()
    return found


async def _examine(store: Store, found: Found, digests: dict[str, str]) -> None:
    for uid, digest in digests.items():
        try:
            await store.files.read(uid, digest)
        except KeyError:
            found.broken += 1
    held = {(await store.call("HGET", keys.RUN + uid, "fl")).decode() for uid in found.runs}
    for key in await _scan(store, keys.FILES):
        left_ms = await store.call("PTTL", key)
        if key.removeprefix(keys.FILES) in held:
            found.broken += left_ms != -1
        elif 0 < left_ms <= keys.UPLOAD_MS:
            found.expiring += 1
            await store.call("PEXPIRE", key, 1)
        else:
            found.kept += 1
    # One take returns a part of the queue.
    while claims := (await store.leases.take("w1", 10_000)).claims:
        for claim in claims:
            await store.leases.commit([commit(claim)])
    await store.runs.prune(sorted(found.runs), int(time.time() * 1000) + 60_000)
    await asyncio.sleep(0.01)
    found.left = len(await _scan(store, keys.FILES)) + len(await _scan(store, keys.FILE_RUNS))


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.uploads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args(arguments)
    began_s = time.monotonic()
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(server.url, Path(folder), rounds=given.rounds)
    print(json.dumps({**found.to_json(), "seconds": round(time.monotonic() - began_s, 1)}))
    return 0 if found.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
