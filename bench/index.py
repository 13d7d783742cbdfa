"""`python -m bench index`: pages of lists of many runs, and what their index costs.

300,000 runs of real accepts, takes and commits on one Redis: most of them completed, one in fifty faulted,
one in fifty pending, and 20 of one rare API. Four questions, answered with times from request to summaries:

    rare        the list of the rare API; at most 50 ms
    pages       pages of 100 runs behind random runs, by various filters, at 100,000 runs and at all of them;
                the 95th percentile at most 100 ms
    script      the 99th percentile of the single scripts of these, which block the server
    memory      bytes of an entry of the index by API

Ends with 1 if a time is over its limit.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.site import arguments_of, redis_server
from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Limits, Revision, digest_of
from iogate.store import keys
from iogate.store.runs.commits import Commit, TaskRow
from iogate.store.runs.intake import Accepted, AcceptRequest, Intake
from iogate.store.runs.run_index import RunFilter, encode_cursor
from iogate.store.store import Store, open_store
from tests.keys import RING

GROUP = 256
RARE_RUNS = 20
RARE_MS = 50.0
PAGE_MS = 100.0
PROGRAM = digest_of({})
INPUT = b'{"sku":"A-1","quantity":3,"address":{"street":"1 Main Street","city":"Springfield"}}'
ERROR = b'{"type":"https://example.com/errors/sold-out","status":409,"title":"Sold out"}'
JOURNAL = [
    b'{"at":1764335511912,"kind":"task.completed","reference":"/do/%d/step","name":"step"}' % n
    for n in range(4)
]
TASKS = [
    TaskRow(reference=f"/do/{n}/step", name="step", status="completed", started_at_ms=1) for n in range(4)
]


def _api(name: str) -> Api:
    return Api(
        id=name,
        workflow=f"{name}:1",
        program=PROGRAM,
        auth=NoAuth(),
        enabled=True,
        limits=Limits(queued=10_000_000),
    )


COMMON, RARE = _api("shop/order"), _api("shop/rare")


async def fill(store: Store, intake: Intake, api: Api, count: int) -> None:
    """Accept runs of an API, and end all but one in fifty of them."""
    for first in range(0, count, GROUP):
        requests = [
            AcceptRequest(
                uid=intake.uid(),
                api=api.id,
                digest=api.digest,
                revision=1 + (first + n) // 100_000,
                workflow=api.workflow,
                program=PROGRAM,
                input=INPUT,
                caller=f"caller-{(first + n) % 1_000}",
            )
            for n in range(min(GROUP, count - first))
        ]
        for outcome in await asyncio.gather(*(intake.accept(request) for request in requests)):
            assert isinstance(outcome, Accepted), outcome
        left = sum(int(request.uid) % 50 != 0 for request in requests)
        while left > 0 and (claims := (await store.leases.take("bench", min(left, 64))).claims):
            left -= len(claims)
            await store.leases.commit([_end(claim.uid, claim.token, claim.seq) for claim in claims])


def _end(uid: str, token: int, seq: int) -> Commit:
    faulted = int(uid) % 50 == 1
    return Commit(
        uid=uid,
        token=token,
        seq=seq + 1,
        move="end",
        status="faulted" if faulted else "completed",
        output=b"" if faulted else INPUT,
        error=ERROR if faulted else b"",
        journal=JOURNAL,
        tasks=TASKS,
        head=b"{}",
    )


class Stopwatch:
    """Times of requests, and of the scripts that they consist of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        connection = store.runs._connection  # noqa: SLF001 - its scripts are measured
        self._run = connection.run
        connection.run = self._timed  # type: ignore[method-assign]
        self.scripts_ms: list[float] = []

    async def _timed(self, name: str, *arguments: Any, **more: Any) -> Any:
        began = time.perf_counter()
        answer = await self._run(name, *arguments, **more)
        self.scripts_ms.append(1000 * (time.perf_counter() - began))
        return answer

    async def times_ms(
        self, wanted: RunFilter, cursors: Callable[[], str | None], rounds: int
    ) -> list[float]:
        """Return the times of pages of 100 runs behind `cursors`, in order of their length."""
        found = []
        for _ in range(rounds):
            cursor, began = cursors(), time.perf_counter()
            await self._store.runs.page(wanted, limit=100, cursor=cursor)
            found.append(1000 * (time.perf_counter() - began))
        return sorted(found)


