"""Event streams: limited in number, shared by run, and closed with their client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from pathlib import Path

import pytest

from iogate.gateway.runs import run_stream
from iogate.gateway.runs.run_stream import Streams
from iogate.store import keys
from iogate.store.runs.leases import Commit
from iogate.store.store import Store
from tests.gateway.driver import Reply, World, announced, api, listening, publish, spawn, until


async def test_one_stream_more_than_the_limit_is_a_503(world: World) -> None:
    world.live.streams = Streams(2)
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid
    following = [asyncio.create_task(world.ask(f"/v1/runs/{uid}/events")) for _ in range(2)]

    async def both_open() -> bool:
        return len(world.live.streams) == 2

    await until(both_open)
    refused = await world.ask(f"/v1/runs/{uid}/events")
    assert (refused.status, refused.code) == (503, "serverError.unavailable")
    assert refused.message == "This gateway serves 2 event streams, as many as it may; retry in 5 s"
    assert refused.headers["retry-after"] == "5"
    await world.finish(uid, journal=[b'{"kind":"x","n":1}'])
    for reply in await asyncio.gather(*following):
        assert reply.body.replace(b": still here\n\n", b"").startswith(
            b'id: 1\nevent: journal\ndata: {"kind":"x","n":1}\n\nevent: end\n'
        )
    assert len(world.live.streams) == 0
    assert (await world.ask(f"/v1/runs/{uid}/events")).status == 200


async def test_one_address_cannot_take_the_streams_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_stream, "PROBE_S", 0.01)
    world.live.streams = Streams(12)
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid

    async def follow(address: str) -> asyncio.Task[Reply]:
        world.client = (address, 50_000)
        asked = asyncio.create_task(world.ask(f"/v1/runs/{uid}/events"))
        before = len(world.live.streams)

        async def settled() -> bool:
            return asked.done() or len(world.live.streams) > before or len(cut()) > ended

        ended = len(cut())
        await until(settled)
        return asked

    def cut() -> list[Reply]:
        return [asked.result() for asked in greedy if asked.done()]

    greedy: list[asyncio.Task[Reply]] = []
    greedy += [await follow(f"2001:db8::{n}") for n in range(12)]  # one network
    assert len(world.live.streams) == 12
    others = [await follow("192.0.2.1")]
    assert [(reply.status, b"event: end" in reply.body) for reply in cut()] == [(200, False)]
    refused = await (await follow("2001:db8::1:2"))
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    assert refused.message == (
        "All 12 event streams of this gateway are taken, and this address has 11 of them; then one address "
        "may have 10; retry in 5 s"
    )
    others.append(await follow("192.0.2.2"))
    assert len(cut()) == 2
    assert (await (await follow("192.0.2.3"))).status == 503, "the first address has no more than its share"
    await world.finish(uid)
    assert all(b"event: end" in reply.body for reply in await asyncio.gather(*others))
    await asyncio.gather(*greedy)
    assert len(world.live.streams) == 0


async def test_a_head_request_opens_no_stream(world: World) -> None:
    world.live.streams = Streams(1)
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid
    for _ in range(3):
        assert (await world.ask(f"/v1/runs/{uid}/events", "HEAD")).status == 200

        async def none_open() -> bool:
            return len(world.live.streams) == 0

        await until(none_open)


async def test_clients_of_a_real_gateway_share_readers_and_leave_nothing_behind(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    """Some read to the end, some never read, some hang up, and one resumes."""
    await publish(store, api("a/b"))
    opened: list[asyncio.StreamWriter] = []
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, streams=60)
        try:
            await until(lambda: announced(store, gateway))
            intake = store.intake()
            uid, other = intake.uid(), intake.uid()
            for each in (uid, other):
                await _accept(store, each)
            claim, left = (await store.leases.take("w", 2)).claims
            if claim.uid != uid:
                claim, left = left, claim

            async def write(seq: int, *lines: bytes, move: str = "keep") -> None:
                status = "completed" if move == "end" else "running"
                change = {"token": claim.token, "seq": claim.seq + seq, "status": status}
                await store.leases.commit(
                    [Commit(uid=uid, move=move, journal=list(lines), **change)]  # type: ignore[arg-type]
                )

            async def follow(
                of: str, after: int = 0, requests: int = 1
            ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                opened.append(writer)
                head = (
                    f"GET /v1/runs/{of}/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {after}\r\n\r\n"
                )
                writer.write(head.encode() * requests)
                assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                return reader, writer

            await write(1, b'{"kind":"x","n":1}', b'{"kind":"x","n":2}')
            reading = [await follow(uid) for _ in range(20)]
            resumed = await follow(uid, 2)
            silent = [await follow(uid) for _ in range(5)]
            gone = [await follow(of) for of in (uid, other) for _ in range(10)]

            async def channels() -> set[str]:
                found = await store.call("PUBSUB", "CHANNELS", f"{keys.JOURNAL_CHANNEL}*")
                return {each.decode().removeprefix(keys.JOURNAL_CHANNEL) for each in found}

            async def both() -> bool:
                return await channels() == {uid, other}

            await until(both)
            for _, writer in gone:
                writer.transport.abort()

            async def one_left() -> bool:
                return await channels() == {uid}

            await until(one_left)
            for seq in range(2, 12):
                await write(seq, b'{"kind":"x","n":%d}' % (seq + 1))
            await write(12, b'{"kind":"x","n":13}', move="end")
            for reader, _ in [*reading, resumed, *silent]:
                text = await asyncio.wait_for(reader.readuntil(b"event: end"), 30)
                ids = [int(each) for each in re.findall(rb"(?m)^id: (\d+)", text)]
                assert ids == list(range(3 if reader is resumed[0] else 1, 14))

            async def none_left() -> bool:
                return not await channels()

            await until(none_left)
            # The server does not see the end of connections that have sent further requests.
            places = [await follow(other, requests=3) for _ in range(60)]
            for number, (_, writer) in enumerate(places):
                (writer.transport.abort if number % 2 else writer.close)()
            await until(lambda: _succeeds(follow(other)))
        finally:
            for writer in opened:
                writer.close()
            gateway.stop()


async def _succeeds(following: Awaitable[object]) -> bool:
    """Tell whether a gateway has a place for a stream; it may not have seen the ends of others yet."""
    try:
        await following
    except (AssertionError, OSError, asyncio.IncompleteReadError):
        return False
    return True


async def _accept(store: Store, uid: str) -> None:
    from iogate.store.runs.intake import Accepted, AcceptRequest

    live = await store.revisions.live()
    assert live is not None
    found = (await store.revisions.load(live[0])).apis["a/b"]
    outcome = await store.intake().accept(
        AcceptRequest(
            uid=uid,
            api=found.id,
            digest=found.digest,
            revision=live[0],
            workflow=found.workflow,
            program=found.program,
            input=b"{}",
            retention_s=found.retention_s,
        )
    )
    assert isinstance(outcome, Accepted)
