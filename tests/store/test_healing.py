"""Connections recover after a failover, and behind a middlebox that drops them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest
import redis

from iogate.errors import Refused, WrongStore
from iogate.store import keys
from iogate.store.connection import connection, primary_endpoint, pubsub
from iogate.store.connection.failures import NotPrimary, StoreUnavailable
from iogate.store.maintenance import drains
from iogate.store.runs.intake import Accepted, Intake
from iogate.store.store import Store, open_store
from tests import patience
from tests.gateway import driver
from tests.keys import RING
from tests.replicas import NAME, Proxy, in_step, pair, server, watched_pair
from tests.store.builders import accepted, publish, request


async def until(condition: Callable[[], Awaitable[Any]], limit_s: float = 60.0) -> Any:
    """Poll until the result is true, also if the store is unreachable meanwhile."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if found := await condition():
                return found
        except StoreUnavailable:
            pass
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.02)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sentinels of a busy machine answer late."""
    monkeypatch.setattr(primary_endpoint, "ASK_S", patience.PATIENT_S)


async def _is(world: driver.World, status: int) -> bool:
    return (await world.ask("/health/ready")).status == status


async def test_a_connection_leaves_a_demoted_primary() -> None:
    """With an address that moves with the primary."""
    with pair() as (primary, replica):
        async with Proxy(primary.port) as proxy:
            store = await open_store(proxy.url, keyring=RING)
            intake = store.intake()
            await publish(store)
            await accepted(intake)
            in_step(primary)
            await store.ready()
            await asyncio.to_thread(replica.ask, "REPLICAOF", "NO", "ONE")
            await asyncio.to_thread(primary.ask, "REPLICAOF", "127.0.0.1", replica.port)
            with pytest.raises(StoreUnavailable):
                await store.ready()
            with pytest.raises(NotPrimary, match="is a replica, which accepts no writes"):
                await open_store(proxy.url, keyring=RING)
            with pytest.raises(StoreUnavailable):
                await accepted(intake)
            proxy.target = replica.port
            assert isinstance(await until(lambda: intake.accept(request(intake))), Accepted)
            await store.ready()
            assert (await store.leases.take("w", 10)).claims
            await store.close()


async def test_the_gateway_is_not_ready_on_a_replica() -> None:
    with pair() as (primary, replica):
        store = await open_store(primary.url, keyring=RING)
        await publish(store)
        async with driver.opened(store) as world:
            await world.publish(driver.api("m/a"))
            assert (await world.ask("/health/ready")).status == 200
            await asyncio.to_thread(replica.ask, "REPLICAOF", "NO", "ONE")
            await asyncio.to_thread(primary.ask, "REPLICAOF", "127.0.0.1", replica.port)
            assert (await world.ask("/health/ready")).status == 503
            await asyncio.to_thread(primary.ask, "REPLICAOF", "NO", "ONE")
            await until(lambda: _is(world, 200))
        await store.close()


async def test_connections_dropped_by_a_middlebox_recover_before_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next calls succeed, and publish/subscribe recovers."""
    monkeypatch.setattr(connection, "PROBE_S", 0.3)
    monkeypatch.setattr(pubsub, "PING_S", 0.3)
    monkeypatch.setattr(pubsub, "LOOK_S", 0.1)
    with server() as own:
        async with Proxy(own.port) as proxy:
            store = await open_store(proxy.url, keyring=RING)
            intake = store.intake()
            await publish(store)
            await accepted(intake)
            received: list[str] = []
            async with store.leases.cancellations(received.append):
                before, began = proxy.accepted, time.monotonic()
                assert before >= 3  # the store, its intake, its signals
                proxy.forget()
                # All three are found dead; the two of commands connect again when they are needed.
                await until(lambda: _silent(store, intake, proxy, before))
                await accepted(intake)
                await store.check_server()

                async def rings() -> bool:
                    await asyncio.to_thread(own.ask, "PUBLISH", keys.CANCEL_CHANNEL, "1")
                    return bool(received)

                await until(rings)
            # Each connects again once; on a busy machine a probe may wait, which costs another connection.
            elapsed_s = time.monotonic() - began
            assert before + 3 <= proxy.accepted <= before + 6 + elapsed_s / 0.5
            await store.close()


async def _silent(store: Store, intake: Intake, proxy: Proxy, before: int) -> bool:
    sockets = [store._connection._socket, intake._connection._socket]
    return proxy.accepted > before and all(each is not None and not each.open for each in sockets)


async def test_tcp_connections_are_kept_alive() -> None:
    with server() as own:
        store = await open_store(own.url, keyring=RING)
        opened = store._connection._socket
        assert opened is not None
        assert opened.transport is not None
        used = opened.transport.get_extra_info("socket")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        await store.close()


async def test_a_cluster_and_a_sentinel_are_refused_when_connecting() -> None:
    with server("--cluster-enabled", "yes") as own:
        with pytest.raises(WrongStore, match=f"the store at 127.0.0.1:{own.port} is a cluster") as caught:
            await open_store(own.url, keyring=RING)
        assert (caught.value.code, caught.value.exit_code) == ("IOG651", 6)
        assert caught.value.hint == "set redis_url to a server with `cluster-enabled no`"


