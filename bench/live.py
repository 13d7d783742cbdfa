"""`python -m bench live`: how soon the console shows a commit, and what watched runs cost other callers.

One Redis, one gateway, and the Chromium of this machine through Playwright:

    run         milliseconds from the reply to a commit until its journal entry is on the page of the run; the
                95th percentile at most 400 ms
    list        the same for a run that was accepted, in the list of runs; at most 1,000 ms
    watchers    what it costs that 50 runs are watched, each with an entry a second; rounds in turns, in a
                changing order. `share` is the processor time of the gateway for them, of one processor: what
                calls lose if the gateway has no more; at most 0.03. `ratio` is that of the calls accepted a
                second, which shows it only on a quiet machine

Ends with 1 if a figure is over its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from playwright.async_api import BrowserContext, async_playwright

from bench.console import Processor
from bench.site import Site, arguments_of, free_port, process, redis_server, status, wait_for
from bench.streams import calls
from bench.waiting import accept
from iogate.store.runs.commits import Commit
from iogate.store.store import Store, open_store
from tests.keys import RING

RUN_MS = 400.0
LIST_MS = 1_000.0
MOST_SHARE = 0.03
FIRST_S = 30.0
TOKEN = "bench-token-0123456789"
OPERATORS = json.dumps({"ada": {"token": {"env": "ADA_TOKEN"}, "role": "admin"}})
WATCH = """
window.seen = {};
new MutationObserver(() => {
  for (const each of document.querySelectorAll("#entries tr, td a.mono")) {
    const key = each.id || each.textContent;
    window.seen[key] ??= performance.timeOrigin + performance.now();
  }
}).observe(document, { childList: true, subtree: true });
"""
"""Notes when the page first has each journal entry, or each run."""


class Live(NamedTuple):
    """A run that goes on."""

    uid: str
    token: int
    seq: int
    entries: int

    def commit(self, lines: Sequence[bytes]) -> Commit:
        return Commit(
            uid=self.uid, token=self.token, seq=self.seq + 1, move="keep", status="running", journal=lines
        )

    def after(self, lines: Sequence[bytes]) -> Live:
        return self._replace(seq=self.seq + 1, entries=self.entries + len(lines))


def _line(number: int) -> bytes:
    at = int(time.time() * 1000)
    return b'{"at":%d,"kind":"task.started","reference":"/do/%d/x","name":"x"}' % (at, number % 50)


async def started(store: Store, count: int) -> list[Live]:
    """Start runs as a worker does, and leave them at their first task."""
    await accept(store, "bench/nap", [b"{}"] * count)
    found: list[Live] = []
    while len(found) < count:
        claims = (await store.leases.take("bench", 100)).claims
        found += [Live(claim.uid, claim.token, claim.seq, 0) for claim in claims]
    return await advanced(store, found)


async def advanced(store: Store, runs: Sequence[Live]) -> list[Live]:
    """Commit one more journal entry of each run."""
    lines = [[_line(run.entries)] for run in runs]
    await store.leases.commit([run.commit(each) for run, each in zip(runs, lines, strict=True)])
    return [run.after(each) for run, each in zip(runs, lines, strict=True)]


@contextlib.contextmanager
def gateway(site: Site) -> Iterator[tuple[int, Processor]]:
    """Serve the store for callers and operators; yield the port, and the processor time of the gateway."""
    port = free_port()
    environment = {
        **site.environment,
        "IOGATE_PORT": str(port),
        "IOGATE_OPERATORS": OPERATORS,
        "ADA_TOKEN": TOKEN,
    }
    with process(site.iogate("serve"), environment, site.folder / "gateway.log") as serving:
        wait_for(lambda: status(port, "/health/ready") == 200, "gateway is ready")
        yield port, Processor(gateway=serving.pid)


def p95(times: Sequence[float]) -> float:
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1)


@contextlib.asynccontextmanager
async def browser(port: int) -> AsyncIterator[BrowserContext]:
    """A Chromium with a session."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise SystemExit("python -m bench live needs Chromium on PATH")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = await chromium.new_context(base_url=f"http://127.0.0.1:{port}")
        await context.add_init_script(WATCH)
        own = {"Origin": f"http://127.0.0.1:{port}"}
        await context.request.post("/console/login", form={"token": TOKEN}, headers=own)
        yield context
        await chromium.close()


async def run_times(store: Store, context: BrowserContext, commits: int) -> list[float]:
    """Return the milliseconds from each commit of a run until its entry is on its page."""
    (run,) = await started(store, 1)
    page = await context.new_page()
    await page.goto(f"/console/runs/{run.uid}")
    await page.locator("#live").wait_for()
    done: dict[str, float] = {}
    for _ in range(commits):
        (run,) = await advanced(store, [run])
        done[f"e{run.entries}"] = 1000 * time.time()
        await asyncio.sleep(random.uniform(0.05, 0.3))
    return await _times(page, done)


