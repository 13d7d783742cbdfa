"""One-time links, each used by many requests at once and read by scanners: one use of each succeeds.

`python -m tests.faults.links` races 50 POSTs for each of 1,000 links over two gateway processes, after 1,000
reads as scanners of mail make them, and ends with 1 if a link was used by none or by several of them, or by a
scanner.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp

from iogate.store import keys
from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store
from tests.conftest import opened_store
from tests.faults import load
from tests.gateway.driver import Gateway, listening, spawn
from tests.gateway.links.pressing import listen, path, publish_links, start, wanting

SCANNERS = (
    {"user-agent": "Mozilla/5.0", "accept": "text/html,*/*;q=0.8", "sec-purpose": "prefetch"},
    {"user-agent": "Slackbot-LinkExpanding 1.0", "accept": "*/*"},
    {"user-agent": "GoogleImageProxy", "accept": "image/*"},
    {"user-agent": "Barracuda Sentinel"},
)
AT_ONCE = 4
"""Links that are raced for at the same time."""


@dataclass(kw_only=True)
class Seen:
    """Outcome of a campaign."""

    links: int = 0
    scans: Counter[int] = field(default_factory=Counter)
    used_by_scans: int = 0
    posts: Counter[int] = field(default_factory=Counter)
    successes: Counter[int] = field(default_factory=Counter)
    """Number of links by the number of their successful uses."""
    events: Counter[int] = field(default_factory=Counter)
    """Number of runs by the number of events that they got."""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        once = Counter({1: self.links})
        return self.used_by_scans == 0 and self.successes == once and self.events == once

    def to_json(self) -> dict[str, Any]:
        return {
            "links": self.links,
            "scans": dict(self.scans),
            "usedByScans": self.used_by_scans,
            "posts": dict(self.posts),
            "linksBySuccesses": dict(self.successes),
            "runsByEvents": dict(self.events),
            "seconds": round(self.seconds, 1),
        }


async def campaign(redis_url: str, store: Store, folder: Path, *, links: int, posts: int, scans: int) -> Seen:
    """Scan and race for the links of as many runs."""
    program = await publish_links(store)
    uids = await start(store, program, links)
    parked = 0
    while parked < links:
        parked += await listen(store, {1: wanting("seen")}, 100)
    expiry = int(time.time()) + 3_600
    paths = [path(store, uid, "seen", expiry) for uid in uids]
    seen = Seen(links=links)
    with listening() as first, listening() as second:
        gateways = [spawn(redis_url, on, folder) for on in (first, second)]
        try:
            began_s = time.monotonic()
            async with load.session(60.0, fresh=False) as http:
                for gateway in gateways:
                    await _ready(http, gateway)
                await _scan(http, gateways, paths, scans, seen)
                seen.used_by_scans = sum(
                    [await store.call("EXISTS", f"{keys.LINK}{uid}:seen") for uid in uids]
                ) + sum([await store.call("LLEN", keys.INBOX + uid) for uid in uids])
                limit = asyncio.Semaphore(AT_ONCE)
                await asyncio.gather(*(_race(http, gateways, each, posts, seen, limit) for each in paths))
            seen.seconds = time.monotonic() - began_s
        finally:
            for gateway in gateways:
                gateway.stop()
    for uid in uids:
        seen.events[await store.call("LLEN", keys.INBOX + uid)] += 1
    return seen


async def _ready(http: aiohttp.ClientSession, gateway: Gateway) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            async with http.get(f"{gateway.url}/health/ready") as reply:
                if reply.status == 200:
                    return
        except load.BROKEN:
            pass
        assert time.monotonic() < deadline, gateway.log.read_text()
        await asyncio.sleep(0.1)


async def _scan(
    http: aiohttp.ClientSession, gateways: list[Gateway], paths: list[str], scans: int, seen: Seen
) -> None:
    targets, kinds = cycle(paths), cycle(SCANNERS)
    for number in range(scans):
        url = gateways[number % len(gateways)].url + next(targets)
        request = http.head if number % 5 == 0 else http.get
        async with request(url, headers=next(kinds)) as reply:
            await reply.read()
            seen.scans[reply.status] += 1


async def _race(
    http: aiohttp.ClientSession,
    gateways: list[Gateway],
    path: str,
    posts: int,
    seen: Seen,
    limit: asyncio.Semaphore,
) -> None:
    async def post(number: int) -> int:
        async with http.post(gateways[number % len(gateways)].url + path, data={}) as reply:
            await reply.read()
            return reply.status

    async with limit:
        statuses = Counter(await asyncio.gather(*map(post, range(posts))))
    seen.posts.update(statuses)
    seen.successes[statuses[202]] += 1


async def _main(links: int, posts: int, scans: int) -> Seen:
    with temporary_server() as server, tempfile.TemporaryDirectory(prefix="iogate-links-") as folder:
        async with opened_store(server.url) as store:
            return await campaign(server.url, store, Path(folder), links=links, posts=posts, scans=scans)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.links", description=__doc__)
    parser.add_argument("--links", type=int, default=1_000, help="runs, each with one link")
    parser.add_argument("--posts", type=int, default=50, help="simultaneous requests for each link")
    parser.add_argument("--scans", type=int, default=1_000, help="reads before the race")
    given = parser.parse_args()
    seen = asyncio.run(_main(given.links, given.posts, given.scans))
    print(json.dumps(seen.to_json()))
    return 0 if seen.holds else 1


if __name__ == "__main__":
    sys.exit(main())
