"""Intake: atomic, once per key, checks in order, and no acknowledgement without storage."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from iogate.compiler.revision import Limits
from iogate.store import keys
from iogate.store import store as stores
from iogate.store.connection.failures import Unanswered
from iogate.store.embedded.server import EmbeddedServer, start_embedded, temporary_server
from iogate.store.runs import intake as intakes
from iogate.store.runs.intake import DEADLINE_S, GROUP, Accepted, Refusal
from iogate.store.store import INTAKE_TIMEOUT_S, Store, StoreUnavailable, open_store
from tests.keys import RING
from tests.store.builders import ORDERS, accepted, api, commit, publish, request, until


async def test_a_duplicate_from_another_gateway_with_the_same_uid_is_a_replay(each_store: Store) -> None:
    await publish(each_store)
    first, second = each_store.intake(), each_store.intake()
    call = request(first, idempotency_key="key", fingerprint="same")
    outcomes = [await intake.accept(call) for intake in (first, second)]
    assert [(o.uid, o.replayed) for o in outcomes if isinstance(o, Accepted)] == [
        (call.uid, False),
        (call.uid, True),
    ]


async def test_fifty_duplicates_through_four_gateways_make_one_run_per_key(each_store: Store) -> None:
    """R5, short form."""
    await publish(each_store)
    intakes = [each_store.intake() for _ in range(4)]
    calls = [
        request(intakes[n % 4], idempotency_key=f"key-{k}", fingerprint="same")
        for k in range(40)
        for n in range(50)
    ]
    outcomes = await asyncio.gather(*(intakes[n % 4].accept(call) for n, call in enumerate(calls)))
    uids = {o.uid for o in outcomes if isinstance(o, Accepted)}
    assert len(uids) == 40
    assert sum(not o.replayed for o in outcomes if isinstance(o, Accepted)) == 40
    assert (await each_store.runs.counts())["pending"] == 40

    other = await intakes[0].accept(request(intakes[0], idempotency_key="key-1", fingerprint="different"))
    assert other == Refusal(reason="mismatch")


async def test_a_key_is_per_caller_and_api_and_ends_with_its_ttl(each_store: Store) -> None:
    other = api("other/one")
    await publish(each_store, ORDERS, other)
    intake = each_store.intake()
    first = await accepted(intake, idempotency_key="k", caller="a")
    assert await accepted(intake, idempotency_key="k", caller="a") == first
    assert await accepted(intake, idempotency_key="k", caller="b") != first
    assert await accepted(intake, other, idempotency_key="k", caller="a") != first
    short = await accepted(intake, idempotency_key="s", idempotency_ttl_s=0.001)

    async def over() -> bool:
        return await accepted(intake, idempotency_key="s", idempotency_ttl_s=0.001) != short

    await until(over)


async def test_the_key_of_a_deleted_run_can_be_used_again(each_store: Store) -> None:
    """By `prune`, or at the end of a retention that is shorter than the ttl of the key."""
    await publish(each_store)
    intake = each_store.intake()

    async def called(fingerprint: str = "same", retention_s: float = 60) -> Accepted | Refusal:
        return await intake.accept(
            request(intake, idempotency_key="k", fingerprint=fingerprint, retention_s=retention_s)
        )

    first = await called(retention_s=0.001)
    assert isinstance(first, Accepted)
    assert await called() == Accepted(uid=first.uid, replayed=True)
    (claim,) = (await each_store.leases.take("w", 9)).claims
    await each_store.leases.commit([commit(claim)])

    async def is_deleted() -> bool:
        return await each_store.runs.show(first.uid) is None

    await until(is_deleted)
    second = await called()
    assert isinstance(second, Accepted)
    assert second != first
    assert not second.replayed
    assert await called() == Accepted(uid=second.uid, replayed=True)
    (claim,) = (await each_store.leases.take("w", 9)).claims
    await each_store.leases.commit([commit(claim)])
    assert await called() == Accepted(uid=second.uid, replayed=True)
    assert await each_store.runs.prune([second.uid], int(time.time() * 1000) + 60_000) == 1
    third = await called(fingerprint="other")
    assert isinstance(third, Accepted)
    assert third.uid != second.uid


async def test_a_replay_works_for_a_disabled_api(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    first = await accepted(intake, idempotency_key="k")
    await each_store.gates.set_enabled([ORDERS.id], False, author="me")
    again = await intake.accept(request(intake, idempotency_key="k"))
    assert again == Accepted(uid=first, replayed=True)


async def test_the_first_failing_check_determines_the_refusal(each_store: Store) -> None:
    """Each refusal, set up so that every later check would refuse too."""
    full = api(limits=Limits(queued=1, rate=0.001, burst=1))
    await publish(each_store, full)
    intake = each_store.intake()

    async def refused(**changes: str) -> Refusal:
        outcome = await intake.accept(request(intake, full, **changes))
        assert isinstance(outcome, Refusal)
        return outcome

    await each_store.call("SET", keys.FULL, "1")
    assert (await refused()).reason == "memory"
    await each_store.call("DEL", keys.FULL)
    taken = await accepted(intake, full)
    rate = await refused(uid=taken + "0")
    assert rate.reason == "rate"
    assert 900 < rate.retry_after_s <= 1000
    assert (await refused(digest="old")).reason == "stale"
    await each_store.gates.set_enabled([full.id], False, author="me")
    assert (await refused(digest="old")).reason == "disabled"
    assert (await refused(api="no/such")).reason == "stale"
    assert (await each_store.runs.counts())["pending"] == 1


async def test_the_queued_limit_counts_waiting_runs_and_each_take_frees_one(each_store: Store) -> None:
    few = api(limits=Limits(queued=2))
    await publish(each_store, few)
    intake = each_store.intake()
    for _ in range(2):
        await accepted(intake, few)
    refused = await intake.accept(request(intake, few))
    assert isinstance(refused, Refusal)
    assert refused.reason == "queue_full"
    await each_store.leases.take("worker-1", 1)
    await accepted(intake, few)


async def test_the_rate_limit_allows_a_burst_and_then_an_even_rate(each_store: Store) -> None:
    few = api(limits=Limits(rate=1, burst=5))
    await publish(each_store, few)
    intake = each_store.intake()
    outcomes = await asyncio.gather(*(intake.accept(request(intake, few)) for _ in range(20)))
    assert sum(isinstance(o, Accepted) for o in outcomes) == 5
    waits = [o.retry_after_s for o in outcomes if isinstance(o, Refusal)]
    assert all(0 < wait <= 1 for wait in waits)

    async def let_in() -> bool:
        return isinstance(await intake.accept(request(intake, few)), Accepted)

    await until(let_in)


async def test_a_uid_that_another_gateway_drew_is_drawn_again(each_store: Store) -> None:
    await publish(each_store)
    one, two = each_store.intake(), each_store.intake()
    uid = await accepted(one)
    other = await accepted(two, uid=uid)
    assert other != uid
    (claim,) = [c for c in (await each_store.leases.take("w", 9)).claims if c.uid == uid]
    await each_store.leases.commit([commit(claim)])
    assert await accepted(two, uid=uid) not in {uid, other}


async def test_a_group_is_one_transaction_of_at_most_64_scripts(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    before = await stats(each_store)
    await asyncio.gather(*(accepted(intake) for _ in range(GROUP * 3)))
    after = await stats(each_store)
    assert after["exec"] - before["exec"] == 3
    assert after["evalsha"] - before["evalsha"] == GROUP * 3


async def stats(store: Store) -> dict[str, int]:
    text: bytes = await store.call("INFO", "commandstats")
    lines = [line.split(":calls=") for line in text.decode().splitlines() if ":calls=" in line]
    found = {name.removeprefix("cmdstat_"): int(rest.split(",")[0]) for name, rest in lines}
    return {"exec": found.get("exec", 0), "evalsha": found.get("evalsha", 0)}


async def test_flushed_scripts_are_loaded_again_and_nothing_is_lost_or_doubled(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    for _ in range(5):
        await each_store.call("SCRIPT", "FLUSH")
        uids = await asyncio.gather(*(accepted(intake) for _ in range(10)))
        assert len(set(uids)) == 10
        await each_store.call("SCRIPT", "FLUSH")
        for claim in (await each_store.leases.take("w", 5)).claims:
            await each_store.call("SCRIPT", "FLUSH")
            (verdict,) = await each_store.leases.commit([commit(claim)])
            assert verdict.applied
    counts = await each_store.runs.counts()
    assert (counts["pending"], counts["completed"]) == (25, 25)


async def test_a_full_server_refuses_and_recovers(each_redis: EmbeddedServer) -> None:
    """R9: maxmemory is hit; nothing is half accepted."""
    with temporary_server(each_redis.server) as own:
        store = await open_store(own.url, keyring=RING)
        await publish(store)
        intake = store.intake()
        await accepted(intake)
        await store.call("CONFIG", "SET", "maxmemory", "1mb")
        outcomes = await asyncio.gather(*(intake.accept(request(intake)) for _ in range(10)))
        assert {o.reason for o in outcomes if isinstance(o, Refusal)} == {"memory"}
        assert len(outcomes) == 10
        await store.call("CONFIG", "SET", "maxmemory", "0")
        await store.call("DEL", keys.FULL)
        await accepted(intake)
        assert (await store.runs.counts())["pending"] == 2
        await store.close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def limited() -> Iterator[None]:
    """Let intakes and calls wait as briefly as in production meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "INTAKE_TIMEOUT_S", INTAKE_TIMEOUT_S)
        patch.setattr(intakes, "DEADLINE_S", DEADLINE_S)
        yield


