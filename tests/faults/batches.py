"""`python -m tests.faults.batches`: a batch of faulted runs, while all that works on it is killed.

A real gateway makes the batch and is killed at once; real workers carry it out, and the one that has it is
killed by SIGKILL again and again. In the middle, Ctrl-C ends a command that follows the batch, which stops
it; `iogate batches continue` goes on. Each retried run faults again, so that a second retry would succeed and
show: a run then has a third attempt. Ends with 1 if a run was retried twice or not at all, if the counts of
the batch differ, or if the stopped batch went on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from iogate.compiler.revision import Limits
from iogate.operators.batches import batches
from iogate.settings import Settings
from iogate.store import keys
from iogate.store.embedded.server import temporary_server
from tests import fork_server
from tests.conftest import opened_store
from tests.gateway.driver import listening, spawn
from tests.gateway.operators.conftest import OPERATORS, token
from tests.keys import LINK_KEY
from tests.store.builders import commit
from tests.worker.site import ROOT, Site, until, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iogate.store.store import Store
    from tests.gateway.driver import Gateway

FAILS: Final = workflow(
    "fails", {"bad": {"raise": {"error": {"type": "https://e/x", "status": 500, "title": "No"}}}}
)
ENDS_S: Final = 60.0
CALLS: Final = 50


@dataclass(kw_only=True)
class Seen:
    """Outcome of a campaign."""

    runs: int
    attempts: Counter[int] = field(default_factory=Counter)
    """Number of runs by their last attempt; each is to have a second one."""
    batch: dict[str, Any] = field(default_factory=dict)
    killed_workers: int = 0
    killed_gateways: int = 0
    stopped_at: int = 0
    """Retried runs when the batch was stopped by Ctrl-C."""
    after_stop: int = 0
    """Runs that were retried between the end of that command and `continue`."""
    activity: int = 0
    """Entries about the creation of batches."""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        batch = self.batch
        return (
            self.attempts == {2: self.runs}
            and (batch["state"], batch["changed"], batch["refused"]) == ("done", self.runs, 0)
            and 0 < self.stopped_at < self.runs
            and not self.after_stop
            and self.activity == 1
            and self.killed_workers > 0
        )

    def to_json(self) -> dict[str, Any]:
        batch = {
            name: self.batch.get(name)
            for name in ("state", "count", "changed", "unchanged", "refused", "left")
        }
        return {
            "runs": self.runs,
            "byAttempt": dict(self.attempts),
            "batch": batch,
            "killedWorkers": self.killed_workers,
            "killedGateways": self.killed_gateways,
            "stoppedAt": self.stopped_at,
            "retriedWhileStopped": self.after_stop,
            "activityEntries": self.activity,
            "seconds": round(self.seconds, 1),
        }


async def campaign(redis_url: str, store: Store, folder: Path, *, runs: int, kills: int) -> Seen:
    """Retry faulted runs by a batch, and kill what works on it."""
    settings = Settings(
        redis_url=redis_url, data_dir=folder / ".iogate", log_format="json", link_key=LINK_KEY
    )
    site = Site(store=store, intake=store.intake(), settings=settings, folder=folder)
    seen = Seen(runs=runs)
    try:
        await site.publish(FAILS, limits=Limits(queued=runs + 1))
        uids = await faulted(site, runs)
        began_s = time.monotonic()
        id_ = await made_by_killed_gateway(redis_url, folder, seen)
        # Workers take no runs before the first kill. Without one in this part, the batch holds once the queue
        # of the API is full, so that a small batch is not done before it is stopped.
        await store.call("SET", keys.RQ_SUSPENDED, 1)
        await site.worker()
        await site.worker()
        await killing(site, id_, seen, kills=kills // 2, upto=runs // 3 if kills // 2 else min(runs // 3, 40))
        await stopped(redis_url, site, id_, seen)
        if kills:
            # Workers take no runs before the first kill, so that a small batch is not done before it.
            await store.call("SET", keys.RQ_SUSPENDED, 1)
        with following(redis_url, folder, "batches", "continue", id_):
            await until(lambda: is_in(store, id_, "running"), ENDS_S, "the continued batch")
            await killing(site, id_, seen, kills=kills, upto=2 * runs // 3)
            await until(lambda: is_in(store, id_, "done"), 10 * ENDS_S + runs / 10, "the end of the batch")
        seen.seconds = time.monotonic() - began_s
        for uid in uids:
            seen.attempts[(await site.ended(uid, ENDS_S)).attempt] += 1
        seen.batch = await batches.show(store, id_)
        entries = [each async for each in store.activity.newest_first()]
        seen.activity = sum(each.begun.action == "batches.create" for each in entries)
    finally:
        await site.close()
    return seen


async def faulted(site: Site, count: int) -> list[str]:
    """Accept runs and let them fault, as a worker does."""
    uids: list[str] = []
    while len(uids) < count:
        uids += await asyncio.gather(*(site.call("fails") for _ in range(min(CALLS, count - len(uids)))))
        claims = (await site.store.leases.take("w", 2 * CALLS)).claims
        error = b'{"type":"https://e/x","status":500,"title":"No"}'
        await site.store.leases.commit([commit(each, status="faulted", error=error) for each in claims])
    while claims := (await site.store.leases.take("w", 2 * CALLS)).claims:
        await site.store.leases.commit([commit(each, status="faulted", error=error) for each in claims])
    return uids


async def made_by_killed_gateway(redis_url: str, folder: Path, seen: Seen) -> str:
    """Make the batch twice with one Idempotency-Key, killing the gateway after the first time."""
    made = []
    with listening() as on:
        for _ in range(2):
            gateway = spawn(redis_url, on, folder, operators=json.dumps(OPERATORS))
            try:
                made.append(await _make(gateway, seen.runs))
            finally:
                gateway.stop()
                seen.killed_gateways += 1
    assert made[0] == made[1], made
    return made[0]


async def _make(gateway: Gateway, expected: int) -> str:
    headers = {"Authorization": f"Bearer {token('admin')}", "Idempotency-Key": "campaign"}
    body = {
        "action": "retry",
        "filter": {"api": "test/fails", "status": ["faulted"]},
        "expected": expected,
        "reason": "the cause is gone",
    }
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60.0) as client:
        deadline = time.monotonic() + ENDS_S
        while True:
            try:
                response = await client.post("/v1/batches", headers=headers, json=body)
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code == 202:
                return str(response.json()["response"]["id"])
            assert time.monotonic() < deadline, response.text if response is not None else "no gateway"
            await asyncio.sleep(0.05)


async def killing(site: Site, id_: str, seen: Seen, *, kills: int, upto: int) -> None:
    """Kill the worker that has the batch, and start another one, until so many runs are retried.

    With `kills`, at least one worker is killed.
    """
    store, before, done = site.store, seen.killed_workers, 0
    while done < upto or (kills and seen.killed_workers == before):
        owner = await store.call("HGET", keys.BATCH + id_, "owner")
        name = b"" if owner is None else owner
        victims = [each for each in site.workers if each.name.encode() == name]
        shown = await batches.show(store, id_)
        done = shown["changed"]
        wanted = seen.killed_workers - before < kills
        due = upto * (seen.killed_workers - before) // max(1, kills)
        if victims and wanted and done >= due:
            victims[0].signal(signal.SIGKILL)
            await victims[0].wait()
            seen.killed_workers += 1
            await store.call("DEL", keys.RQ_SUSPENDED)
            await site.worker()
        assert shown["state"] in ("running", "done"), shown
        await asyncio.sleep(0.001)


async def stopped(redis_url: str, site: Site, id_: str, seen: Seen) -> None:
    """Stop the batch by Ctrl-C of a command that follows it, and look whether it goes on.

    Workers take no runs meanwhile, so that a small batch, of which few may wait, is not done before that.
    """
    await batches.stop(site.store, id_)
    await until(lambda: is_in(site.store, id_, "stopped"), ENDS_S, "the stop of the batch")
    await site.store.call("SET", keys.RQ_SUSPENDED, 1)
    with following(redis_url, site.folder, "batches", "continue", id_) as process:
        await until(lambda: is_in(site.store, id_, "running"), ENDS_S, "the continued batch")
        process.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(process.wait, ENDS_S)
    await site.store.call("DEL", keys.RQ_SUSPENDED)
    said = (site.folder / "command.err").read_text()
    assert code == 130, said
    advice = f"continue with: iogate batches continue {id_}"
    assert re.search(rf"stopp(ed|ing): retried \d+ of .*\n{advice}\n", said), said
    # The command waits a few seconds for the worker that is at a run of the batch.
    await until(lambda: is_in(site.store, id_, "stopped"), ENDS_S, "the end of the last step")
    shown = await batches.show(site.store, id_)
    assert shown["state"] == "stopped", shown
    seen.stopped_at = shown["changed"]
    await asyncio.sleep(1.0)
    seen.after_stop = (await batches.show(site.store, id_))["changed"] - seen.stopped_at


@contextlib.contextmanager
def following(redis_url: str, folder: Path, *arguments: str) -> Iterator[fork_server.Process]:
    """Run a command beside the block; Ctrl-C stops it also if the suite ignores it, as in the background."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
    given = {"IOGATE_REDIS_URL": redis_url, "IOGATE_LINK_KEY": LINK_KEY, "PYTHONPATH": str(ROOT)}
    with (folder / "command.err").open("wb") as err:
        process = fork_server.start(
            *("iogate", *arguments),
            environment=environment | given,
            folder=folder,
            stdout=err,
            stderr=err,
            patient=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def is_in(store: Store, id_: str, state: str) -> bool:
    """Tell whether the batch is in this state, or has left it by ending."""
    return (await batches.show(store, id_))["state"] in (state, "done")


async def _main(runs: int, kills: int) -> Seen:
    with temporary_server() as server, tempfile.TemporaryDirectory(prefix="iogate-batches-") as folder:
        async with opened_store(server.url) as store:
            return await campaign(server.url, store, Path(folder), runs=runs, kills=kills)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.batches", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="faulted runs")
    parser.add_argument("--kills", type=int, default=6, help="workers to kill")
    given = parser.parse_args()
    seen = asyncio.run(_main(given.runs, given.kills))
    print(json.dumps(seen.to_json()))
    return 0 if seen.holds else 1


if __name__ == "__main__":
    sys.exit(main())