async def _positions(store: Store) -> list[str]:
    """Return cursors of runs all over the index."""
    key = keys.INDEX + COMMON.id
    count = await store.call("ZCARD", key)
    found = []
    for _ in range(200):
        at = random.randrange(count)
        uid, score = await store.call("ZRANGE", key, at, at, "WITHSCORES")
        found.append(encode_cursor((int(float(score)), uid.decode())))
    return found


async def pages(store: Store, watch: Stopwatch, rounds: int) -> dict[str, float]:
    """Return the 95th percentile of pages by each filter, in ms."""
    positions = await _positions(store)
    now_ms = await store.now_ms()
    filters = {
        "all": RunFilter(),
        "api": RunFilter(api=COMMON.id),
        "status": RunFilter(statuses=["faulted"]),
        "apiAndStatus": RunFilter(api=COMMON.id, statuses=["faulted", "cancelled"]),
        "ended": RunFilter(statuses=["completed", "faulted", "cancelled"]),
        "caller": RunFilter(api=COMMON.id, caller="caller-7"),
        "workflow": RunFilter(workflow=COMMON.workflow),
        "nothing": RunFilter(workflow="shop/none"),
        "lastHour": RunFilter(since_ms=now_ms - 3_600_000),
        "project": RunFilter(project="default"),
    }
    found = {}
    for name, wanted in filters.items():
        times = await watch.times_ms(wanted, lambda: random.choice([None, *positions]), rounds)
        found[name] = round(times[min(len(times) - 1, int(0.95 * len(times)))], 1)
    return found


async def measure(store: Store, *, runs: int, first: int, rounds: int) -> dict[str, Any]:
    """Return all figures; pages are measured with `first` runs, and with all."""
    await store.revisions.publish(
        Bundle(
            revision=Revision(apis={each.id: each for each in (COMMON, RARE)}, workflows={}),
            programs={PROGRAM: b"{}"},
        )
    )
    await store.leases.audit()  # a new store has complete indexes
    intake, watch, found = store.intake(), Stopwatch(store), dict[str, Any]()
    await fill(store, intake, RARE, RARE_RUNS // 2)
    await fill(store, intake, COMMON, first)
    found[f"p95At{first}"] = await pages(store, watch, rounds)
    await fill(store, intake, RARE, RARE_RUNS - RARE_RUNS // 2)
    await fill(store, intake, COMMON, runs - first)
    found[f"p95At{runs}"] = await pages(store, watch, rounds)
    rare = await watch.times_ms(RunFilter(api=RARE.id), lambda: None, rounds)
    listed = await store.runs.page(RunFilter(api=RARE.id), limit=100)
    assert len(listed.runs) == RARE_RUNS
    size = await store.call("MEMORY", "USAGE", keys.INDEX + COMMON.id, "SAMPLES", 0)
    found["rareMs"] = {"median": round(statistics.median(rare), 1), "longest": round(rare[-1], 1)}
    found["p99ScriptMs"] = round(sorted(watch.scripts_ms)[int(0.99 * len(watch.scripts_ms))], 1)
    found["bytesPerEntry"] = round(size / await store.call("ZCARD", keys.INDEX + COMMON.id), 1)
    return found


def over_limits(found: dict[str, Any]) -> list[str]:
    """Return the names of the figures that are over their limits."""
    late = [
        f"{name}.{each}"
        for name, times in found.items()
        if name.startswith("p95")
        for each, ms in times.items()
        if ms > PAGE_MS
    ]
    return late + (["rareMs"] if found["rareMs"]["median"] > RARE_MS else [])


async def _main(url: str, runs: int, rounds: int) -> dict[str, Any]:
    store = await open_store(url, keyring=RING)
    try:
        return await measure(store, runs=runs, first=runs // 3, rounds=rounds)
    finally:
        await store.close()


def main(arguments: list[str]) -> None:
    parser = arguments_of("index", __doc__)
    parser.add_argument("--runs", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as redis:
        socket = redis.connection_pool.connection_kwargs["path"]
        found = asyncio.run(_main(f"unix://{socket}", given.runs, given.rounds))
    late = over_limits(found)
    print(json.dumps({"schema": "iogate.bench.index/v1", **found, "overLimits": late}, indent=2))
    sys.exit(bool(late))
