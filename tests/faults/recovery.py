"""Looks into the store of a site: when the runs of killed workers went on, and what is left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from iogate.store import keys
from iogate.store.embedded.server import find_embedded

T = TypeVar("T")

LOOK_S = 0.2
SETTLE_S = 20.0

LIVING = (
    *(keys.RUN, keys.TASKS, keys.JOURNAL, keys.PARKED, keys.BACKLOG, keys.WOKEN),
    *(keys.INBOX, keys.WANTED, keys.WANTS, keys.CHILDREN, keys.FAMILIES),
)
"""Prefixes of which nothing may be left once every run has ended."""
EMPTY = (
    keys.TIMERS,
    keys.LEASES,
    keys.SUSPECTS,
    keys.RELEASES,
    keys.EVENTS,
    keys.RQ_QUEUE,
    keys.RQ_STARTED,
    keys.RQ_DEFERRED,
    keys.RQ_SCHEDULED,
    keys.RQ_READY,
    *(keys.INDEX + status for status in keys.STATUSES if status not in keys.ENDED),
)
LASTING = (
    *(
        keys.FORMAT,
        keys.KEYS,
        keys.IDENTITY,
        keys.END,
        keys.BIG,
        keys.INDEX,
        keys.UPKEEP,
        keys.IDLE,
        keys.OPERATION,
        keys.CLOCK_AHEAD,
        keys.TAKEN,
        keys.IDEMPOTENCY,
        keys.GATE,
        keys.GATES,
    ),
    *(keys.DELETED, keys.EXPIRIES, keys.FULL, keys.LIVE, keys.REVISION, keys.REVISIONS, keys.PROGRAM),
    *(keys.CONTENT, keys.BLOBS, keys.PROCESS, keys.PROCESSES),
    *(keys.FRAMES, keys.VALUES, keys.RECORDED, keys.SEEN, keys.MATCHER, keys.OUTBOX, keys.SINK, keys.SINKS),
    *(keys.SCHEDULES, keys.TICKS, keys.CHAINS),
    *(keys.HOURS, keys.SERIES, keys.ERRORS, keys.ERROR_TIMES, keys.ACTIVITY, keys.REPLY),
    *(keys.BATCH, keys.BATCHES),
    *(keys.RQ_QUEUES, keys.RQ_JOB, keys.RQ_RESULTS, keys.RQ_WORKER, keys.RQ_WORKERS, keys.RQ_FINISHED),
    *(keys.RQ_FAILED, keys.RQ_CANCELED),
)
EXPIRING = (
    *(keys.END, keys.BIG, keys.TAKEN, keys.PROCESS, keys.RQ_JOB, keys.RQ_RESULTS, keys.SEEN),
    *(keys.FRAMES, keys.VALUES, keys.RECORDED),
    *(keys.HOURS, keys.ERRORS, keys.ERROR_TIMES, keys.REPLY, keys.BATCH),
)
"""Prefixes whose keys all have an end: frames and values of what faulted have that of its record."""


Question = Callable[[Any], T]


def _ask(folder: Path, question: Question[T], *, timeout_s: float = 1.0) -> T | None:
    """Ask the store of a site, in a thread; None without a store.

    The asyncio client of redis-py does not close the connections to a server that is killed meanwhile.
    """
    url = find_embedded(folder / ".iogate")
    if url is None:
        return None
    with contextlib.closing(Redis.from_url(url, decode_responses=True, socket_timeout=timeout_s)) as client:
        return question(client)


@dataclass
class Recovery:
    """For each run under lease of a worker that was killed: how long until it took its next step.

    A further kill of anything starts the clocks again: what is promised is the time after the last one.
    """

    folder: Path
    took_s: list[float] = field(default_factory=list)
    _open: dict[str, tuple[float, int]] = field(default_factory=dict)

    async def note(self, workers: Sequence[str]) -> None:
        """These workers, or something else, are about to be killed; a store that is away is not measured."""
        self._open = {uid: (time.monotonic(), seq) for uid, (_, seq) in self._open.items()}
        if not workers:
            return

        def leased(client: Any) -> dict[str, int]:
            found = {}
            for uid in client.zrange(keys.LEASES, 0, -1):
                worker, seq = client.hmget(keys.RUN + uid, "wkr", "seq")
                if worker in workers:
                    found[uid] = int(seq or 0)
            return found

        with contextlib.suppress(RedisError, OSError, TimeoutError):
            for uid, seq in (await asyncio.to_thread(_ask, self.folder, leased) or {}).items():
                self._open.setdefault(uid, (time.monotonic(), seq))

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._open:
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await self._look()

    async def _look(self) -> None:
        def numbers(client: Any) -> dict[str, str | None]:
            return {uid: client.hget(keys.RUN + uid, "seq") for uid in watched}

        watched = dict(self._open)
        for uid, now in (await asyncio.to_thread(_ask, self.folder, numbers) or {}).items():
            killed_at, seq = watched[uid]
            # No record: it has ended. A loading server answers nothing at all.
            if (now is None or int(now) > seq) and self._open.get(uid) == watched[uid]:
                del self._open[uid]
                self.took_s.append(time.monotonic() - killed_at)

    @property
    def waiting(self) -> int:
        """Runs that have not gone on."""
        return len(self._open)

    @property
    def longest_s(self) -> float:
        """Of those that went on, and of those that have not."""
        now = time.monotonic()
        return max([*self.took_s, *(now - killed_at for killed_at, _ in self._open.values())], default=0.0)


async def announced(folder: Path, kind: str) -> set[int]:
    """The pids of the gateways or workers that have said that they are there."""

    def processes(client: Any) -> list[str | None]:
        names = client.zrange(keys.PROCESSES + kind, 0, -1)
        return [client.get(f"{keys.PROCESS}{kind}:{name}") for name in names]

    found = await asyncio.to_thread(_ask, folder, processes) or []
    return {int(json.loads(each)["pid"]) for each in found if each is not None}


async def leftovers(folder: Path) -> tuple[list[str], dict[str, int]]:
    """What is still there though every run has ended, after a while to settle; and the keys of each kind."""
    until = time.monotonic() + SETTLE_S
    while True:
        # Nothing is killed any more, but a busy machine may stall the store.
        answer = await asyncio.to_thread(_ask, folder, _leftovers, timeout_s=60.0)
        found, counts = answer if answer is not None else (["no store"], {})
        if not found or time.monotonic() > until:
            return found, counts
        await asyncio.sleep(0.5)


def _leftovers(client: Any) -> tuple[list[str], dict[str, int]]:
    found: list[str] = []
    counts: Counter[str] = Counter()
    for key in EMPTY:
        kind = client.type(key)
        if kind != "none":
            size = client.llen(key) if kind == "list" else client.zcard(key)
            if size:
                found.append(f"{key}: {size}")
    for key in client.scan_iter(count=1_000):
        known = [prefix for prefix in (*LIVING, *EMPTY, *LASTING) if key.startswith(prefix)]
        kind = max(known, key=len, default="")
        counts[kind or key] += 1
        if kind in LIVING or key.startswith((keys.RQ_EXECUTION, keys.RQ_EXECUTIONS)) or not kind:
            found.append(key)
        elif kind in EXPIRING and client.ttl(key) == -1:
            found.append(f"{key} has no end")
    for api in client.smembers(keys.GATES):
        loads: dict[str, Any] = client.hgetall(keys.GATE + api)
        wrong = {name: loads[name] for name in ("inq", "run", "bl") if int(loads.get(name, 0))}
        if wrong:
            found.append(f"{keys.GATE}{api}: {wrong}")
    return [*found[:20], *_miscounts(client)], dict(counts)


def _miscounts(client: Any) -> list[str]:
    """Return what the statistics count otherwise than the records of the runs, which have all ended."""
    counted: Counter[str] = Counter()
    for key in client.scan_iter(f"{keys.HOURS}*", count=1_000):
        for name, number in client.hgetall(key).items():
            counted[{"w": "accepted", "n": "accepted"}.get(name[0], name[0])] += int(number)
    ends = {"c": "completed", "f": "faulted", "x": "cancelled"}
    runs = {status: client.zcard(keys.INDEX + status) for status in keys.STATUSES}
    expected = {letter: runs[status] for letter, status in ends.items()} | {"accepted": sum(runs.values())}
    grouped = sum(
        int(number)
        for key in client.scan_iter(f"{keys.ERRORS}*", count=1_000)
        for name, number in client.hgetall(key).items()
        if name.startswith("n ")
    )
    found = [
        f"{name}: {counted[name]}, not {number}"
        for name, number in expected.items()
        if counted[name] != number
    ]
    return (
        found if grouped == runs["faulted"] else [*found, f"grouped faults: {grouped}, not {runs['faulted']}"]
    )
