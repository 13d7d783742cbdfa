"""`python -m tests.faults.publication`: what callers and others see while revisions are published.

applies   under load at several gateway processes: no refused call, no response of a revision that is
          neither the last loaded nor the one being published; time until every gateway has loaded it
races     concurrent applies that all replace the same revision: one wins
kills     `iogate apply` and `iogate rollback` are killed at random points: the old or the new revision is
          live, with its gates, programs and origin, and the next apply succeeds; another project in the
          store stays as it is
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from iogate.compiler.revision import Bundle, Limits, Revision, Workflow
from iogate.reconcile.apply import apply
from iogate.store.embedded.server import temporary_server
from iogate.store.revisions.revisions import Conflict
from iogate.store.store import Store, open_store
from tests import fork_server
from tests.gateway.driver import Gateway, announced, api, listening, spawn, until
from tests.keys import LINK_KEY, RING

PAUSE_S = 0.01
"""Pause of a client between two calls, so that the load does not saturate a small machine."""
CONVERGED_S = 60.0
"""Longest wait for the gateways of an apply: a busy machine may stall one of them."""
PROJECT_API = """\
module: shop
auth: none
timeout: 1m
methods:
  {method}: {{workflow: shop/buy, enabled: true}}
  other: {{workflow: shop/buy, enabled: true}}
"""
PROJECT_WORKFLOW = """\
document: {{dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}}
do:
  - buy: {{set: {{bought: {number}}}}}
"""


@dataclass(kw_only=True)
class Applies:
    """Figures of applies under load."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    foreign: list[tuple[int, int, int]] = field(default_factory=list)
    """Responses with a foreign revision: the revision, and the range of those that were possible."""

    @property
    def hold(self) -> bool:
        return set(self.statuses) == {202} and not self.foreign

    def figures(self) -> dict[str, object]:
        ordered = sorted(self.seconds)
        return {
            "applies": len(ordered),
            "calls": dict(self.statuses),
            "foreign": self.foreign[:5],
            "converged_ms": {
                "median": round(statistics.median(ordered) * 1e3, 1),
                "p99": round(ordered[int(len(ordered) * 0.99)] * 1e3, 1),
                "longest": round(ordered[-1] * 1e3, 1),
            },
        }


def bundle(number: int) -> Bundle:
    """A revision that differs from that of every other number."""
    apis = {
        name: api(name, timeout_s=60.0 + number, limits=Limits(queued=1_000_000))
        for name in ("a/b", *(f"more/m{each}" for each in range(20)))
    }
    return Bundle(
        revision=Revision(apis=apis, workflows={"test/echo:1": Workflow(program="p1")}),
        programs={"p1": b"{}"},
    )


async def applies_under_load(url: str, folder: Path, *, applies: int, gateways: int = 4) -> Applies:
    """Publish revisions one after the other while each gateway is called without a break."""
    found = Applies()
    store = await open_store(url, client_name="applies", keyring=RING)
    first = await apply(store, bundle(0))
    loaded = newest = first.number
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(listening()) for _ in range(gateways)]
        running: list[Gateway] = []
        for each in sockets:
            running.append(spawn(url, each, folder))
            stack.callback(running[-1].stop)
        await until(lambda: announced(store, *running))
        ended = asyncio.Event()

        async def call(gateway: Gateway) -> None:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
                while not ended.is_set():
                    oldest = loaded
                    reply = await client.post("/v1/api/a/b/async", content=b"{}")
                    found.statuses[reply.status_code] += 1
                    revision = int(reply.headers.get("x-iogate-revision", -1))
                    if not oldest <= revision <= newest:
                        found.foreign.append((revision, oldest, newest))
                    await asyncio.sleep(PAUSE_S)

        async with asyncio.TaskGroup() as group:
            for gateway in running:
                group.create_task(call(gateway))
            try:
                for number in range(1, applies + 1):
                    newest = loaded + 1
                    started_s = time.perf_counter()
                    applied = await apply(store, bundle(number), expected=loaded, wait_s=CONVERGED_S)
                    found.seconds.append(time.perf_counter() - started_s)
                    loaded = applied.number
            finally:
                ended.set()
    await store.close()
    return found


async def races(url: str, *, rounds: int, sides: int = 20) -> list[int]:
    """Return how many of `sides` applies won in each round; each side has its own connection."""
    stores = [await open_store(url, client_name=f"side-{each}", keyring=RING) for each in range(sides)]
    won = []
    try:
        before = await stores[0].revisions.live()
        live = 0 if before is None else before[0]
        for number in range(rounds):
            bundles = [bundle(number * sides + side) for side in range(sides)]
            outcomes = await asyncio.gather(
                *(
                    apply(store, each, expected=live, wait_s=0)
                    for store, each in zip(stores, bundles, strict=True)
                ),
                return_exceptions=True,
            )
            winners = [each for each in outcomes if not isinstance(each, BaseException)]
            others = [each for each in outcomes if isinstance(each, BaseException)]
            assert all(isinstance(each, Conflict) for each in others), others
            won.append(len(winners))
            now = await stores[0].revisions.live()
            assert now is not None
            assert (now[0], now[1]) in {(winner.number, winner.digest) for winner in winners}
            live = now[0]
    finally:
        for store in stores:
            await store.close()
    return won