@pytest.mark.usefixtures("patient")
async def test_a_store_behind_sentinels_follows_a_failover() -> None:
    with watched_pair(down_ms=60_000, password="of-the-store", own="of-the-sentinels") as (
        primary,
        replica,
        sentinels,
    ):
        with pytest.raises(WrongStore, match="is a sentinel and holds no data"):
            await open_store(sentinels.servers[0].url.replace("//", "//:of-the-sentinels@"), keyring=RING)
        with pytest.raises(
            StoreUnavailable, match="no sentinel names a primary: orders of the sentinels"
        ) as lost:
            await open_store(sentinels.url().replace("of-the-sentinels", "wrong"), keyring=RING)
        assert "wrong" not in lost.value.message
        registration = primary_endpoint.blocking_client(sentinels.url(), socket_timeout=60)
        store = await open_store(sentinels.url(), keyring=RING)
        intake = store.intake()
        assert store.address.startswith(f"127.0.0.1:{primary.port} (orders of the sentinels 127.0.0.1:")
        await publish(store)
        first = await accepted(intake)
        await asyncio.to_thread(in_step, primary)
        received: list[str] = []
        async with store.leases.cancellations(received.append):
            assert await asyncio.to_thread(registration.exists, keys.RUN + first)
            # Only now may the sentinels take a server that is late for one that is down.
            for sentinel in sentinels.servers:
                await asyncio.to_thread(
                    sentinel.ask, "SENTINEL", "SET", NAME, "down-after-milliseconds", 1_000
                )
            primary.kill()
            second = await until(lambda: intake.accept(request(intake)))
            assert store.address.startswith(f"127.0.0.1:{replica.port} ")

            async def rings() -> bool:
                await asyncio.to_thread(replica.ask, "PUBLISH", keys.CANCEL_CHANNEL, "1")
                return bool(received)

            await until(rings)

        # RQ's own client follows, too; on a busy machine sentinels may take servers for down meanwhile.
        async def registration_follows() -> bool:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                return bool(await asyncio.to_thread(registration.exists, keys.RUN + first))
            return False

        await until(registration_follows)
        registration.close()
        assert await store.runs.show(first) is not None
        assert await store.runs.show(second.uid) is not None
        await store.close()


@pytest.mark.usefixtures("patient")
async def test_a_connection_leaves_an_old_primary_that_still_responds() -> None:
    """The sentinels have replaced it and cannot reach it: it accepts writes that will be lost."""
    with pair() as (primary, replica):
        async with _Sentinel(primary.port, epoch=1) as first, _Sentinel(primary.port, epoch=1) as second:
            store = await open_store(
                f"redis+sentinel://127.0.0.1:{first.port},127.0.0.1:{second.port}/orders", keyring=RING
            )
            assert store.address.startswith(f"127.0.0.1:{primary.port} ")
            await asyncio.to_thread(replica.ask, "REPLICAOF", "NO", "ONE")
            # One sentinel does not know of the failover; the answer with the later epoch wins.
            second.primary, second.epoch = replica.port, 2

            async def moved() -> bool:
                return store.address.startswith(f"127.0.0.1:{replica.port} ")

            await until(moved)
            await store.close()


@pytest.mark.usefixtures("patient")
async def test_a_drained_store_is_resumed_only_after_the_failover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old primary reports its role until its demotion; to resume it would lose calls."""
    monkeypatch.setattr(drains, "WAIT_MS", 12_000)
    monkeypatch.setattr(drains, "SETTLE_S", 0.5)
    with pair() as (primary, replica):
        async with _Sentinel(primary.port, epoch=1) as first, _Sentinel(primary.port, epoch=1) as second:
            url = f"redis+sentinel://127.0.0.1:{first.port},127.0.0.1:{second.port}/orders"
            store = await open_store(url, keyring=RING)
            await store.drains.drain("ada", 60)
            first.flags = "master,failover_in_progress"
            with pytest.raises(Refused, match="the sentinels do not agree yet on the primary"):
                await store.drains.resume()
            await asyncio.to_thread(replica.ask, "REPLICAOF", "NO", "ONE")
            first.flags, first.primary, first.epoch = "master", replica.port, 2
            with pytest.raises(Refused, match="the sentinels do not agree yet on the primary"):
                await store.drains.resume()
            second.primary, second.epoch = replica.port, 2
            monkeypatch.setattr(drains, "SETTLE_S", 60.0)
            assert await store.drains.resume() is not None
            assert await asyncio.to_thread(replica.ask, "EXISTS", keys.DRAINED) == 0
            assert await asyncio.to_thread(primary.ask, "EXISTS", keys.DRAINED) == 1
            await store.close()


class _Sentinel:
    """Fake sentinel before or after a failover."""

    def __init__(self, primary: int, *, epoch: int) -> None:
        self.primary, self.epoch, self.flags = primary, epoch, "master"
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while await reader.read(4096):
            fields = [
                "ip",
                "127.0.0.1",
                "port",
                self.primary,
                "config-epoch",
                self.epoch,
                "flags",
                self.flags,
            ]
            texts = [str(each) for each in fields]
            body = "".join(f"${len(each)}\r\n{each}\r\n" for each in texts)
            writer.write(f"*{len(texts)}\r\n{body}".encode())