async def list_times(store: Store, context: BrowserContext, runs: int) -> list[float]:
    """Return the milliseconds from each accept until the run is in the list."""
    page = await context.new_page()
    await page.goto("/console/runs")
    await page.locator("#live-list").wait_for()
    done: dict[str, float] = {}
    for _ in range(runs):
        (uid,) = await accept(store, "bench/nap", [b"{}"])
        done[uid] = 1000 * time.time()
        await asyncio.sleep(random.uniform(0.2, 1.5))
    return await _times(page, done)


async def _times(page: Any, done: dict[str, float]) -> list[float]:
    # The policy of the page allows no expression that Playwright evaluates in it again and again.
    async with asyncio.timeout(FIRST_S):
        while not done.keys() <= (seen := await page.evaluate("window.seen")).keys():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.2)
    await page.close()
    return [max(0.0, seen[name] - at_ms) for name, at_ms in done.items()]


@contextlib.asynccontextmanager
async def watched(port: int, runs: Sequence[Live]) -> AsyncIterator[list[int]]:
    """Follow the runs as open pages do; yields the number of received bytes."""
    url = f"http://127.0.0.1:{port}"
    received = [0]
    is_open = [asyncio.Event() for _ in runs]

    async def follow(client: httpx.AsyncClient, run: Live, opened: asyncio.Event) -> None:
        path = f"/console/runs/{run.uid}/events?after={run.entries}"
        async with client.stream("GET", path, timeout=60) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream"), stream.status_code
            opened.set()
            async for part in stream.aiter_raw():
                received[0] += len(part)

    async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=None)) as client:
        await client.post("/console/login", data={"token": TOKEN}, headers={"Origin": url})
        tasks = [
            asyncio.create_task(follow(client, run, opened))
            for run, opened in zip(runs, is_open, strict=True)
        ]
        try:
            async with asyncio.timeout(FIRST_S):
                await asyncio.gather(*(each.wait() for each in is_open))
            yield received
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            broken = [each for each in ended if isinstance(each, Exception)]
            assert not broken, broken


async def watchers(
    store: Store, port: int, processor: Processor, given: argparse.Namespace
) -> dict[str, Any]:
    """Measure calls while runs that go on are watched, and while nobody watches them."""
    state = [await started(store, given.watchers)]

    async def go_on() -> None:
        while True:
            await asyncio.sleep(given.interval)
            state[0] = await advanced(store, state[0])

    rates: dict[str, list[float]] = {"alone": [], "watched": []}
    shares: dict[str, list[float]] = {"alone": [], "watched": []}
    going_on = asyncio.create_task(go_on())
    await calls(port, seconds=1, connections=given.connections)
    try:
        for number in range(given.rounds):
            for side in sorted(rates, reverse=number % 2 == 0):
                async with contextlib.AsyncExitStack() as stack:
                    if side == "watched":
                        received = await stack.enter_async_context(watched(port, state[0]))
                    before_ms, began_s = processor.spent_ms()["gateway"], time.monotonic()
                    await asyncio.sleep(given.seconds)
                    spent_ms = processor.spent_ms()["gateway"] - before_ms
                    shares[side].append(round(spent_ms / (1000 * (time.monotonic() - began_s)), 4))
                    found = await calls(port, seconds=given.seconds, connections=given.connections)
                rates[side].append(found["per_second"])
        assert received[0], "no watcher received anything"
    finally:
        going_on.cancel()
        await asyncio.gather(going_on, return_exceptions=True)
    middle = {side: statistics.median(each) for side, each in rates.items()}
    share = {side: statistics.median(each) for side, each in shares.items()}
    return {
        "perSecond": middle,
        "rounds": rates,
        "ratio": round(middle["watched"] / middle["alone"], 3),
        "shares": shares,
        "share": round(share["watched"] - share["alone"], 4),
    }


async def measure(url: str, port: int, processor: Processor, given: argparse.Namespace) -> dict[str, Any]:
    store = await open_store(url, keyring=RING)
    try:
        async with browser(port) as context:
            runs = await run_times(store, context, given.commits)
            lists = await list_times(store, context, given.commits // 2)
        return {
            "run": {"p50Ms": round(statistics.median(runs), 1), "p95Ms": p95(runs)},
            "list": {"p50Ms": round(statistics.median(lists), 1), "p95Ms": p95(lists)},
            "watchers": await watchers(store, port, processor, given),
        }
    finally:
        await store.close()


def over_limits(found: dict[str, Any]) -> list[str]:
    late = [name for name, limit in (("run", RUN_MS), ("list", LIST_MS)) if found[name]["p95Ms"] > limit]
    return late + (["watchers"] if found["watchers"]["share"] > MOST_SHARE else [])


def main(arguments: list[str]) -> None:
    parser = arguments_of("live", __doc__)
    parser.add_argument("--commits", type=int, default=100)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument(
        "--interval", type=float, default=1.0, help="seconds between entries of a watched run"
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        site = Site(Path(name), store)
        site.apply()
        with gateway(site) as (port, processor):
            found = asyncio.run(measure(site.environment["BENCH_REDIS"], port, processor, given))
    late = over_limits(found)
    print(json.dumps({"schema": "iogate.bench.live/v1", **found, "overLimits": late}, indent=2))
    sys.exit(bool(late))
