"""`python -m tests.faults.overload`: three times the load that the workers can do; the queue fills up.

A real gateway; the worker of this process ends the runs of a busy API, of which it holds at most as many as
`running` allows, at a fixed rate, and those of an idle API at once. Callers of the busy API send new calls at
three times that rate, and a refused call returns once, when its `Retry-After` says. Ends with 1 unless every
accepted run ends, at least 90 % of the returning calls are accepted, and the idle API is as quick as before.
A minute of overload takes two to six minutes, until the last call has returned and the last run has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from iogate.compiler.revision import Limits
from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store, open_store
from tests.faults import raw_http
from tests.gateway.driver import Gateway, announced, api, listening, publish, spawn, until
from tests.keys import RING
from tests.store.builders import commit

BUSY: Final = "busy/one"
IDLE: Final = "idle/one"
RUNNING: Final = 16
CONNECTIONS: Final = 64
"""Connections of all callers together; a call waits for a free one."""
ALIVE_S: Final = 0.02
"""Pause between two takes."""


@dataclass(kw_only=True)
class Found:
    """Results of the campaign."""

    accepted: int = 0
    refused: int = 0
    returned: Counter[str] = field(default_factory=Counter)
    """Calls that returned as they were told, by phase and result."""
    waits_s: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    unended: int = 0
    alone_s: list[float] = field(default_factory=list)
    beside_s: list[float] = field(default_factory=list)
    """Time from a call of the idle API to the end of its run, without and with the load."""
    longest_pause_s: float = 0.0
    """Longest pause of the workers, or of a response of the gateway."""

    @property
    def accepted_share(self) -> float:
        """Share of the returning calls that were accepted."""
        total = self.returned.total()
        good = sum(count for name, count in self.returned.items() if name.endswith("accepted"))
        return good / total if total else 0.0

    @property
    def holds(self) -> bool:
        return (
            self.unended == 0
            and self.refused > 0
            and self.accepted_share >= 0.9
            and set(self.statuses) <= {"202", "429"}
            and statistics.median(self.beside_s) < 3 * statistics.median(self.alone_s) + 0.1
        )

    def table(self) -> str:
        waits = f"{min(self.waits_s, default=0)} to {max(self.waits_s, default=0)}"
        return raw_http.table(
            [
                ("accepted calls", self.accepted),
                ("  of these, not ended", self.unended),
                ("refused calls", self.refused),
                ("  Retry-After, s", waits),
                ("  accepted when they returned as told", f"{self.accepted_share:.1%}"),
                ("  returned, by phase of the overload", dict(self.returned)),
                ("statuses of all calls", dict(self.statuses)),
                ("idle API, call to end: before, ms", _latency(self.alone_s)),
                ("idle API, call to end: during, ms", _latency(self.beside_s)),
            ]
        )


def _latency(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    longest = f"longest {ordered[-1] * 1e3:.1f}, of {len(ordered)} calls" if ordered else "no call"
    return f"median {statistics.median(ordered or [0.0]) * 1e3:.1f}, {longest}"


class Workers:
    """Workers that take runs of the busy API at a rate, and of the idle one at once."""

    def __init__(self, store: Store, per_s: float) -> None:
        self._store, self._per_s = store, per_s
        self.ended: dict[str, float] = {}
        self.longest_pause_s = 0.0
        """Longest time between two takes; runs are not ended at the rate if it is far above ALIVE_S."""

    async def run(self) -> None:
        """Take and end runs until cancelled."""
        credit, before = 0.0, time.monotonic()
        held: list[Any] = []
        while True:
            now = time.monotonic()
            self.longest_pause_s = max(self.longest_pause_s, now - before)
            credit, before = min(self._per_s, credit + (now - before) * self._per_s), now
            taken = (await self._store.leases.take("w1", 2 * RUNNING - len(held))).claims
            held += [claim for claim in taken if claim.api == BUSY]
            count = min(int(credit), len(held))
            ends = [*(claim for claim in taken if claim.api != BUSY), *held[:count]]
            held, credit = held[count:], credit - count
            if ends:
                await self._store.leases.commit([commit(claim) for claim in ends])
                self.ended.update((claim.uid, time.monotonic()) for claim in ends)
            if held:
                await self._store.leases.renew("w1", {claim.uid: claim.token for claim in held})
            await asyncio.sleep(ALIVE_S)


class Callers:
    """Callers of both APIs."""

    def __init__(self, gateway: Gateway, workers: Workers, found: Found) -> None:
        self._client = raw_http.Connections(gateway.port, CONNECTIONS)
        self._workers, self._found = workers, found
        self.uids: set[str] = set()
        self.overload = True
        self.longest_pause_s = 0.0
        """Longest time between a call and its response; calls are not made in time if it is long."""

    async def close(self) -> None:
        await self._client.close()

    async def busy(self, number: int) -> None:
        """Call, and return once as the response says."""
        reply = await self._post(number)
        if reply.status != 429:
            return
        self._found.refused += 1
        wait_s = int(reply.headers["retry-after"])
        self._found.waits_s.append(wait_s)
        # A caller is seldom exactly on time.
        await asyncio.sleep(wait_s + random.uniform(0.0, 1.0))
        phase = "during" if self.overload else "after"
        reply = await self._post(number)
        self._found.returned[f"{phase}: {'accepted' if reply.status == 202 else 'refused'}"] += 1

    async def _post(self, number: int) -> raw_http.Response:
        key = [("idempotency-key", f"key-{number}")] if number % 2 else []
        began = time.monotonic()
        reply = await self._client.ask(_call(BUSY, {"number": number}, key))
        self.longest_pause_s = max(self.longest_pause_s, time.monotonic() - began)
        self._found.statuses[str(reply.status)] += 1
        if reply.status == 202:
            self._found.accepted += 1
            self.uids.add(_uid(reply))
        return reply

    async def idle(self, into: list[float], seconds: float) -> None:
        """Call the idle API now and then, and note how long each run takes."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.monotonic()
            uid = _uid(await self._client.ask(_call(IDLE, {})))
            while uid not in self._workers.ended:
                await asyncio.sleep(0.005)
            into.append(time.monotonic() - began)
            await asyncio.sleep(0.2)


