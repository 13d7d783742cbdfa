"""R14, short form: a lost reply neither duplicates nor loses a run.

A proxy between client and server passes every request on and then, for some, cuts the line instead of
passing the answer. The seed is printed, and each test asserts that the fault fired.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest

from iogate.operators import schedules
from iogate.store.embedded.server import EmbeddedServer
from iogate.store.events.bus import Delivery
from iogate.store.runs.leases import Claim, TakeResult
from iogate.store.store import Store, StoreUnavailable, open_store
from tests.keys import RING
from tests.store.builders import accepted, commit, publish
from tests.store.events.test_bus import event, listening, wanting
from tests.store.revisions.test_due_schedules import EVERY
from tests.store.revisions.test_due_schedules import publish as publish_schedule

T = TypeVar("T")

SEED = 20


class Proxy:
    """Proxy that closes the connection instead of a reply to a script, at random."""

    def __init__(self, target: str, socket: str, rate: float) -> None:
        self.socket = socket
        self.cuts = 0
        self._target = target
        self._rate = rate
        self._die = random.Random(SEED)
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        await connection

    async def ended(self) -> None:
        """Wait for the end of all connections, whose clients have closed them."""
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, upwriter = await asyncio.open_unix_connection(self._target)
        marked = False

        async def forward() -> None:
            nonlocal marked
            while data := await reader.read(65_536):
                marked = b"EVALSHA" in data and self._die.random() < self._rate
                upwriter.write(data)

        async def back() -> None:
            while data := await upstream.read(65_536):
                if marked:
                    self.cuts += 1
                    return
                writer.write(data)

        tasks = [asyncio.create_task(forward()), asyncio.create_task(back())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()
            upwriter.transport.abort()
            await asyncio.sleep(0)  # the loop closes the sockets in its next iteration


@contextlib.asynccontextmanager
async def proxied(redis: EmbeddedServer, folder: str, rate: float) -> AsyncIterator[tuple[Store, Proxy]]:
    proxy = Proxy(redis.url.removeprefix("unix://"), f"{folder}/p.sock", rate)
    server = await asyncio.start_unix_server(proxy.serve, proxy.socket)
    store = await open_store(f"unix://{proxy.socket}", keyring=RING)
    try:
        yield store, proxy
    finally:
        await store.close()
        server.close()
        await proxy.ended()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("p"))


async def insist(store: Store, worker: str) -> TakeResult:
    while True:
        with contextlib.suppress(StoreUnavailable):
            return await store.leases.take(worker, 3)


async def finish(store: Store, claims: tuple[Claim, ...]) -> int:
    commits = [commit(claim) for claim in claims]
    while True:
        with contextlib.suppress(StoreUnavailable):
            return sum(v.applied for v in await store.leases.commit(commits))


async def test_no_call_is_stored_twice(each_store: Store, each_redis: EmbeddedServer, folder: str) -> None:
    """An acknowledged call is one run; an unacknowledged one is one run or none."""
    await publish(each_store)
    async with proxied(each_redis, folder, 0.3) as (store, proxy):
        intake = store.intake()
        outcomes = []
        for _ in range(60):
            outcomes += await asyncio.gather(*(accepted(intake) for _ in range(5)), return_exceptions=True)
        answered = [o for o in outcomes if isinstance(o, str)]
        lost = [o for o in outcomes if isinstance(o, StoreUnavailable)]
        assert proxy.cuts > 20, SEED
    assert len(answered) + len(lost) == 300
    assert len(set(answered)) == len(answered)
    stored = {s.uid for s in await each_store.runs.list(limit=1000)}
    assert set(answered) <= stored
    assert len(stored) <= len(answered) + len(lost)


async def test_no_run_is_leased_twice_or_lost_and_no_commit_is_applied_twice(
    each_store: Store, each_redis: EmbeddedServer, folder: str
) -> None:
    await publish(each_store)
    intake = each_store.intake()
    uids = [await accepted(intake) for _ in range(120)]
    seen: list[str] = []
    async with proxied(each_redis, folder, 0.3) as (store, proxy):
        while len(seen) < len(uids):
            taken = await insist(store, "worker-1")
            assert await finish(store, taken.claims) == len(taken.claims)
            seen += [claim.uid for claim in taken.claims]
        assert proxy.cuts > 20, SEED
    assert seen == uids
    assert (await each_store.runs.counts())["completed"] == len(uids)
    assert await each_store.leases.suspects() == 0


async def test_no_event_is_lost_or_delivered_twice(
    each_store: Store, each_redis: EmbeddedServer, folder: str
) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()}, move="keep")
    sent = [event(number) for number in range(80)]
    async with proxied(each_redis, folder, 0.3) as (store, proxy):
        for each in sent:
            await again(partial(store.events.publish, [each]))
        while (batch := await again(partial(store.events.take, "m", 7))).events:
            found = [Delivery(number=number, uid=claim.uid, frame=1) for number, _ in batch.events]
            assert await again(partial(store.events.deliver, "m", batch.events[-1][0], found))
        assert proxy.cuts > 20, SEED
    inbox = await each_store.leases.inbox(claim.uid, claim.token)
    assert [message.data for message in inbox] == sent


async def again(ask: Callable[[], Awaitable[T]]) -> T:
    """Repeat the call after a lost reply, as a caller does."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            return await ask()