@asynccontextmanager
async def stalls() -> AsyncIterator[list[float]]:
    """Collect by how many seconds a busy machine delays this process meanwhile."""
    found: list[float] = []
    over = False

    async def measure() -> None:
        while not over:
            begun = time.monotonic()
            await asyncio.sleep(0.05)
            found.append(time.monotonic() - begun - 0.05)

    measuring = asyncio.create_task(measure())
    yield found
    over = True
    await measuring


async def test_a_hanging_server_is_unavailable_within_a_second_and_recovers(
    each_redis: EmbeddedServer,
) -> None:
    """R6: no false acknowledgement, and no restart."""
    with temporary_server(each_redis.server) as own:
        store = await open_store(own.url, keyring=RING)
        await publish(store)
        with limited():
            intake = store.intake()
        await accepted(intake)
        refused: dict[str, StoreUnavailable] = {}
        took_s: list[float] = []
        with stopped(own.pid), limited():
            async with stalls() as delays:
                for _ in range(2):
                    begun = time.monotonic()
                    requests = [request(intake) for _ in range(100)]
                    outcomes = await asyncio.gather(*map(intake.accept, requests), return_exceptions=True)
                    took_s.append(time.monotonic() - begun)
                    assert all(isinstance(o, StoreUnavailable) for o in outcomes)
                    refused |= {
                        each.uid: outcome
                        for each, outcome in zip(requests, outcomes, strict=True)
                        if isinstance(outcome, StoreUnavailable)
                    }
        # One second plus the delay of a busy machine; the timeout of a connection is longer.
        assert max(took_s) < 4.5 + sum(delays)
        await accepted(intake)
        # What was sent may be executed when the server continues, unless it finds the connection closed
        # before it has read all; nothing else is.
        unanswered = {uid for uid, error in refused.items() if isinstance(error, Unanswered)}
        stored = {uid for uid in refused if await store.call("EXISTS", keys.RUN + uid)}
        assert stored <= unanswered
        assert unanswered or sum(delays) > DEADLINE_S / 2, "calls are sent before their deadline"
        await store.close()