def _call(name: str, value: Any, more: Iterable[tuple[str, str]] = ()) -> bytes:
    headers = [("host", "localhost"), ("content-type", "application/json"), *more]
    return raw_http.request("POST", f"/v1/api/{name}/async", headers, json.dumps(value).encode())


def _uid(reply: raw_http.Response) -> str:
    uid: str = json.loads(reply.body)["response"]["uid"]
    return uid


async def campaign(
    url: str, folder: Path, *, seconds: float, per_s: float, queued: int, patience_s: float = 400.0
) -> Found:
    """Overload the API for some seconds, and wait for the end of all calls and runs."""
    store = await open_store(url, client_name="overload", keyring=RING)
    await store.call("FLUSHALL")
    await publish(store, api(BUSY, limits=Limits(queued=queued, running=RUNNING)), api(IDLE))
    found, workers = Found(), Workers(store, per_s)
    working = asyncio.create_task(workers.run())
    with listening() as on:
        gateway = spawn(url, on, folder)
        try:
            await until(lambda: announced(store, gateway), 60.0)
            callers = Callers(gateway, workers, found)
            await callers.idle(found.alone_s, min(2.0, seconds))
            calls: list[asyncio.Task[None]] = []
            beside = asyncio.create_task(callers.idle(found.beside_s, seconds))
            began = time.monotonic()
            while (passed_s := time.monotonic() - began) < seconds:
                while len(calls) < passed_s * 3 * per_s:
                    calls.append(asyncio.create_task(callers.busy(len(calls))))
                await asyncio.sleep(0.01)
            callers.overload = False
            async with asyncio.timeout(patience_s):
                await asyncio.gather(beside, *calls)
                while callers.uids - workers.ended.keys():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            found.unended = len(callers.uids - workers.ended.keys()) or -1
            for each in calls:
                each.cancel()
            await asyncio.gather(beside, *calls, return_exceptions=True)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            found.longest_pause_s = max(workers.longest_pause_s, callers.longest_pause_s)
            await callers.close()
            gateway.stop()
            await store.close()
    return found


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=50.0, help="runs per second that the workers can do")
    parser.add_argument("--queued", type=int, default=200, help="limits.queued of the API")
    given = parser.parse_args(arguments)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(
            server.url, Path(folder), seconds=given.seconds, per_s=given.rate, queued=given.queued
        )
    print(found.table())
    return 0 if found.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
