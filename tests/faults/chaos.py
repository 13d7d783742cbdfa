"""Kill processes at random under load and prove that nothing accepted is lost and nothing committed repeats.

`python -m tests.faults.chaos --kills 100 --seed 7` prints what it saw as JSON; the short form runs in the
suite. Kills fall at random moments, also while what was killed before is still starting, and some calls
are poison: their run kills each worker that takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from iogate.store.embedded.data_folder import read_record
from tests.faults import load, project
from tests.faults.counting import CountingServer
from tests.faults.recovery import Recovery, leftovers
from tests.faults.site import TAIL, Ended, Kind, Site, identity_of
from tests.ports import free_port

KINDS: tuple[Kind, ...] = ("worker", "parent", "gateway", "store")
PROMISE_S = 60.0
"""Deadline to serve again after a kill, and for every accepted run to end after the last kill."""
RECOVERY_S = 30.0
"""Within that the runs of a killed worker go on."""


@dataclass
class Outcome:
    """What a session of kills showed."""

    seed: int
    store: str = ""
    kills: Counter[str] = field(default_factory=Counter)
    while_starting: int = 0
    """Kills before what an earlier one had hit was serving again."""
    accepted: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    unfinished: list[str] = field(default_factory=list)
    not_completed: dict[str, Any] = field(default_factory=dict)
    poisoned: int = 0
    not_poisoned: dict[str, Any] = field(default_factory=dict)
    repeated_after_commit: list[str] = field(default_factory=list)
    changed_keys: list[str] = field(default_factory=list)
    in_flight_repeats: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    ended: list[Ended] = field(default_factory=list)
    not_serving: bool = False
    slowest_serving_s: float = 0.0
    recovered: int = 0
    slowest_recovery_s: float = 0.0
    drained_s: float = 0.0
    left: list[str] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    processes_left: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, and runs of killed workers went on in time."""
        return self.lost_nothing and self.slowest_recovery_s <= RECOVERY_S

    @property
    def lost_nothing(self) -> bool:
        """Whether every accepted run ended as it should, and nothing is left behind."""
        wrong = (
            *(self.unfinished, self.not_completed, self.not_poisoned, self.repeated_after_commit),
            *(self.changed_keys, self.ended, self.not_serving, self.left, self.processes_left),
        )
        # Of ten killed workers or parents, one at least had runs under way; else nothing was measured.
        measured = self.recovered > 0 or self.kills["worker"] + self.kills["parent"] < 10
        return measured and not any(wrong)


@dataclass
class _Session:
    site: Site
    base: str
    http: aiohttp.ClientSession
    chance: random.Random
    recovery: Recovery
    outcome: Outcome
    pause_s: float
    bad: load.Load
    poison: int
    promise_s: float

    async def serving(self) -> None:
        took_s = await load.until_serving(self.http, self.base, self.promise_s)
        self.outcome.slowest_serving_s = max(self.outcome.slowest_serving_s, took_s)

    async def kill(self) -> bool:
        """One process at random; False where none of the kind that was drawn was alive."""
        kind = self.chance.choice(KINDS)
        choose = self.chance.randrange(1000)
        workers = self.site.pids("worker")
        if kind == "worker":
            workers = [workers[choose % len(workers)]] if workers else []
        await self.recovery.note(
            [identity_of(pid) for pid in workers] if kind in ("worker", "parent") else []
        )
        if self.site.kill(kind, choose) is None:
            return False
        self.outcome.kills[kind] += 1
        return True

    async def kills(self, count: int) -> None:
        in_a_row = 0
        poison = iter([*(round((n + 0.5) * count / self.poison) for n in range(self.poison)), count])
        next_poison = next(poison)
        while (killed := self.outcome.kills.total()) < count:
            if killed >= next_poison:
                next_poison = next(poison)
                await self.bad.call()
            if in_a_row == 0 or self.chance.random() < 0.6 or in_a_row > 3:
                await self.serving()
                await asyncio.sleep(self.pause_s * self.chance.uniform(0.3, 1.7))
                in_a_row = 0
            else:
                # Into the middle of what follows the last kill: a start, a burial, a load of the log.
                await asyncio.sleep(self.chance.uniform(0.0, 1.5))
            if await self.kill():
                self.outcome.while_starting += in_a_row > 0
                in_a_row += 1
        await self.serving()


