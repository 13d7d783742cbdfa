"""`python -m tests.faults.keyed_calls`: coalesced calls, and a busy concurrency key beside other ones.

All calls go by HTTP through several gateway processes, and real workers execute the runs. First, calls of
one coalescing key arrive at the same time; all become one run. Then a concurrency key gets thousands of
calls, one of which runs at a time, and other keys get one each. Ends with 1 unless there is exactly one
coalesced run with the latest input, and the run of each other key starts within a second, while those of the
busy key keep their order. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from msgspec.structs import replace

from iogate.compiler.revision import (
    Api,
    Bundle,
    Coalesce,
    Concurrency,
    Limits,
    Revision,
    Workflow,
    canonical,
    digest_of,
)
from iogate.settings import Settings
from iogate.store import keys
from iogate.store.embedded.server import temporary_server
from iogate.store.runs.traffic import key_hash
from iogate.store.store import Store, open_store
from tests.faults import raw_http
from tests.gateway.driver import announced, api, listening, spawn, until
from tests.keys import LINK_KEY, RING
from tests.worker.site import Site, workflow

AT_ONCE: Final = 100
OTHERS: Final = 5
"""Other concurrency keys."""
BUSY_MS: Final = 500
"""Length of a run of the busy key."""
PROGRAM: Final = workflow(
    "keyed",
    {"pause": {"if": '${ .customer == "busy" }', "wait": {"milliseconds": BUSY_MS}}},
    {"done": {"set": {"number": "${ .number }"}}},
)
MERGED, SERIAL = "merged/one", "serial/one"


@dataclass(kw_only=True)
class Found:
    """Results of both parts."""

    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    merged_uids: set[str] = field(default_factory=set)
    merged_runs: int = 0
    last_is_kept: bool = False
    """Whether the run has the input of a call that was made after all others."""
    queued: int = 0
    """Runs of the busy key that wait when the other keys are called."""
    least: int = 0
    """Least number of them that there must be."""
    others_s: list[float] = field(default_factory=list)
    """Seconds from the call of each other key to the start of its run, by the clock of the store."""
    ends_s: list[float] = field(default_factory=list)
    """Seconds from the call of each other key to the response that its run has ended."""
    order_is_kept: bool = False

    def holds(self, limit_s: float = 1.0) -> bool:
        """Tell whether the promises hold; `limit_s`: most time until the run of another key starts."""
        return (
            len(self.merged_uids) == self.merged_runs == 1
            and self.last_is_kept
            and set(self.statuses) == {202}
            and self.queued >= self.least
            and len(self.others_s) == OTHERS
            and max(self.others_s) < limit_s
            and self.order_is_kept
        )

    def table(self) -> str:
        return raw_http.table(
            [
                ("statuses of all calls", dict(self.statuses)),
                ("coalesced calls", self.calls),
                ("runs of these calls", self.merged_runs),
                ("latest input kept", self.last_is_kept),
                ("runs of the busy key that wait", self.queued),
                ("start of the runs of other keys, ms", [round(each * 1e3) for each in self.others_s]),
                ("end of the runs of other keys, ms", [round(each * 1e3) for each in self.ends_s]),
                ("order of the busy key kept", self.order_is_kept),
            ]
        )


class Callers:
    """Callers over several connections, each of which belongs to the gateway that accepted it."""

    def __init__(self, base: str, found: Found) -> None:
        self._clients = [httpx.AsyncClient(base_url=base, timeout=60.0) for _ in range(8)]
        self._found = found

    async def close(self) -> None:
        await asyncio.gather(*(client.aclose() for client in self._clients))

    async def call(self, name: str, number: int, **members: str) -> str:
        """Call an API, and return the uid of the run; empty for a refused call."""
        client = self._clients[number % len(self._clients)]
        reply = await client.post(f"/v1/api/{name}/async", json={"number": number, **members})
        self._found.statuses[reply.status_code] += 1
        uid: str = reply.json()["response"].get("uid", "")
        return uid

    async def calls(self, name: str, count: int, **members: str) -> set[str]:
        """Make so many calls, AT_ONCE at the same time."""
        uids: set[str] = set()
        for first in range(0, count, AT_ONCE):
            numbers: Iterable[int] = range(first, min(count, first + AT_ONCE))
            uids |= set(await asyncio.gather(*(self.call(name, number, **members) for number in numbers)))
        return uids

    async def end(self, uid: str) -> dict[str, Any]:
        """Return a run after its end."""
        while True:
            found: dict[str, Any] = (await self._clients[0].get(f"/v1/runs/{uid}?wait=30")).json()["response"]
            if found["status"] in keys.ENDED:
                return found


async def _coalesced(store: Store, callers: Callers, found: Found, *, hasten: bool) -> None:
    found.merged_uids = await callers.calls(MERGED, found.calls, sku="A-1")
    found.merged_uids.add(await callers.call(MERGED, -1, sku="A-1"))
    found.merged_runs = sum((await store.runs.counts()).values())
    if hasten:
        for uid in found.merged_uids:
            await store.call("ZADD", keys.TIMERS, "XX", 0, uid)
    run = await callers.end(next(iter(found.merged_uids)))
    found.last_is_kept = run["output"] == {"number": -1}
    found.merged_runs = max(found.merged_runs, sum((await store.runs.counts()).values()))


async def _serialised(store: Store, callers: Callers, found: Found) -> None:
    lane = f"{keys.LANE}{SERIAL}:{key_hash('busy')}"
    waiting = 0
    for _ in range(5):  # some end meanwhile
        await callers.calls(SERIAL, max(0, found.least - waiting) + 10, customer="busy")
        waiting = await store.call("LLEN", lane)
        if waiting >= found.least:
            break
    before = await store.call("LRANGE", lane, 0, -1)
    found.queued = len(before)
    for number in range(OTHERS):
        began_s = time.monotonic()
        uid = await callers.call(SERIAL, number, customer=f"other-{number}")
        await callers.end(uid)
        found.ends_s.append(time.monotonic() - began_s)
        view = await store.runs.show(uid)
        assert view is not None
        assert view.started_at_ms is not None
        found.others_s.append((view.started_at_ms - view.created_at_ms) / 1000)

    async def moved() -> bool:
        return bool(await store.call("LLEN", lane) < len(before))

    await until(moved)
    after = await store.call("LRANGE", lane, 0, -1)
    found.order_is_kept = before[-len(after) :] == after


def _bundle(window_s: float) -> Bundle:
    program = digest_of(PROGRAM)
    name = "test/keyed:1.0.0"
    serial = Limits(queued=1_000_000, concurrency=Concurrency(key="/customer"))
    apis: list[Api] = [
        api(MERGED, coalesce=Coalesce(key="/sku", window_s=window_s, max_s=3_600.0)),
        api(SERIAL, limits=serial),
    ]
    revision = Revision(
        apis={each.id: replace(each, workflow=name, program=program) for each in apis},
        workflows={name: Workflow(program=program)},
    )
    return Bundle(revision=revision, programs={program: canonical(PROGRAM)})


async def campaign(
    url: str,
    folder: Path,
    *,
    calls: int,
    queued: int,
    gateways: int = 4,
    workers: int = 2,
    window_s: float = 10.0,
    hasten: bool = False,
) -> Found:
    """Return the results of both parts; `window_s` must be longer than any pause between coalesced calls.

    With `hasten`, the window ends after the last of these calls.
    """
    store = await open_store(url, client_name="keyed_calls", keyring=RING)
    await store.call("FLUSHALL")
    settings = Settings(redis_url=url, data_dir=folder / ".iogate", log_format="json", link_key=LINK_KEY)
    site = Site(store=store, intake=store.intake(), settings=settings, folder=folder)
    found = Found(calls=calls, least=queued)
    await store.revisions.publish(_bundle(window_s))
    with listening() as on:
        processes = [spawn(url, on, folder) for _ in range(gateways)]
        callers = Callers(processes[0].url, found)
        try:
            for _ in range(workers):
                await site.worker()
            await until(lambda: announced(store, *processes), 60.0)
            await _coalesced(store, callers, found, hasten=hasten)
            await _serialised(store, callers, found)
        finally:
            await callers.close()
            for process in processes:
                process.stop()
            await site.close()
            await store.close()
    return found


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.keyed_calls", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000, help="coalesced calls")
    parser.add_argument("--queued", type=int, default=10_000, help="runs of the busy key")
    given = parser.parse_args(arguments)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(server.url, Path(folder), calls=given.calls, queued=given.queued)
    print(found.table())
    return 0 if found.holds() else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
