"""Processes that end, by a signal or a kill, drop no request and do not affect other processes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from iogate.store.store import Store
from tests.gateway.driver import Gateway, announced, api, listening, publish, settle, spawn, until
from tests.gateway.settling import RUN

APIS = (api("a/b"),)


async def test_sigterm_drops_no_request_in_flight(redis_url: str, store: Store, tmp_path: Path) -> None:
    """Two processes on one socket; one is told to end under load and then replaced."""
    await publish(store, *APIS)
    with listening() as on:
        folders = [tmp_path / name for name in ("first", "second")]
        for folder in folders:
            folder.mkdir()
        first, second = (spawn(redis_url, on, folder, run=RUN) for folder in folders)
        loads: list[list[int]] = [[] for _ in range(8)]
        stop = asyncio.Event()

        async def load(statuses: list[int], headers: dict[str, str]) -> None:
            async with httpx.AsyncClient(base_url=first.url, timeout=60) as client:
                while not stop.is_set():
                    reply = await client.post("/v1/api/a/b/async", headers=headers)
                    statuses.append(reply.status_code)

        try:
            await until(lambda: announced(store, first, second))
            # Kept connections, and a new one each time: the hardest case for a listener that goes away.
            ways: list[dict[str, str]] = [{}, {"connection": "close"}]
            loading = [asyncio.create_task(load(each, ways[n % 2])) for n, each in enumerate(loads)]

            async def more() -> None:
                least = [len(each) + 6 for each in loads]

                async def served() -> bool:
                    return all(len(each) >= count for each, count in zip(loads, least, strict=True))

                await until(served)

            async def end(gateway: Gateway, folder: Path) -> None:
                gateway.process.terminate()
                await settle(folder, 1, more)
                assert await asyncio.to_thread(gateway.process.wait, 60) == 0

            await more()
            await end(first, folders[0])
            await more()
            first = spawn(redis_url, on, tmp_path)
            await until(lambda: announced(store, first))
            await end(second, folders[1])
            await more()
            stop.set()
            await asyncio.gather(*loading)
            statuses = [status for each in loads for status in each]
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
            async with httpx.AsyncClient(base_url=gateway.url, timeout=120) as client:

                async def ready() -> bool:
                    try:
                        return (await client.get("/health/ready")).status_code == 200
                    except httpx.TransportError:
                        return False

                await until(ready)
                waiting = asyncio.create_task(client.post("/v1/api/a/b/sync", headers={"prefer": "wait=300"}))

                async def begun() -> bool:
                    return bool(await store.runs.list())

                await until(begun)
                started = time.monotonic()
                gateway.process.terminate()
                reply = await waiting
                assert (reply.status_code, len(reply.json()["response"]["uid"])) == (202, 18)
                assert await asyncio.to_thread(gateway.process.wait, 60) == 0
                assert time.monotonic() - started < 60
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
            gateways[0].process.wait(60)
            async with httpx.AsyncClient(base_url=gateways[1].url, timeout=60) as client:
                for _ in range(20):
                    reply = await client.post("/v1/api/a/b/async", headers={"connection": "close"})
                    assert reply.status_code == 202
        finally:
            for gateway in gateways:
                gateway.stop()
