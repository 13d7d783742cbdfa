"""`durability: replicated`: no write is acknowledged without a replica; drain of each script."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from iogate.errors import Unreachable
from iogate.operators import schedules
from iogate.security.one_time_links import OneTimeLink
from iogate.store import keys
from iogate.store.connection import connection
from iogate.store.connection.failures import Drained, Unanswered, Unconfirmed
from iogate.store.maintenance import drains
from iogate.store.runs import intake as intakes
from iogate.store.runs.intake import Accepted
from iogate.store.store import Store, open_store
from tests.gateway import driver
from tests.keys import RING
from tests.replicas import Server, in_step, pair
from tests.store.builders import accepted, api, commit, publish, request, until
from tests.store.revisions.test_due_schedules import EVERY
from tests.store.revisions.test_due_schedules import publish as publish_schedule


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with pair() as (primary, replica):
        in_step(primary)
        yield primary, replica


@pytest.fixture
async def replicated(servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """Return an empty store whose scripts wait for the replica also on a busy machine."""
    monkeypatch.setattr(connection, "CONFIRM_MS", 12_000)
    store = await open_store(servers[0].url, replicas=1, keyring=RING)
    await store.call("FLUSHALL")
    yield store
    await store.close()


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Replica that confirms nothing; calls and scripts wait for it briefly, and long for the primary."""
    server.kill(signal.SIGSTOP)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(intakes, "CONFIRM_MARGIN_S", intakes.DEADLINE_S - 0.2)
            patch.setattr(connection, "CONFIRM_MS", 100)
            yield
    finally:
        server.kill(signal.SIGCONT)


async def test_a_call_is_acknowledged_once_a_replica_has_it(
    replicated: Store, servers: tuple[Server, Server]
) -> None:
    _, replica = servers
    await publish(replicated)
    intake = replicated.intake()
    uids = await asyncio.gather(*(accepted(intake) for _ in range(200)))
    assert replica.ask("EXISTS", *(keys.RUN + uid for uid in uids)) == 200
    await replicated.ready()


async def test_without_its_replica_nothing_is_acknowledged(
    replicated: Store, servers: tuple[Server, Server]
) -> None:
    """Neither a call nor a repeated one, neither a lease nor a commit; all of them later."""
    _, replica = servers
    await publish(replicated)
    intake = replicated.intake()
    await accepted(intake)
    (claim,) = (await replicated.leases.take("w", 1)).claims
    keyed = request(intake, idempotency_key="k", fingerprint="f")
    with stopped(replica):
        for _ in range(2):
            # Stored on the primary; the repetition writes nothing and must be confirmed all the same.
            with pytest.raises(Unconfirmed, match="0 of 1 replicas confirmed the write"):
                await intake.accept(keyed)
        for _ in range(2):
            with pytest.raises(Unconfirmed):
                await replicated.leases.take("w", 10)
            with pytest.raises(Unconfirmed):
                await replicated.leases.commit([commit(claim)])
        with pytest.raises(Unconfirmed):
            await replicated.ready()
    again = await intake.accept(keyed)
    assert again == Accepted(uid=keyed.uid)
    (verdict,) = await replicated.leases.commit([commit(claim)])
    assert verdict.applied
    assert [each.uid for each in (await replicated.leases.take("w", 10)).claims] == [keyed.uid]


async def test_the_use_of_a_link_is_acknowledged_once_a_replica_has_it(
    replicated: Store, servers: tuple[Server, Server]
) -> None:
    await publish(replicated)
    uid = await accepted(replicated.intake())
    ends_s = (await replicated.now_ms()) // 1000 + 60
    first, second = [OneTimeLink(uid=uid, name=name, expires_s=ends_s) for name in ("first", "second")]
    with stopped(servers[1]), pytest.raises(Unconfirmed, match="0 of 1 replicas confirmed the write"):
        await replicated.links.use(first, b"{}")
    assert (await replicated.links.look(first)).used, "the primary has it"
    assert await replicated.links.use(second, b"{}") == "ok"


async def test_a_switch_and_a_run_of_a_schedule_are_acknowledged_once_a_replica_has_them(
    replicated: Store, servers: tuple[Server, Server]
) -> None:
    await publish_schedule(replicated, EVERY)
    names = ["shop/report"]
    switch = partial(
        replicated.schedule_states.switch, names, enabled=False, author="ada", reason="", ttl_s=None
    )
    start = partial(schedules.run, replicated, names, author="ada", operation="op-1")
    with stopped(servers[1]):
        with pytest.raises(Unconfirmed, match="0 of 1 replicas confirmed the write"):
            await switch()
        for _ in range(2):
            with pytest.raises(Unconfirmed, match=r"; started: run \d+ of shop/report$"):
                await start()
    await switch()
    (uid,) = (await start())["runs"].values()
    assert [run.uid for run in await replicated.runs.list()] == [uid], "the repetition started no second run"


async def test_a_full_primary_still_has_its_commits_confirmed(replicated: Store) -> None:
    await publish(replicated)
    await accepted(replicated.intake())
    (claim,) = (await replicated.leases.take("w", 1)).claims
    await replicated.call("CONFIG", "SET", "maxmemory", "1")
    try:
        await replicated.confirm()
    finally:
        await replicated.call("CONFIG", "SET", "maxmemory", "0")
    (verdict,) = await replicated.leases.commit([commit(claim)])
    assert verdict.applied


