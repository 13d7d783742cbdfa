"""Fail over a store under load and count the acknowledged calls that are lost.

`python -m tests.faults.failover --mode replicated --kind crash --rounds 5` prints a row of the table in
`docs/operations/high-availability.md`; the short form runs in the suite. Everything is real and on
loopback: a primary, two replicas, three sentinels, an `iogate up` and calls over HTTP.

    crash       the primary is killed
    partition   replicas and sentinels lose the primary; the gateway reaches it and no sentinel, 3 s longer
    planned     `store drain`, SENTINEL FAILOVER, `store resume`; with --no-drain the failover alone

The primary stands behind a proxy that tells iogate from replicas and sentinels by the first command of a
connection, which is how a partition can cut off the one and not the others.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iogate.store.connection.failures import StoreUnavailable
from iogate.store.store import Store, open_store
from tests.faults import load
from tests.faults.site import TAIL, Site
from tests.keys import LINK_KEY, RING
from tests.ports import free_port
from tests.replicas import NAME, Proxy, Sentinels, Server, in_step, poll

Mode = Literal["local", "replicated"]
Kind = Literal["crash", "partition", "planned"]

SERVING_S = 60.0
PROMOTED_S = 90.0
"""A sentinel whose machine stalls for two seconds starts no failover for 30 s."""
LONGER_S = 3.0
"""A partition outlasts the failover by this time: the old primary is still written to."""
ENDED_S = 60.0
DOWN_MS = 1_000
REPLICAS = 2
"""One is promoted, the other confirms."""

API = """\
module: failover
auth: none
timeout: 10m
retention: 1h
methods:
  call: {workflow: failover/call, enabled: true}
"""
WORKFLOW = """\
document: {dsl: 1.0.0, namespace: failover, name: call, version: 1.0.0}
do:
  - done: {set: {ok: true}}
"""


@dataclass
class Outcome:
    """What rounds of one kind showed."""

    mode: Mode
    kind: str
    replicas: int = 1
    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    unfinished: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    gaps_s: list[float] = field(default_factory=list)
    """The longest time without an acknowledged call, for each round."""

    def row(self) -> str:
        refused = ", ".join(f"{number} of {name}" for name, number in sorted(self.refused.items())) or "none"
        gaps = f"{min(self.gaps_s):.1f} to {max(self.gaps_s):.1f} s"
        mode = f"`{self.mode}`" + (f", `replicas: {self.replicas}`" if self.replicas > 1 else "")
        cells = (mode, self.kind, self.rounds, self.acknowledged, self.lost, refused, gaps)
        return f"| {' | '.join(map(str, cells))} |"


class Load(load.Load):
    """Notes when each call was acknowledged."""

    times: list[float]

    async def call(self) -> None:
        before = len(self.accepted)
        await super().call()
        if len(self.accepted) > before:
            self.times.append(time.monotonic())


def _is_infrastructure(first: bytes) -> bool:
    """iogate's connections begin with HELLO, or with the redis-py of its subscription and of RQ."""
    return (
        b"REPLCONF" in first
        or first.startswith((b"*1\r\n$4\r\nPING", b"*1\r\n$4\r\nping"))
        or (b"SETNAME" in first and b"sentinel-" in first)
    )


class Scene:
    """The store, its proxies and the `up` that uses it."""

    def __init__(self, folder: Path, mode: Mode, confirming: int) -> None:
        self._folder = folder
        self._mode = mode
        self._confirming = confirming

    async def build(self, stack: AsyncExitStack) -> None:
        options = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
        diskless = ("--repl-diskless-sync-delay", "0")
        self.primary = Server(self._folder / "primary", *options, *diskless)
        stack.callback(self.primary.kill)
        self.proxy = await stack.enter_async_context(Proxy(self.primary.port, blocks=_is_infrastructure))
        await _in_thread(lambda: self.primary.ask("PING"))
        following = ("--replicaof", "127.0.0.1", str(self.proxy.port))
        self.replicas = []
        for number in range(REPLICAS):
            self.replicas.append(Server(self._folder / f"replica-{number}", *options, *diskless, *following))
            stack.callback(self.replicas[-1].kill)
        await asyncio.to_thread(in_step, self.primary, REPLICAS)
        self.sentinels = Sentinels(self._folder, self.proxy.port, down_ms=DOWN_MS)
        stack.callback(self.sentinels.stop)
        await asyncio.to_thread(self.sentinels.ready, REPLICAS)
        self.watching = [await stack.enter_async_context(Proxy(each.port)) for each in self.sentinels.servers]
        site = self._folder / "site"
        for name, text in (
            ("apis.d/failover.yaml", API),
            ("workflows.d/call.yaml", WORKFLOW),
            (
                "iogate.yaml",
                f"redis_url: {self.url}\nport: {(port := free_port())}\ndurability: {self._mode}\n"
                f"replicas: {self._confirming}\nlink_key: {LINK_KEY}\n",
            ),
        ):
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        self.base = f"http://127.0.0.1:{port}"
        self.site = Site(site, port)
        stack.callback(self.site.sweep)
        stack.push_async_callback(self.site.stop)
        self.site.ensure_parent()

    @property
    def url(self) -> str:
        """Of the sentinels as iogate reaches them."""
        return self.sentinels.url([each.port for each in self.watching])

    async def strike(self, kind: Kind, *, drain: bool) -> None:
        """Fail over, and return once iogate could know of it."""
        match kind:
            case "crash":
                self.primary.kill()
                await _in_thread(self._promoted)
            case "partition":
                for proxy in (self.proxy, *self.watching):
                    proxy.cut()
                await _in_thread(self._promoted)
                await asyncio.sleep(LONGER_S)
                for proxy in (self.proxy, *self.watching):
                    proxy.heal()
            case "planned":
                if drain:
                    await self._command("store", "drain", "--for", "1m")
                # Again, while the sentinel has not yet seen a replica that is good enough.
                await _in_thread(lambda: self.sentinels.servers[0].ask("SENTINEL", "FAILOVER", NAME))
                await _in_thread(self._promoted)
                if drain:
                    await self._command("store", "resume")

    def _promoted(self) -> bool:
        """Whether a replica is the primary, and all sentinels say so."""
        named = [each.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME) for each in self.sentinels.servers]
        promoted = [each for each in self.replicas if each.role() == "master"]
        if len(promoted) != 1 or any(int(port) != promoted[0].port for _, port in named):
            return False
        self.primary_url = promoted[0].url
        return True

    async def _command(self, *arguments: str) -> None:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "iogate", "-C", str(self.site.folder), *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await running.communicate()
        assert running.returncode == 0, said.decode()


