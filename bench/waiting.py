"""`python -m bench waiting`: what runs cost that wait, and how late their timers fire.

Two questions about many runs (100,000 unless told), with one real worker on one Redis:

    memory      bytes of Redis that a run in `wait: PT1H` with an empty input costs, all its keys
    lateness    the runs are due spread evenly over some seconds: how long after its moment each has ended
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from redis import Redis

from bench.site import Site, arguments_of, redis_server, wait_for
from iogate.store import keys
from iogate.store.runs import views
from iogate.store.runs.intake import Accepted, AcceptRequest
from iogate.store.store import Store, open_store
from tests.keys import RING

GROUP = 250


async def accept(store: Store, api: str, inputs: list[bytes]) -> list[str]:
    """Calls of an API, as its gateway would store them."""
    live = await store.revisions.live()
    assert live is not None
    called = (await store.revisions.load(live[0])).apis[api]
    intake = store.intake()
    uids = []
    for first in range(0, len(inputs), GROUP):
        requests = [
            AcceptRequest(
                uid=intake.uid(),
                api=api,
                digest=called.digest,
                revision=live[0],
                workflow=called.workflow,
                program=called.program,
                input=data,
                caller="token",
                retention_s=called.retention_s,
                timeout_s=called.timeout_s,
            )
            for data in inputs[first : first + GROUP]
        ]
        for outcome in await asyncio.gather(*(intake.accept(request) for request in requests)):
            assert isinstance(outcome, Accepted), outcome
            uids.append(outcome.uid)
    return uids


async def accepted(url: str, api: str, inputs: list[bytes]) -> list[str]:
    store = await open_store(url, keyring=RING)
    try:
        return await accept(store, api, inputs)
    finally:
        await store.close()


def used(store: Redis) -> int:
    store.memory_purge()
    return int(store.info("memory")["used_memory"])


class Waiting:
    def __init__(self, site: Site, runs: int) -> None:
        self.site = site
        self.store = site.store
        self.runs = runs

    def clear(self) -> None:
        self.store.flushall()
        self.site.apply()

    def parked(self) -> bool:
        """Every run has been a worker's and none is now."""
        count = self.store.zcard
        return not count(keys.INDEX + "pending") and not count(keys.INDEX + "running")

    def settled(self) -> bool:
        """The worker has announced itself, to iogate and to RQ."""
        return bool(self.store.zcard(f"{keys.PROCESSES}worker") and self.store.scard(keys.RQ_WORKERS))

    def memory(self) -> float:
        """Bytes a waiting run."""
        self.clear()
        with self.site.worker():
            wait_for(self.settled, "worker has written the keys of every worker")
        before = used(self.store)
        uids = asyncio.run(accepted(self.site.environment["BENCH_REDIS"], "bench/nap", [b"{}"] * self.runs))
        with self.site.worker():
            wait_for(self.parked, "all runs wait", 600)
        each = (used(self.store) - before) / self.runs
        sample = uids[len(uids) // 2]
        for key in sorted(self.store.keys(f"*{sample}*")):
            name = os.fsdecode(key).replace(sample, "UID")
            print(f"             {name:<22} {self.store.memory_usage(key):>5} bytes")
        return each

    def lateness(self, spread_s: float) -> dict[str, Any]:
        """Milliseconds from the moment at which a run is due to its end."""
        self.clear()
        park_s = 20 + self.runs / 800
        first = time.time() + park_s
        dues = [int((first + spread_s * n / self.runs) * 1000) for n in range(self.runs)]
        inputs = [json.dumps({"at": due}).encode() for due in dues]
        uids = asyncio.run(accepted(self.site.environment["BENCH_REDIS"], "bench/alarm", inputs))
        with self.site.worker():
            wait_for(self.parked, "all runs wait", 600)
            spare_s = first - time.time()
            wait_for(lambda: int(self.store.zcard(keys.INDEX + "completed")) == self.runs, "all ended", 600)
        late = sorted(self.ended(uid) - due for uid, due in zip(uids, dues, strict=True))
        return {
            "spareS": round(spare_s, 1),
            "perSecond": round(self.runs / spread_s, 1),
            "earliestMs": late[0],
            "medianMs": statistics.median(late),
            "p99Ms": late[int(len(late) * 0.99)],
            "latestMs": late[-1],
        }

    def ended(self, uid: str) -> int:
        blob: Any = self.store.get(keys.END + uid)
        return views.ended_record.decode(blob).ended


def main(arguments: list[str]) -> None:
    parser = arguments_of("waiting", __doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--spread", type=float, default=100.0, help="seconds over which the runs are due")
    parser.add_argument("--only", choices=["memory", "lateness"])
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        waiting = Waiting(Site(Path(name), store), given.runs)
        if given.only in (None, "memory"):
            print(f"memory       {waiting.memory():.0f} bytes of Redis a waiting run", flush=True)
        if given.only in (None, "lateness"):
            print(f"lateness     {json.dumps(waiting.lateness(given.spread))}", flush=True)
