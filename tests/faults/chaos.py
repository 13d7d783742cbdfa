"""Kill processes at random under load and prove that nothing accepted is lost and nothing committed repeats.

`python -m tests.faults.chaos --kills 100 --seed 7` prints one JSON line; the short form runs in the suite.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.faults import project
from tests.faults.counting import CountingServer
from tests.faults.site import Kind, Site, free_port

TERMINAL = {"completed", "faulted", "cancelled"}
KINDS: tuple[Kind, ...] = ("worker", "parent", "gateway", "store")


@dataclass
class Outcome:
    """What a session of kills showed."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    unfinished: list[str] = field(default_factory=list)
    not_completed: dict[str, Any] = field(default_factory=dict)
    repeated_after_commit: list[str] = field(default_factory=list)
    changed_keys: list[str] = field(default_factory=list)
    in_flight_repeats: int = 0
    refused: int = 0
    slowest_recovery_s: float = 0.0
    drained_s: float = 0.0

    @property
    def holds(self) -> bool:
        return not (self.unfinished or self.repeated_after_commit or self.changed_keys)


async def _load(
    session: aiohttp.ClientSession, url: str, outcome: Outcome, stop: asyncio.Event, rps: float
) -> None:
    """Calls at a steady rate; only an answer of 202 counts as accepted."""
    under_way: set[asyncio.Task[None]] = set()

    async def call() -> None:
        try:
            async with session.post(url, json={}) as answer:
                if answer.status == 202:  # the one success
                    outcome.accepted.append((await answer.json())["response"]["uid"])
                else:
                    outcome.refused += 1
        except (aiohttp.ClientError, TimeoutError, OSError):
            outcome.refused += 1

    while not stop.is_set():
        task = asyncio.create_task(call())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        await asyncio.sleep(1 / rps)
    await asyncio.gather(*under_way)


async def _status(session: aiohttp.ClientSession, base: str, uid: str) -> dict[str, Any] | None:
    try:
        async with session.get(f"{base}/v1/runs/{uid}") as answer:
            if answer.status == 200:  # found
                found: dict[str, Any] = (await answer.json())["response"]
                return found
            return {"status": f"http {answer.status}"} if answer.status == 404 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


async def _until_serving(session: aiohttp.ClientSession, base: str, limit_s: float) -> float:
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        try:
            async with session.get(f"{base}/health/ready") as answer:
                if answer.status == 200:  # ready
                    return time.monotonic() - started
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        await asyncio.sleep(0.05)
    raise TimeoutError(f"not serving after {limit_s} s")


async def session_of_kills(
    folder: Path, *, kills: int, seed: int, rps: float = 40, pause_s: float = 1.0
) -> Outcome:
    """Start a site, load it, kill `kills` times, then wait for every accepted run's end."""
    outcome = Outcome(seed=seed)
    chance = random.Random(seed)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with CountingServer() as server:
        project.write(folder, server=server.url, port=port)
        site = Site(folder, port)
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)
            ) as session:
                site.ensure_parent()
                await _until_serving(session, base, 60)
                stop = asyncio.Event()
                load = asyncio.create_task(
                    _load(session, f"{base}/v1/api/faults/two-calls/async", outcome, stop, rps)
                )
                while outcome.kills.total() < kills:
                    await asyncio.sleep(pause_s * chance.uniform(0.3, 1.7))
                    kind = chance.choice(KINDS)
                    if site.kill(kind, chance.randrange(1000)) is None:
                        continue
                    outcome.kills[kind] += 1
                    if kind == "parent":
                        assert site.parent is not None
                        await asyncio.to_thread(site.parent.wait)
                        site.ensure_parent()
                    outcome.slowest_recovery_s = max(
                        outcome.slowest_recovery_s, await _until_serving(session, base, 60)
                    )
                stop.set()
                await load
                await _drain(session, base, outcome, server)
        finally:
            await site.stop()
    return outcome


async def _drain(session: aiohttp.ClientSession, base: str, outcome: Outcome, server: CountingServer) -> None:
    """Wait until every accepted run ended, 60 s at most, and count what happened."""
    started = time.monotonic()
    open_uids = list(outcome.accepted)
    while open_uids and time.monotonic() - started < 60:  # the promise of R1
        still = []
        for uid in open_uids:
            run = await _status(session, base, uid)
            if run is None or run["status"] not in TERMINAL:
                still.append(uid)
            else:
                outcome.statuses[run["status"]] += 1
                if run["status"] != "completed":
                    outcome.not_completed[uid] = run.get("error")
        open_uids = still
    outcome.drained_s = time.monotonic() - started
    outcome.unfinished = open_uids
    outcome.repeated_after_commit = server.repeated_after_commit()
    outcome.changed_keys = server.changed_keys()
    outcome.in_flight_repeats = server.repeats()


def report(outcome: Outcome) -> dict[str, Any]:
    return {
        "seed": outcome.seed,
        "kills": dict(outcome.kills),
        "accepted": len(outcome.accepted),
        "refused": outcome.refused,
        "statuses": dict(outcome.statuses),
        "unfinished": outcome.unfinished[:10],
        "notCompleted": dict(list(outcome.not_completed.items())[:5]),
        "committedRepeats": outcome.repeated_after_commit[:10],
        "changedKeys": outcome.changed_keys[:10],
        "inFlightRepeats": outcome.in_flight_repeats,
        "slowestRecoveryS": round(outcome.slowest_recovery_s, 2),
        "drainedS": round(outcome.drained_s, 2),
        "holds": outcome.holds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--rps", type=float, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iogate-faults-") as folder:
        outcome = asyncio.run(
            session_of_kills(
                Path(folder) / "site", kills=arguments.kills, seed=arguments.seed, rps=arguments.rps
            )
        )
        sys.stdout.write(json.dumps(report(outcome), indent=1) + "\n")
        if not outcome.holds:
            sys.stderr.write((Path(folder) / "site" / "up.log").read_text()[-6000:])
            raise SystemExit(1)


if __name__ == "__main__":
    main()