async def _in_thread(condition: Callable[[], Any]) -> None:
    await asyncio.to_thread(poll, condition, PROMOTED_S)


async def one_round(outcome: Outcome, kind: Kind, *, drain: bool, rps: float, seconds: float) -> None:
    """Build everything, fail over once in the middle of the load, and look for each acknowledged call."""
    folder = Path(tempfile.mkdtemp(prefix="iogate-failover-"))
    try:
        async with AsyncExitStack() as stack:
            scene = Scene(folder, outcome.mode, outcome.replicas)
            await scene.build(stack)
            http = await stack.enter_async_context(load.session())
            await load.until_serving(http, scene.base, SERVING_S)
            calls = Load(http, f"{scene.base}/v1/api/failover/call/async", rps)
            calls.times = []
            calls.start()
            stack.push_async_callback(calls.stop)
            await asyncio.sleep(seconds)
            await scene.strike(kind, drain=drain)
            await load.until_serving(http, scene.base, SERVING_S)
            await asyncio.sleep(seconds)
            await calls.stop()
            await _count(outcome, scene, calls)
    finally:
        log = folder / "site" / "up.log"
        if (sys.exc_info()[0] or outcome.lost) and log.exists():
            print(log.read_text()[-TAIL:], file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)


async def _count(outcome: Outcome, scene: Scene, calls: Load) -> None:
    store = await open_store(scene.sentinels.url(), client_name="failover", keyring=RING)
    try:
        states = await _states(store, calls.accepted)
    finally:
        await store.close()
    outcome.rounds += 1
    outcome.acknowledged += len(calls.accepted)
    outcome.lost += sum(state is None for state in states.values())
    ended = sum(state in {None, *load.TERMINAL} for state in states.values())
    outcome.unfinished += len(calls.accepted) - ended
    outcome.refused.update(calls.refused)
    pairs = zip(calls.times, calls.times[1:], strict=False)
    outcome.gaps_s.append(max((later - earlier for earlier, later in pairs), default=0.0))


async def _states(store: Store, uids: list[str]) -> dict[str, str | None]:
    """The status of each run, None for one that is gone; waits until all have ended."""
    states: dict[str, str | None] = {}
    until = time.monotonic() + ENDED_S
    left = uids
    while left and time.monotonic() < until:
        for uid in left:
            # On a stalled machine the sentinels may fail over once more.
            with contextlib.suppress(StoreUnavailable):
                run = await store.runs.show(uid)
                states[uid] = None if run is None else run.status
        left = [uid for uid in left if states.get(uid, "") not in {None, *load.TERMINAL}]
        await asyncio.sleep(0.1)
    return states


async def campaign(
    mode: Mode,
    kind: Kind,
    rounds: int,
    *,
    replicas: int = 1,
    drain: bool = True,
    rps: float = 150.0,
    seconds: float = 2.0,
) -> Outcome:
    """Several rounds, each with servers of its own."""
    named = kind if kind != "planned" else "planned, drained" if drain else "planned, without a drain"
    outcome = Outcome(mode=mode, kind=named, replicas=replicas)
    for number in range(rounds):
        await one_round(outcome, kind, drain=drain, rps=rps, seconds=seconds)
        print(f"round {number + 1}: {outcome.row()}", file=sys.stderr)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.failover", description=__doc__)
    parser.add_argument("--mode", choices=("local", "replicated"), default="replicated")
    parser.add_argument("--kind", choices=("crash", "partition", "planned"), default="crash")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--replicas", type=int, default=1, help="how many of the two replicas must confirm")
    parser.add_argument("--rps", type=float, default=150.0)
    parser.add_argument("--no-drain", action="store_true", help="a planned failover without a drain")
    given = parser.parse_args()
    outcome = asyncio.run(
        campaign(
            given.mode,
            given.kind,
            given.rounds,
            replicas=given.replicas,
            drain=not given.no_drain,
            rps=given.rps,
        )
    )
    print(outcome.row())
    if outcome.unfinished:
        print(f"{outcome.unfinished} acknowledged runs have not ended", file=sys.stderr)
    return 1 if given.mode == "replicated" and (outcome.lost or outcome.unfinished) else 0


if __name__ == "__main__":
    sys.exit(main())
