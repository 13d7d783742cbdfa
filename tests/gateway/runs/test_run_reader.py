"""The memory for a large run is reserved before its data are read, and shared fairly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iogate.compiler.revision import Limits
from iogate.gateway.http.large_responses import SERVER, TOO_MANY, LargeResponses
from iogate.gateway.http.request import Request
from iogate.gateway.runs import run_reader
from tests.gateway.driver import TOKEN, Reply, World, api, until
from tests.gateway.operators.conftest import bearer, operated
from tests.store.builders import commit

__all__ = ["operated"]

MIB = 1024 * 1024
BIG = api("a/b", TOKEN, limits=Limits(body=16 * MIB))
RIGHT = {"token": "123456"}
INPUT = b'"' + b"a" * MIB + b'"'
REFUSED = (503, TOO_MANY.message)


async def called(world: World, body: bytes = INPUT) -> str:
    await world.publish(BIG)
    return (await world.call("a/b", body, **RIGHT)).uid


def reads(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the data of each view that the gateway reads from now on."""
    found: list[int] = []
    show = world.store.runs.show

    async def noted(uid: str, **options: Any) -> Any:
        view = await show(uid, **options)
        found.append(0 if view is None else view.data_bytes)
        return view

    monkeypatch.setattr(world.store.runs, "show", noted)
    return found


def refusal(reply: Reply) -> tuple[int, str]:
    assert reply.headers["retry-after"] == "1"
    return reply.status, reply.message


async def test_a_run_over_the_budget_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = await called(
        world, b'"' + bytes(range(32, 127)).replace(b'"', b"").replace(b"\\", b"") * 300 + b'"'
    )
    stored = (await world.store.call("HSTRLEN", f"iogate:run:{uid}", "in")) or 0
    assert stored > 0
    every = world.live.large_responses = LargeResponses(budget=MIB)
    other = every.preparation(None)
    other.reserve(MIB)
    monkeypatch.setattr(run_reader, "SMALL", 0)
    sizes = reads(world, monkeypatch)
    assert refusal(await world.ask(f"/v1/runs/{uid}", headers=RIGHT)) == REFUSED
    assert sizes == [0], "only its head was read"
    other.release()
    assert (await world.ask(f"/v1/runs/{uid}", headers=RIGHT)).status == 200
    assert every.held == 0


async def test_a_compressed_run_counts_as_large_as_it_is(world: World) -> None:
    uid = await called(world)
    every = world.live.large_responses = LargeResponses(budget=MIB)
    other = every.preparation(None)
    other.reserve(1)
    assert refusal(await world.ask(f"/v1/runs/{uid}", headers=RIGHT)) == REFUSED
    other.release()
    reply = await world.ask(f"/v1/runs/{uid}", headers=RIGHT)
    assert (reply.status, len(reply.json["input"])) == (200, MIB)
    assert every.held == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_response_gives_its_memory_back(world: World, method: str) -> None:
    uid = await called(world)
    every = world.live.large_responses = LargeResponses()
    assert (await world.ask(f"/v1/runs/{uid}", method, RIGHT)).status == 200
    assert every.held == 0


async def test_small_runs_are_read_in_one_step_beside_large_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = await called(world, b'{"sku":"A-1"}')
    every = world.live.large_responses = LargeResponses(budget=MIB)
    every.preparation(None).reserve(5 * MIB)
    sizes = reads(world, monkeypatch)
    assert (await world.ask(f"/v1/runs/{uid}", headers=RIGHT)).status == 200
    assert len(sizes) == 1


async def test_a_run_that_grows_meanwhile_is_read_when_all_of_it_has_room(world: World) -> None:
    uid = await called(world, b'"' + b"a" * 30_000 + b'"')
    every = LargeResponses()
    sending = every.preparation(None)
    head = await world.store.runs.show(uid, most=0)
    assert head is not None
    claim = await world.claim(uid)
    output = b'"' + b"b" * 40_000 + b'"'
    await world.store.leases.commit([commit(claim, output=output)])
    found = await run_reader.read_data(world.store, head, sending)
    assert found is not None
    assert (len(found.input), found.output) == (30_002, output)
    assert every.held == 70_004
    sending.release()


class Redactions:
    """Redactions that wait until they may go on."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[str] = []
        self.going_on = asyncio.Event()
        monkeypatch.setattr(world.live.validation, "redacted", self._redacted)

    async def _redacted(self, stored: bytes, request: Request) -> bytes:
        self.waiting.append(request.address)
        await self.going_on.wait()
        return stored

    async def are(self, number: int) -> None:
        async def waiting() -> bool:
            return len(self.waiting) >= number

        await until(waiting)


async def test_a_network_does_not_exclude_others_from_large_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = await called(world)
    every = world.live.large_responses = LargeResponses(budget=4 * MIB)
    redactions = Redactions(world, monkeypatch)

    def asked(address: str) -> asyncio.Task[Reply]:
        world.client = (address, 50_000)
        return asyncio.create_task(world.ask(f"/v1/runs/{uid}", headers=RIGHT))

    greedy = []
    for number in range(3):
        greedy.append(asked("192.0.2.1"))
        await redactions.are(number + 1)
    assert refusal(await asked("192.0.2.1")) == REFUSED, "its own earlier requests stay"
    assert every.held <= 4 * MIB
    modest = asked("192.0.2.2")
    await redactions.are(4)
    assert refusal(await greedy[-1]) == REFUSED, "the newest one of the network with the most is given up"
    second = asked("192.0.2.2")
    assert refusal(await second) == REFUSED, "both would have two of three places"
    redactions.going_on.set()
    done = await asyncio.gather(*greedy[:2], modest)
    assert [reply.status for reply in done] == [200] * 3
    assert every.held == 0


async def test_an_operator_reads_large_runs_within_the_budget(
    operated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = await called(operated)
    every = operated.live.large_responses = LargeResponses(budget=MIB)
    other = every.preparation(None)
    other.reserve(MIB)
    path = f"/v1/runs/{uid}"
    assert refusal(await operated.ask(path, headers=bearer("read"))) == REFUSED
    other.release()
    redactions = Redactions(operated, monkeypatch)
    reading = asyncio.create_task(operated.ask(path, headers=bearer("read")))
    await redactions.are(1)
    assert MIB < every.held < 2 * MIB
    redactions.going_on.set()
    assert (await reading).status == 200
    assert every.held == 0


async def test_a_reservation_counts_the_room_of_the_server(world: World) -> None:
    every = LargeResponses(budget=MIB)
    first, second = every.preparation(None), every.preparation(None)
    first.reserve(SERVER)
    assert not every.admits(MIB - 2 * SERVER + 1, second)
    assert every.admits(MIB - 2 * SERVER, second)
    assert every.admits(MIB - SERVER, first), "its own memory is replaced"
