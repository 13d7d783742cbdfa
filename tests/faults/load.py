"""Calls at a steady rate, and what was answered; runs asked for until they end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

TERMINAL = {"completed", "faulted", "cancelled"}
BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


def session(timeout_s: float = 5.0, *, fresh: bool = True) -> aiohttp.ClientSession:
    """`fresh`: a connection for each call, as most callers of a webhook make one."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_s), connector=aiohttp.TCPConnector(force_close=fresh)
    )


@dataclass
class Load:
    """Posts to `url` from `start` until `stop`; only an answer of 202 counts as accepted."""

    http: aiohttp.ClientSession
    url: str
    rps: float
    accepted: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """By status, or by what went wrong."""
    slowest_s: float = 0.0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not self._stop.is_set():
            task = asyncio.create_task(self.call())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due += 1 / self.rps
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*under_way)

    async def call(self) -> None:
        """One call, now."""
        began = time.monotonic()
        try:
            async with self.http.post(self.url, json={}) as answer:
                if answer.status == 202:  # the one success
                    self.accepted.append((await answer.json())["response"]["uid"])
                else:
                    self.refused[str(answer.status)] += 1
        except BROKEN as error:
            self.refused[type(error).__name__] += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)


async def until_serving(http: aiohttp.ClientSession, base: str, limit_s: float) -> float:
    """How long it took."""
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        try:
            async with http.get(f"{base}/health/ready") as answer:
                if answer.status == 200:  # ready
                    return time.monotonic() - started
        except BROKEN:
            pass
        await asyncio.sleep(0.05)
    raise TimeoutError(f"not serving after {limit_s} s")


async def run_of(http: aiohttp.ClientSession, base: str, uid: str) -> dict[str, Any] | None:
    """The run; None where nobody answers."""
    try:
        async with http.get(f"{base}/v1/runs/{uid}") as answer:
            if answer.status == 200:  # found
                found: dict[str, Any] = (await answer.json())["response"]
                return found
            return {"status": f"http {answer.status}"} if answer.status == 404 else None
    except BROKEN:
        return None


async def ends(
    http: aiohttp.ClientSession, base: str, uids: list[str], limit_s: float = 60.0
) -> dict[str, dict[str, Any]]:
    """The runs that ended within the time."""
    started = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    left = list(uids)
    while left and time.monotonic() - started < limit_s:
        still = []
        for uid in left:
            run = await run_of(http, base, uid)
            if run is None or run["status"] not in TERMINAL:
                still.append(uid)
            else:
                found[uid] = run
        left = still
        await asyncio.sleep(0.05)
    return found