async def test_operations_with_an_id_are_idempotent(each_store: Store) -> None:
    """The reply is lost, the run continues, and the operation is repeated with its id."""
    await publish(each_store)
    runs = each_store.runs
    uid = await accepted(each_store.intake())
    assert await runs.suspend(uid, operation="a") == "suspended"
    assert await runs.resume(uid, operation="b") == "resumed"
    assert await runs.suspend(uid, operation="a") == "suspended"
    assert await runs.resume(uid, operation="b") == "resumed"
    for attempt in (1, 2):
        (claim,) = (await each_store.leases.take("w", 1)).claims
        assert claim.attempt == attempt
        seq = claim.seq + 1
        await each_store.leases.commit([commit(claim, status="faulted", seq=seq, error=b"{}", head=b"h")])
        start = await runs.load_state(uid)
        assert await runs.retry(uid, operation="c") == "retried"
        assert await runs.retry(uid, start, operation="c") == "retried"
        assert await runs.was_retried(uid, "c")
    # It has faulted again: under that id there is no third attempt.
    view = await runs.show(uid)
    assert view is not None
    assert (view.status, view.attempt) == ("faulted", 2)
    assert await runs.retry(uid, operation="d") == "retried"
    assert await runs.cancel(uid, "no", operation="e") == "asked"
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, status="cancelled", seq=claim.seq + 1)])
    assert await runs.cancel(uid, "no", operation="e") == "asked"
    assert await runs.cancel(uid, "no", operation="f") == "ended"


async def test_each_operation_starts_one_run_of_a_schedule(
    each_store: Store, each_redis: EmbeddedServer, folder: str
) -> None:
    await publish_schedule(each_store, EVERY)
    started: list[str] = []
    async with proxied(each_redis, folder, 0.4) as (store, proxy):
        for number in range(60):
            run = partial(schedules.run, store, ["shop/report"], author="ada", operation=f"op-{number}")
            started += (await again(run))["runs"].values()
        assert proxy.cuts > 10, SEED
    assert len(set(started)) == 60
    assert {run.uid for run in await each_store.runs.list(limit=1000)} == set(started)


async def test_a_repeated_resume_or_cancel_returns_the_first_result(
    each_store: Store, each_redis: EmbeddedServer, folder: str
) -> None:
    await publish(each_store)
    uids = [await accepted(each_store.intake()) for _ in range(40)]
    for uid in uids:
        await each_store.runs.suspend(uid)
    async with proxied(each_redis, folder, 0.4) as (store, proxy):
        resumed = [await again(partial(store.runs.resume, uid, operation="r")) for uid in uids]
        ended = [await again(partial(store.runs.cancel, uid, operation="c")) for uid in uids]
        assert proxy.cuts > 20, SEED
    assert set(resumed) == {"resumed"}
    assert set(ended) == {"cancelled"}
