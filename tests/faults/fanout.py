"""Parallel loops on real workers: speed, repetition after SIGKILL, size of the state, other APIs meanwhile.

`python -m tests.faults.fanout` prints what it saw as JSON: 200 items of 250 ms with `parallel: 10`, the same
with a worker killed in the middle, and loops of 100, 1,000 and 10,000 items. It ends with 1 if one of the
promises does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iogate.settings import Settings
from iogate.store import keys
from iogate.store.embedded.server import temporary_server
from iogate.store.store import open_store
from tests.http_server import HttpServer
from tests.keys import LINK_KEY, RING
from tests.worker.site import NOOP, Site, decoded, until, workflow

SERVING_S = 120.0
PROMISED_S = 6.0
"""For 200 items of 250 ms, ten at once; 5 s are the calls themselves."""
FRAMES = 260
"""Most frames of a loop of 10,000 items, ten at once."""
SLOWER = 1.6
"""Most growth of the time per item from 1,000 items to 10,000."""


@dataclass
class Items(HttpServer):
    """Answers each call with its item, after `delay_s`, and counts calls by Idempotency-Key."""

    delay_s: float = 0.0
    gate: int = 0
    """Calls wait until so many of a loop have been under way at once."""
    held_from: int | None = None
    """Number of the first call that waits until there is no such number any more."""
    calls: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    most_at_once: int = 0

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        assert path
        self.calls[headers["idempotency-key"]] += 1
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        number = len(self.calls)
        try:
            while self.most_at_once < self.gate or (self.held_from is not None and number >= self.held_from):
                await asyncio.sleep(0.005)
            await asyncio.sleep(self.delay_s)
        finally:
            self.under_way -= 1
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )

    @property
    def repeated(self) -> int:
        """Number of calls that came again."""
        return sum(self.calls.values()) - len(self.calls)


def fan_out(url: str, parallel: int) -> dict[str, Any]:
    """Return a workflow that calls the server for each number below the input's `items`."""
    call = {"call": "http", "with": {"method": "post", "endpoint": url, "body": {"item": "${ $item }"}}}
    loop = {
        "for": {"in": "${ [range(.items)] }"},
        "metadata": {"iogate": {"parallel": parallel}},
        "do": [{"call": call}],
    }
    return workflow("fan-out", {"all": loop})


@dataclass(kw_only=True)
class Loop:
    """One loop that has ended."""

    items: int
    seconds: float
    calls: int
    repeated: int
    at_once: int
    in_order: bool
    frames: int = 0
    """Most frames that the store had."""
    state_bytes: int = 0
    """Most bytes of the stored state."""

    @property
    def milliseconds(self) -> float:
        return 1000 * self.seconds / self.items

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "seconds": round(self.seconds, 2), "msPerItem": round(self.milliseconds, 2)}


async def loop(
    site: Site, server: Items, items: int, *, kill_after: int | None = None, watched: bool = False
) -> Loop:
    """Run one loop; kill the worker that has it after so many calls."""
    server.calls.clear()
    server.most_at_once = 0
    server.held_from = kill_after
    began = time.monotonic()
    uid = await site.call("fan-out", {"items": items})
    most = [0, 0]
    watching = asyncio.create_task(_watch(site, uid, most)) if watched else None
    if kill_after is not None:
        await until(lambda: len(server.calls) >= kill_after, SERVING_S, "calls before the kill")
        name = (await site.view(uid)).worker
        worker = next(worker for worker in site.workers if worker.name == name)
        worker.signal(signal.SIGKILL)
        await worker.wait()
        server.held_from = None
        await site.store.leases.recover(name)  # as the supervisor of the worker does
    view = await site.ended(uid, SERVING_S)
    seconds = time.monotonic() - began
    if watching is not None:
        watching.cancel()
    assert view.status == "completed", decoded(view.error)
    return Loop(
        items=items,
        seconds=seconds,
        calls=len(server.calls),
        repeated=server.repeated,
        at_once=server.most_at_once,
        in_order=decoded(view.output) == [{"item": number} for number in range(items)],
        frames=most[0],
        state_bytes=most[1],
    )


async def _watch(site: Site, uid: str, most: list[int]) -> None:
    while True:
        frames = await site.store.call("HLEN", keys.FRAMES + uid)
        sizes = [
            await site.store.call("MEMORY", "USAGE", key + uid, "SAMPLES", 0)
            for key in (keys.FRAMES, keys.VALUES)
        ]
        most[0], most[1] = max(most[0], frames), max(most[1], sum(size or 0 for size in sizes))
        await asyncio.sleep(0.02)


@dataclass(kw_only=True)
class Neighbour:
    """Latencies of another API while a loop runs in the only worker."""

    calls: int
    p50_ms: float
    p99_ms: float


async def neighbour(site: Site, server: Items, items: int) -> Neighbour:
    """Call another API all the time while one loop runs."""
    uid = await site.call("fan-out", {"items": items})
    await until(lambda: len(server.calls) >= 10, SERVING_S, "the first calls")
    latencies = []
    while not (await site.view(uid)).ended:
        began = time.monotonic()
        await site.ended(await site.call())
        latencies.append(1000 * (time.monotonic() - began))
        await asyncio.sleep(0.02)
    latencies.sort()
    return Neighbour(
        calls=len(latencies),
        p50_ms=round(statistics.median(latencies), 1),
        p99_ms=round(latencies[int(0.99 * (len(latencies) - 1))], 1),
    )


async def site_at(url: str, folder: Path, server: Items, *, parallel: int, workers: int) -> Site:
    """Return a site with the workflow and so many workers."""
    store = await open_store(url, client_name="fanout", keyring=RING)
    settings = Settings(redis_url=url, data_dir=folder / ".iogate", log_format="json", link_key=LINK_KEY)
    site = Site(store=store, intake=store.intake(), settings=settings, folder=folder)
    await site.publish(fan_out(server.url, parallel), NOOP)
    for _ in range(workers):
        await site.worker()
    return site


async def campaign(sizes: list[int]) -> tuple[dict[str, Any], bool]:
    """Return what all trials have seen, and whether the promises hold."""
    with temporary_server() as redis, tempfile.TemporaryDirectory(prefix="iogate-fanout-") as name:
        async with Items(delay_s=0.25) as server:
            site = await site_at(redis.url, Path(name), server, parallel=10, workers=2)
            try:
                timed = await loop(site, server, 200)
                killed = await loop(site, server, 200, kill_after=100)
            finally:
                await site.close()
        async with Items() as server:
            site = await site_at(redis.url, Path(name), server, parallel=10, workers=1)
            try:
                grown = [await loop(site, server, size, watched=True) for size in sizes]
                beside = await neighbour(site, server, sizes[-1])
            finally:
                await site.close()
                await site.store.close()
    holds = (
        all(each.in_order and each.calls == each.items for each in (timed, killed, *grown))
        and timed.seconds <= PROMISED_S
        and killed.repeated <= 10
        and max(each.frames for each in grown) <= FRAMES
        and grown[-1].milliseconds <= SLOWER * grown[-2].milliseconds
    )
    seen = {
        "timed": timed.to_json(),
        "killed": killed.to_json(),
        "grown": [each.to_json() for each in grown],
        "neighbour": vars(beside),
        "holds": holds,
    }
    return seen, holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    seen, holds = asyncio.run(campaign(parser.parse_args().sizes))
    sys.stdout.write(json.dumps(seen, indent=1) + "\n")
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