async def test_later_calls_to_a_hanging_server_wait_no_longer_than_the_first(
    each_redis: EmbeddedServer,
) -> None:
    """Commands of the sender itself, such as INFO, do not delay callers."""
    with temporary_server(each_redis.server) as own:
        store = await open_store(own.url, keyring=RING)
        await publish(store)
        with limited():
            intake = store.intake()
        await accepted(intake)
        took_s: list[float] = []

        async def call(after_s: float) -> None:
            await asyncio.sleep(after_s)
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await intake.accept(request(intake))
            took_s.append(time.monotonic() - begun)

        with stopped(own.pid), limited():
            async with stalls() as delays:
                await asyncio.gather(*(call(n / 10) for n in range(25)))
        # As above: one second plus the delay of a busy machine; the timeout of a connection is longer.
        assert max(took_s) < 4.5 + sum(delays)
        await store.close()


async def test_accepting_continues_after_a_restart_and_no_accepted_run_is_lost(tmp_path: Path) -> None:
    """kill -9 of the server under load: acknowledged calls exist afterwards."""
    first = start_embedded(tmp_path)
    store = await open_store(first.url, keyring=RING)
    await publish(store)
    intake = store.intake()
    answered: list[str] = []
    failed = 0
    restarted = asyncio.Event()

    async def caller() -> None:
        nonlocal failed
        after = 0
        while after < 5:
            try:
                answered.append(await accepted(intake))
                after += restarted.is_set()
            except StoreUnavailable:
                failed += 1
                await asyncio.sleep(0.01)  # as a client would, before it tries again

    callers = [asyncio.create_task(caller()) for _ in range(30)]
    await until(lambda: true(len(answered) >= 200))
    os.kill(first.pid, signal.SIGKILL)
    assert first.process is not None
    await asyncio.to_thread(first.process.wait)
    await until(lambda: true(failed > 0))
    second = await asyncio.to_thread(start_embedded, tmp_path)
    restarted.set()
    await asyncio.gather(*callers)
    assert len(set(answered)) == len(answered)
    for uid in answered:
        assert await store.runs.show(uid) is not None
    await store.close()
    await asyncio.to_thread(second.stop)


async def true(condition: bool) -> bool:  # noqa: FBT001 -- a value to wait for
    return condition


async def test_the_error_of_a_failed_connection_names_address_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_store(f"unix://{tmp_path}/none.sock", keyring=RING)
    assert (
        caught.value.message
        == f"the store is out of reach: unix://{tmp_path}/none.sock: No such file or directory"
    )
    assert caught.value.hint == "start one with `iogate up`, or check redis_url"
