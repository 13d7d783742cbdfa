"""Processes that end, by a signal or a kill, drop no request and do not affect other processes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from iogate.store.store import Store
from tests.gateway.driver import announced, api, listening, publish, spawn, until

APIS = (api("a/b"),)


async def test_sigterm_drops_no_request_in_flight(redis_url: str, store: Store, tmp_path: Path) -> None:
    """Two processes on one socket; one is told to end under load and then replaced."""
    await publish(store, *APIS)
    with listening() as on:
        first, second = (spawn(redis_url, on, tmp_path) for _ in range(2))
        statuses: list[int] = []
        stop = asyncio.Event()

        async def load(headers: dict[str, str]) -> None:
            async with httpx.AsyncClient(base_url=first.url, timeout=20) as client:
                while not stop.is_set():
                    reply = await client.post("/v1/api/a/b/async", headers=headers)
                    statuses.append(reply.status_code)

        try:
            await until(lambda: announced(store, first, second))
            # Kept connections, and a new one each time: the hardest case for a listener that goes away.
            ways: list[dict[str, str]] = [{}, {"connection": "close"}]
            loading = [asyncio.create_task(load(ways[n % 2])) for n in range(8)]

            async def more() -> None:
                least = len(statuses) + 50

                async def served() -> bool:
                    return len(statuses) > least

                await until(served)

            await more()
            first.process.terminate()
            assert await asyncio.to_thread(first.process.wait, 30) == 0
            await more()
            first = spawn(redis_url, on, tmp_path)
            await until(lambda: announced(store, first))
            second.process.terminate()
            assert await asyncio.to_thread(second.process.wait, 30) == 0
            await more()
            stop.set()
            await asyncio.gather(*loading)
            assert set(statuses) == {202}
            assert sum((await store.runs.counts()).values()) == len(statuses)
        finally:
            stop.set()
            first.stop()
            second.stop()


async def test_sigterm_ends_waits_for_runs_and_the_process_soon(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    await publish(store, *APIS)
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path)
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:

                async def ready() -> bool:
                    try:
                        return (await client.get("/health/ready")).status_code == 200
                    except httpx.TransportError:
                        return False

                await until(ready)
                waiting = asyncio.create_task(client.post("/v1/api/a/b/sync"))

                async def begun() -> bool:
                    return bool(await store.runs.list())

                await until(begun)
                started = time.monotonic()
                gateway.process.terminate()
                reply = await waiting
                assert (reply.status_code, len(reply.json()["response"]["uid"])) == (202, 18)
                assert await asyncio.to_thread(gateway.process.wait, 15) == 0
                assert time.monotonic() - started < 15
                assert gateway.process.pid not in [p.pid for p in await store.presence.list("gateway")]
        finally:
            gateway.stop()


async def test_one_killed_process_leaves_the_others_serving(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    await publish(store, *APIS)
    with listening() as on:
        gateways = [spawn(redis_url, on, tmp_path) for _ in range(2)]
        try:
            await until(lambda: announced(store, *gateways))
            gateways[0].process.kill()
            gateways[0].process.wait(10)
            async with httpx.AsyncClient(base_url=gateways[1].url, timeout=20) as client:
                for _ in range(20):
                    reply = await client.post("/v1/api/a/b/async", headers={"connection": "close"})
                    assert reply.status_code == 202
        finally:
            for gateway in gateways:
                gateway.stop()