async def test_a_gateway_reports_that_the_outcome_is_unknown(
    replicated: Store, servers: tuple[Server, Server]
) -> None:
    async with driver.opened(replicated) as world:
        await world.publish(driver.api("m/a"))
        await world.call("m/a")
        with stopped(servers[1]):
            reply = await world.call("m/a")
            assert reply.status == 503
            assert reply.message == (
                "Too few replicas have confirmed the call, so that it may or may not have been accepted; "
                "repeat it with the same idempotency key"
            )


async def test_local_durability_sends_no_extra_command(store: Store) -> None:
    await store.call("CONFIG", "RESETSTAT")
    await publish(store)
    await accepted(store.intake())
    assert b"cmdstat_wait" not in await store.call("INFO", "commandstats")


async def test_a_drained_store_accepts_and_leases_nothing(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    known = request(intake)
    await intake.accept(known)
    await accepted(intake)
    (claim, _) = (await each_store.leases.take("w", 2)).claims
    await accepted(intake)
    await each_store.call("SET", keys.DRAINED, "{}", "PX", 60_000)
    before = await each_store.call("DBSIZE")
    for refused in (
        lambda: intake.accept(request(intake)),
        lambda: each_store.leases.take("w", 1),
        lambda: each_store.leases.commit([commit(claim)]),
        lambda: each_store.runs.cancel(claim.uid),
        lambda: each_store.runs.suspend(claim.uid),
        lambda: each_store.gates.set_enabled(["orders/submit"], False, author="ada"),
        lambda: each_store.gates.clear_overrides(["orders/submit"]),
        lambda: publish(each_store, api(enabled=False)),
        lambda: each_store.events.take("w"),
        lambda: each_store.events.deliver("w", 1, []),
        lambda: each_store.events.publish([b'{"id":"1","source":"s","type":"t"}']),
        lambda: each_store.outbox.take("s", "w"),
        each_store.ready,
    ):
        with pytest.raises(Drained, match="it is drained for a planned failover") as caught:
            await refused()
        assert 0 < caught.value.left_s <= 60
    assert await intake.accept(known) == Accepted(uid=known.uid)
    assert await each_store.call("DBSIZE") == before
    # Leases are kept, so that a failover makes no run a suspect.
    assert not (await each_store.leases.renew("w", {claim.uid: claim.token})).lost
    drain = await each_store.drains.resume()
    assert drain is not None
    await accepted(intake)
    (verdict,) = await each_store.leases.commit([commit(claim)])
    assert verdict.applied


async def test_an_interrupted_drain_is_undone(
    replicated: Store, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, replica = servers
    monkeypatch.setattr(drains, "WAIT_MS", 1_000_000)

    async def drained() -> bool:
        return bool(primary.ask("EXISTS", keys.DRAINED))

    with stopped(replica):
        draining = asyncio.create_task(replicated.drains.drain("ada", 60))
        await until(drained)
        draining.cancel()
    # The connection answers again once the replica continues.
    with pytest.raises(asyncio.CancelledError):
        await draining
    assert not await drained()


async def test_a_failed_drain_leaves_that_of_somebody_else(
    replicated: Store, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, replica = servers
    monkeypatch.setattr(drains, "WAIT_MS", 1_000_000)

    async def waits() -> bool:
        return bool(primary.ask("EXISTS", keys.DRAINED))

    with stopped(replica):
        draining = asyncio.create_task(replicated.drains.drain("ada", 60))
        await until(waits)
        primary.ask("SET", keys.DRAINED, "another one", "PX", 60_000)
        # The server ends the connection that waits.
        (waiting,) = [each for each in primary.client().client_list() if each["cmd"] == "wait"]
        primary.ask("CLIENT", "KILL", "ID", waiting["id"])
        with pytest.raises(Unanswered):
            await draining
    assert primary.ask("GET", keys.DRAINED) == "another one"


async def test_a_drain_that_cannot_be_undone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drains, "WAIT_MS", 1_000_000)
    with pair() as (primary, replica):
        store = await open_store(primary.url, replicas=1, keyring=RING)

        async def drained() -> bool:
            return bool(primary.ask("EXISTS", keys.DRAINED))

        with stopped(replica):
            draining = asyncio.create_task(store.drains.drain("ada", 60))
            await until(drained)
            primary.kill()
            with pytest.raises(Unreachable, match="; the store may be drained") as failed:
                await draining
        await store.close()
    assert failed.value.code == "IOG653"
    assert failed.value.hint == "open it with `iogate store resume`"


async def test_a_drain_expires_by_itself(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    await each_store.call("SET", keys.DRAINED, "{}", "PX", 60_000)
    with pytest.raises(Drained):
        await accepted(intake)
    await each_store.call("PEXPIRE", keys.DRAINED, 1)

    async def opened() -> bool:
        try:
            return isinstance(await intake.accept(request(intake)), Accepted)
        except Drained:
            return False

    await until(opened)


async def test_a_gateway_responds_with_retry_after_while_the_store_is_drained(store: Store) -> None:
    async with driver.opened(store) as world:
        await world.publish(driver.api("m/a"))
        await store.call("SET", keys.DRAINED, "{}", "PX", 60_000)
        for reply in (await world.call("m/a"), await world.ask("/health/ready")):
            assert reply.status == 503
            assert reply.message == "The store is closed for a planned failover"
            assert reply.headers["retry-after"] == "5"