@dataclass(kw_only=True)
class Kills:
    """Figures of commands that were killed."""

    ends: Counter[str] = field(default_factory=Counter)
    mixed: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        return {"ends": dict(self.ends), "mixed": self.mixed[:5]}


def write_project(folder: Path, number: int) -> None:
    """Write a project whose API, workflow and set of APIs differ from those of the number before."""
    (folder / "apis.d").mkdir(parents=True, exist_ok=True)
    (folder / "workflows.d").mkdir(exist_ok=True)
    (folder / "apis.d/shop.yaml").write_text(PROJECT_API.format(method=f"buy{number % 2}"))
    (folder / "workflows.d/buy.yaml").write_text(PROJECT_WORKFLOW.format(number=number))


def _command(folder: Path, url: str, *arguments: str) -> fork_server.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
    environment |= {
        "IOGATE_REDIS_URL": url,
        "IOGATE_LINK_KEY": LINK_KEY,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with (folder / "command.log").open("ab") as log:
        return fork_server.start(
            "iogate",
            *arguments,
            environment=environment,
            folder=folder,
            stdout=log,
            stderr=log,
            patient=True,
        )


async def mixture(store: Store) -> str:
    """Return how the live state mixes two revisions; empty if it is that of one."""
    live = await store.revisions.live()
    assert live is not None
    number, digest = live
    revision = await store.revisions.load(number)
    if revision.digest != digest:
        return f"revision {number} has another digest than the live record"
    gates = await store.gates.states()
    expected = {each.id: (each.digest, each.enabled) for each in revision.apis.values()}
    found = {name: (gate.digest, gate.git) for name, gate in gates.items()}
    if found != expected:
        return f"revision {number} has other gates: {sorted(found)} instead of {sorted(expected)}"
    for program in revision.programs:
        await store.revisions.program(program)
    history = await store.revisions.history()
    return "" if history[0].number == number else f"the history begins with {history[0].number}"


async def kills(url: str, folder: Path, *, times: int, seed: int) -> Kills:
    """Kill `apply` and `rollback` in turn at random points, and look at what is live then."""
    found = Kills()
    chance = random.Random(seed)
    store = await open_store(url, client_name="kills", keyring=RING, project="default")
    neighbour = await open_store(url, client_name="neighbour", keyring=RING, project="neighbour")
    await neighbour.revisions.publish(bundle(0))
    untouched = await _live(neighbour)
    commands: Sequence[tuple[str, ...]] = (
        ("apply", "--yes", "--prune", "--max-deletes", "9"),
        ("rollback", "--yes", "--prune", "--max-deletes", "9"),
    )
    longest_s: dict[str, float] = {}
    for number in range(4):
        write_project(folder, number)
        await _finish(folder, url, *commands[0])
    for arguments in commands:
        write_project(folder, 4 + commands.index(arguments))
        started_s = time.perf_counter()
        await _finish(folder, url, *arguments)
        longest_s[arguments[0]] = time.perf_counter() - started_s
    for number in range(times):
        arguments = commands[number % 2]
        write_project(folder, 10 + number)
        before = await store.revisions.live()
        process = _command(folder, url, *arguments)
        # The change itself is near the end, so that half of the kills are aimed at that part.
        share = chance.uniform(0.5, 1.0) if number % 4 < 2 else chance.uniform(0.0, 1.1)
        await asyncio.sleep(share * longest_s[arguments[0]])
        process.kill()
        await asyncio.to_thread(process.wait, 20)
        after = await store.revisions.live()
        assert before is not None
        assert after is not None
        moved = {0: "old", 1: "new"}.get(after[0] - before[0], f"{after[0] - before[0]} revisions")
        found.ends[f"{arguments[0]}: {moved}"] += 1
        if what := await mixture(store):
            found.mixed.append(f"after {' '.join(arguments)}: {what}")
        if await _live(neighbour) != untouched:
            found.mixed.append(f"after {' '.join(arguments)}: another project has changed")
    write_project(folder, 0)
    await _finish(folder, url, *commands[0])
    await store.close()
    await neighbour.close()
    return found


async def _live(store: Store) -> tuple[object, object]:
    """Return the live revision of a project, and its gates."""
    return await store.revisions.live(), await store.gates.states()


async def _finish(folder: Path, url: str, *arguments: str) -> None:
    process = _command(folder, url, *arguments)
    code = await asyncio.to_thread(process.wait, 60)
    assert code == 0, (folder / "command.log").read_text()[-2000:]


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.publication",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=["applies", "races", "kills"])
    parser.add_argument("--applies", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=50, help="rounds of races")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args(arguments)
    figures: dict[str, Any] = {"seed": given.seed}
    holds = True
    if given.only in {None, "applies"}:
        with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
            under_load = await applies_under_load(server.url, Path(folder), applies=given.applies)
        figures["applies"] = under_load.figures()
        holds &= under_load.hold
    if given.only in {None, "races"}:
        with temporary_server() as server:
            won = await races(server.url, rounds=given.rounds)
        figures["races"] = {"rounds": len(won), "winners": dict(Counter(won))}
        holds &= set(won) == {1}
    if given.only in {None, "kills"}:
        with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
            killed = await kills(server.url, Path(folder), times=given.kills, seed=given.seed)
        figures["kills"] = killed.figures()
        holds &= not killed.mixed
    print(json.dumps(figures, indent=2))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
