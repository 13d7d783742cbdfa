"""Faults one at a time, each with its own promise: frozen processes, a rolling restart, a full disk, poison.

`python -m tests.faults.scenarios freeze|workers|rolling|disk|poison` prints what it saw as JSON and ends
with 1 where a promise was broken. `disk` needs root: it mounts a small file system.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.faults import load, project
from tests.faults.counting import CountingServer
from tests.faults.recovery import LOOK_S, Recovery, announced, leftovers
from tests.faults.site import TAIL, Kind, Site, identity_of
from tests.ports import free_port

SERVING_S = 60.0
RECOVERY_S = 30.0


@dataclass(kw_only=True)
class Stage:
    """A site that serves, under load."""

    site: Site
    base: str
    http: aiohttp.ClientSession
    load: load.Load
    counting: CountingServer

    async def serving(self) -> float:
        return await load.until_serving(self.http, self.base, SERVING_S)

    async def end(self) -> dict[str, Any]:
        """Stop the load and judge what was accepted: every promise that holds in every scenario."""
        await self.load.stop()
        uids = self.load.accepted
        runs = await load.ends(self.http, self.base, uids)
        left, _ = await leftovers(self.site.folder)
        return {
            "accepted": len(uids),
            "refused": dict(self.load.refused),
            "slowestAnswerS": round(self.load.slowest_s, 2),
            "wrong": {
                "unfinished": [uid for uid in uids if uid not in runs][:5],
                "notCompleted": [r for r in runs.values() if (r["status"], r["attempt"]) != ("completed", 1)][
                    :5
                ],
                "committedRepeats": self.counting.repeated_after_commit()[:5],
                "changedKeys": self.counting.changed_keys()[:5],
                "upEndedByItself": [(each.code, each.log) for each in self.site.ended],
                "left": left,
            },
        }


@asynccontextmanager
async def staged(
    folder: Path, *, rps: float, gateways: int = 1, server: str | None = None, delay_s: float = 0.02
) -> AsyncIterator[Stage]:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with CountingServer(delay_s=delay_s) as counting, load.session() as http:
        project.write(folder, server=counting.url, port=port, wait_ms=200, gateways=gateways)
        site = Site(folder, port, server=server)
        keeping = asyncio.create_task(site.keep())
        good = load.Load(http, f"{base}/v1/api/faults/two-calls/async", rps)
        stage = Stage(site=site, base=base, http=http, load=good, counting=counting)
        try:
            await stage.serving()
            good.start()
            yield stage
        finally:
            await good.stop()
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await site.stop()
            site.sweep()


async def freeze(folder: Path, *, server: str | None, frozen_s: float = 20.0) -> dict[str, Any]:
    """SIGSTOP of a worker, a gateway and the store for longer than a lease, then SIGCONT."""
    seen: dict[str, Any] = {}
    async with staged(folder, rps=20, gateways=2, server=server) as stage:
        kinds: tuple[Kind, ...] = ("worker", "gateway", "store")
        for kind in kinds:
            stage.load.slowest_s = 0.0
            refused = stage.load.refused.total()
            pid = stage.site.kill(kind, 0, signal.SIGSTOP)
            assert pid is not None
            await asyncio.sleep(frozen_s)
            killed = pid not in stage.site.pids(kind)
            if not killed:
                os.kill(pid, signal.SIGCONT)
            back_s = await stage.serving()
            await asyncio.sleep(5)
            seen[kind] = {
                "killedMeanwhile": killed,
                "refused": stage.load.refused.total() - refused,
                "slowestAnswerS": round(stage.load.slowest_s, 2),
                "servingAfterS": round(back_s, 2),
            }
        return {**seen, **await stage.end()}


async def workers(folder: Path, *, server: str | None, rounds: int = 4) -> dict[str, Any]:
    """SIGKILL of the worker alone, with about 40 calls of a second each under way: all go on within 30 s."""
    async with staged(folder, rps=20, server=server, delay_s=1.0) as stage:
        recovery = Recovery(folder)
        watching = asyncio.create_task(recovery.watch())
        longest: list[float] = []
        for _ in range(rounds):
            await asyncio.sleep(6)
            pids = stage.site.pids("worker")
            await recovery.note([identity_of(pid) for pid in pids])
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            before = len(recovery.took_s)
            killed_at = time.monotonic()
            while recovery.waiting and time.monotonic() - killed_at < SERVING_S:
                await asyncio.sleep(LOOK_S)
            longest.append(round(max(recovery.took_s[before:], default=0.0), 1))
        seen = await stage.end()
        watching.cancel()
        seen |= {"runsOfKilledWorkers": len(recovery.took_s), "longestOfEachS": longest}
        if max(longest) > RECOVERY_S:
            seen["wrong"]["recoveryS"] = longest
        return seen


async def rolling(folder: Path, *, server: str | None, rounds: int = 5) -> dict[str, Any]:
    """SIGTERM to each worker and gateway in turn, under load: no call is refused or dropped."""
    async with staged(folder, rps=100, gateways=2, server=server) as stage:
        signals = 0
        kinds: tuple[Kind, ...] = ("gateway", "worker")
        for _ in range(rounds):
            for kind in kinds:
                for pid in stage.site.pids(kind):
                    os.kill(pid, signal.SIGTERM)
                    signals += 1
                    await _replaced(stage.site, kind, pid)
        seen = await stage.end()
        seen["signals"] = signals
        seen["wrong"]["refused"] = dict(stage.load.refused)
        return seen


async def _replaced(site: Site, kind: Kind, pid: int, limit_s: float = 60.0) -> None:
    """Until the process is gone, and its successor is there and says so."""
    until = time.monotonic() + limit_s
    count = len(site.pids(kind))
    while True:
        now = site.pids(kind)
        if pid not in now and len(now) >= count and await announced(site.folder, kind) >= set(now):
            return
        assert time.monotonic() < until, f"{kind} {pid} was not replaced"
        await asyncio.sleep(0.1)


async def disk(folder: Path, *, server: str | None, full_s: float = 15.0) -> dict[str, Any]:
    """The store's file system is full for a while: no call is accepted meanwhile, then all goes on alone."""
    with _small_disk(folder / ".iogate") as data_dir:
        async with staged(folder, rps=40, server=server) as stage:
            await asyncio.sleep(3)
            filler = data_dir / "filler"
            before = len(stage.load.accepted)
            _fill(filler)
            await asyncio.sleep(2)
            stage.load.slowest_s, full = 0.0, len(stage.load.accepted)
            for _ in range(int(full_s)):
                _fill(filler)  # the store's log may have been cut, which makes room
                await asyncio.sleep(1)
            accepted_while_full = len(stage.load.accepted) - full
            slowest_s = stage.load.slowest_s
            filler.unlink()
            back_s = await stage.serving()
            began = time.monotonic()
            count = len(stage.load.accepted)
            while len(stage.load.accepted) == count and time.monotonic() - began < SERVING_S:
                await asyncio.sleep(0.05)
            seen = await stage.end()
            seen |= {
                "acceptedBefore": before,
                "acceptedWhileFull": accepted_while_full,
                "slowestAnswerWhileFullS": round(slowest_s, 2),
                "acceptingAfterS": round(back_s + time.monotonic() - began, 2),
            }
            return seen


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _fill(filler: Path) -> None:
    with filler.open("ab", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            while True:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    break


async def poison(folder: Path, *, server: str | None, count: int = 3) -> dict[str, Any]:
    """Runs that kill each worker that takes them, among good ones."""
    async with staged(folder, rps=10, server=server) as stage:
        bad = load.Load(stage.http, f"{stage.base}/v1/api/faults/poison/async", 0)
        for _ in range(count):
            await bad.call()
            await asyncio.sleep(3)
        began = time.monotonic()
        runs = await load.ends(stage.http, stage.base, bad.accepted, 120)
        seen = await stage.end()
        seen["poison"] = {uid: run.get("error") for uid, run in runs.items()}
        seen["poisonEndedAfterS"] = round(time.monotonic() - began, 1)
        if len(bad.accepted) != count or any(run["status"] != "faulted" for run in runs.values()):
            seen["wrong"]["poison"] = {uid: run["status"] for uid, run in runs.items()}
        return seen


SCENARIOS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "freeze": freeze,
    "workers": workers,
    "rolling": rolling,
    "disk": disk,
    "poison": poison,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    parser.add_argument("--server", help="binary of the store, instead of the bundled one")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="iogate-faults-"))
    scenario = SCENARIOS[arguments.scenario]

    async def run() -> dict[str, Any]:
        return await scenario(folder / "site", server=arguments.server)

    seen = asyncio.run(run())
    sys.stdout.write(json.dumps(seen, indent=1) + "\n")
    if any(seen["wrong"].values()):
        sys.stderr.write((folder / "site" / "up.log").read_text()[-TAIL:])
        sys.stderr.write(f"\nthe whole log: {folder}/site/up.log\n")
        raise SystemExit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