async def session_of_kills(
    folder: Path,
    *,
    kills: int,
    seed: int,
    rps: float = 40,
    pause_s: float = 1.0,
    poison: int = 0,
    server: str | None = None,
    delay_s: float = 0.25,
    promise_s: float = PROMISE_S,
) -> Outcome:
    """Start a site, load it, kill `kills` times, then wait for the end of every accepted run."""
    outcome = Outcome(seed=seed)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    recovery = Recovery(folder)
    async with CountingServer(delay_s=delay_s) as counting, load.session() as http:
        project.write(folder, server=counting.url, port=port)
        site = Site(folder, port, server=server)
        keeping = [asyncio.create_task(site.keep()), asyncio.create_task(recovery.watch())]
        good = load.Load(http, f"{base}/v1/api/faults/two-calls/async", rps)
        bad = load.Load(http, f"{base}/v1/api/faults/poison/async", 0)
        session = _Session(
            site=site,
            base=base,
            http=http,
            chance=random.Random(seed),
            recovery=recovery,
            outcome=outcome,
            pause_s=pause_s,
            bad=bad,
            poison=poison,
            promise_s=promise_s,
        )
        try:
            await session.serving()
            good.start()
            await session.kills(kills)
            await good.stop()
            await _judge(session, good.accepted, bad.accepted)
            outcome.repeated_after_commit = counting.repeated_after_commit()
            outcome.changed_keys = counting.changed_keys()
            outcome.in_flight_repeats = counting.repeats()
        except TimeoutError:
            outcome.not_serving = True
        finally:
            await good.stop()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            record = read_record(folder / ".iogate" / "redis")
            outcome.store = str(record.server) if record is not None else ""
            outcome.refused = good.refused
            outcome.accepted = good.accepted
            await site.stop()
            outcome.ended = site.ended
            outcome.processes_left = await _gone(site.left)
            site.sweep()
    return outcome


async def _judge(session: _Session, good: list[str], bad: list[str]) -> None:
    outcome, http, base = session.outcome, session.http, session.base
    started = time.monotonic()
    runs = await load.ends(http, base, [*good, *bad], session.promise_s)
    outcome.drained_s = time.monotonic() - started
    outcome.unfinished = [uid for uid in (*good, *bad) if uid not in runs]
    poison = set(bad)
    for uid, run in runs.items():
        if uid in poison:
            if run["status"] == "faulted" and "poison" in json.dumps(run.get("error")):
                outcome.poisoned += 1
            else:
                outcome.not_poisoned[uid] = run
            continue
        outcome.statuses[run["status"]] += 1
        if run["status"] != "completed" or run["attempt"] != 1:
            outcome.not_completed[uid] = run
    outcome.left, outcome.keys = await leftovers(session.site.folder)
    outcome.recovered = len(session.recovery.took_s)
    outcome.slowest_recovery_s = session.recovery.longest_s


async def _gone(left: Callable[[], list[str]], limit_s: float = 20.0) -> list[str]:
    """What is still there after a moment."""
    until = time.monotonic() + limit_s
    while (found := left()) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return found


def report(outcome: Outcome) -> dict[str, Any]:
    return {
        "seed": outcome.seed,
        "store": outcome.store,
        "kills": dict(outcome.kills),
        "whileStarting": outcome.while_starting,
        "accepted": len(outcome.accepted),
        "refused": dict(outcome.refused),
        "statuses": dict(outcome.statuses),
        "unfinished": outcome.unfinished[:10],
        "notCompleted": dict(list(outcome.not_completed.items())[:5]),
        "poisoned": outcome.poisoned,
        "notPoisoned": dict(list(outcome.not_poisoned.items())[:5]),
        "committedRepeats": outcome.repeated_after_commit[:10],
        "changedKeys": outcome.changed_keys[:10],
        "inFlightRepeats": outcome.in_flight_repeats,
        "upEndedByItself": [{"code": each.code, "log": each.log} for each in outcome.ended],
        "notServing": outcome.not_serving,
        "slowestServingS": round(outcome.slowest_serving_s, 2),
        "runsOfKilledWorkers": outcome.recovered,
        "slowestRecoveryS": round(outcome.slowest_recovery_s, 2),
        "drainedS": round(outcome.drained_s, 2),
        "left": outcome.left,
        "keys": outcome.keys,
        "processesLeft": outcome.processes_left,
        "holds": outcome.holds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--rps", type=float, default=40)
    parser.add_argument("--poison", type=int, default=5, help="about so many calls that kill their worker")
    parser.add_argument("--server", help="binary of the store, instead of the bundled one")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="iogate-faults-"))
    outcome = asyncio.run(
        session_of_kills(
            folder / "site",
            kills=arguments.kills,
            seed=arguments.seed,
            rps=arguments.rps,
            poison=arguments.poison,
            server=arguments.server,
        )
    )
    sys.stdout.write(json.dumps(report(outcome), indent=1) + "\n")
    if not outcome.holds:
        log = folder / "site" / "up.log"
        sys.stderr.write(f"{log.read_text()[-TAIL:]}\nthe whole log: {log}\n")
        raise SystemExit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
