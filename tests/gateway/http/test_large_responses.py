"""Large responses and streams wait for their callers within a budget and a deadline; small ones do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.gateway.http.large_responses import (
    CHUNK,
    EVENTS,
    FREE,
    LARGE,
    LAST_CHUNK,
    SERVER,
    TOO_MANY,
    Cut,
    LargeResponses,
    PacedSend,
)
from iogate.gateway.http.responses import CLOSE, Response
from tests.gateway.driver import World, api, until
from tests.store.builders import commit

PEER = ("192.0.2.1", 50_001)
SCOPE = {"client": PEER, "http_version": "1.1", "method": "GET"}
MIB = 1024 * 1024


@dataclass(kw_only=True)
class Caller:
    """A caller that reads a number of chunks, and then no more until it goes on."""

    reads: int | None = None
    """None: all."""
    messages: list[Any] = field(default_factory=list)
    going_on: asyncio.Event = field(default_factory=asyncio.Event)
    scope: dict[str, Any] = field(default_factory=lambda: dict(SCOPE))

    async def send(self, message: Any) -> None:
        if self.reads is not None and len(self.messages) > self.reads:
            await self.going_on.wait()
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body") is False


def response(size: int) -> Response:
    return Response(200, (b"0123456789" * (size // 10 + 1))[:size])


def sending(every: LargeResponses, caller: Caller, size: int) -> asyncio.Task[None]:
    scope: Any = caller.scope
    return asyncio.create_task(every.send(response(size), scope, caller.send, last=False))


async def soon(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await until(holds)


@given(st.integers(LARGE + 1, 12 * LARGE))
def test_a_body_arrives_as_it_is_in_chunks_and_the_server_holds_little_of_its_end(size: int) -> None:
    async def sent() -> tuple[Caller, int]:
        every, caller = LargeResponses(), Caller()
        await sending(every, caller, size)
        return caller, every.held

    caller, held = asyncio.run(sent())
    assert caller.body == response(size).content
    assert held == 0
    assert caller.is_complete
    assert dict(caller.messages[0]["headers"])[b"content-length"] == str(size).encode()
    sizes = [len(message["body"]) for message in caller.messages[1:]]
    assert max(sizes) <= CHUNK
    assert sizes[-5:] == [0] * 5
    data = [each for each in sizes if each]
    assert sum(data[-16:]) <= SERVER
    assert all(each == LAST_CHUNK for each in data[-17:-1])


async def test_a_response_waits_for_its_caller_and_counts_meanwhile() -> None:
    every, caller = LargeResponses(), Caller(reads=2)
    task = sending(every, caller, MIB)
    await soon(lambda: len(caller.messages) == 3)
    assert every.held == MIB + SERVER
    assert not task.done()
    caller.going_on.set()
    await task
    assert (caller.body, every.held) == (response(MIB).content, 0)


@pytest.mark.parametrize(("version", "closed"), [("1.1", [PEER]), ("2", [])])
async def test_a_caller_that_takes_nothing_in_time_is_cut_off(version: str, closed: list[Any]) -> None:
    found: list[Any] = []
    every, caller = LargeResponses(timeout_s=0.05, close=found.append), Caller(reads=3)
    caller.scope["http_version"] = version
    await sending(every, caller, MIB)
    assert (len(caller.messages), caller.is_complete) == (4, False)
    assert (found, every.held) == (closed, 0), "a connection of HTTP/2 has the responses of others"


async def test_the_peer_of_a_proxy_is_the_proxy() -> None:
    found: list[Any] = []
    every, caller = LargeResponses(timeout_s=0.05, close=found.append), Caller(reads=1)
    caller.scope["peer"] = ("10.0.0.1", 7)
    await sending(every, caller, MIB)
    assert found == [("10.0.0.1", 7)]


async def test_the_slowest_callers_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.gateway.http.large_responses.STALLED_S", 60.0)
    found: list[Any] = []
    every = LargeResponses(budget=3 * MIB, close=found.append)
    slow = [Caller(reads=1), Caller(reads=1)]
    for number, each in enumerate(slow):
        each.scope["client"] = ("192.0.2.9", number)
    tasks = [sending(every, each, MIB) for each in slow]
    await soon(lambda: every.held == 2 * (MIB + SERVER))
    assert not every.admits(MIB), "both have just made progress"
    monkeypatch.setattr("iogate.gateway.http.large_responses.STALLED_S", 0.1)
    await asyncio.sleep(0.15)
    slow[0].reads = 3
    slow[0].going_on.set()
    slow[0].going_on.clear()
    await soon(lambda: len(slow[0].messages) == 4)
    assert every.admits(MIB)
    await tasks[1]
    assert (found, slow[1].is_complete) == ([("192.0.2.9", 1)], False)
    assert (every.held, tasks[0].done()) == (MIB + SERVER, False)
    slow[0].going_on.set()
    await tasks[0]
    assert slow[0].is_complete


async def test_a_response_larger_than_the_budget_is_sent_alone() -> None:
    every, caller = LargeResponses(budget=MIB), Caller(reads=1)
    assert every.admits(5 * MIB)
    task = sending(every, caller, 5 * MIB)
    await soon(lambda: every.held > 5 * MIB)
    assert not every.admits(LARGE + 1)
    caller.going_on.set()
    await task
    assert every.admits(5 * MIB)


async def test_streams_over_the_budget_are_cut_when_they_have_stalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("iogate.gateway.http.large_responses.STALLED_S", 0.05)
    every = LargeResponses(budget=5 * FREE)
    callers = [Caller(reads=1) for _ in range(20)]
    tasks = [asyncio.create_task(streamed(every, each, b"x" * 3 * EVENTS, backlog=FREE)) for each in callers]
    await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    await soon(lambda: every.held <= 5 * FREE)
    cut = [task for task in tasks if task.done()]
    assert 0 < len(cut) < 20
    assert all(isinstance(task.exception(), Cut) for task in cut)
    for each in callers:
        each.going_on.set()
    await asyncio.wait(tasks)
    assert every.held == 0


async def streamed(every: LargeResponses, caller: Caller, *events: bytes, backlog: int = 0) -> None:
    scope: Any = caller.scope
    send = every.paced(scope, caller.send)
    send.backlog = backlog
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    )
    for each in events:
        await send({"type": "http.response.body", "body": each, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_a_stream_counts_while_its_caller_is_behind_and_is_cut_on_demand() -> None:
    every, caller = LargeResponses(), Caller(reads=1)
    task = asyncio.create_task(streamed(every, caller, b"a", b"b" * 2 * EVENTS, backlog=FREE))
    await soon(lambda: every.held == 2 * EVENTS + FREE)
    caller.going_on.set()
    await task
    assert [len(message["body"]) for message in caller.messages[1:]] == [1, EVENTS, EVENTS, 0]
    assert every.held == 0

    behind = Caller(reads=0)
    scope: Any = behind.scope
    send = PacedSend(every, scope, behind.send)
    send.cut_if_waiting()
    assert not send.is_cut, "it was not behind"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    waiting = asyncio.ensure_future(send({"type": "http.response.body", "body": b"a", "more_body": True}))
    await asyncio.sleep(0.01)
    assert (waiting.done(), every.held) == (False, 0), "little is not counted"
    send.cut_if_waiting()
    with pytest.raises(Cut):
        await waiting
    assert (send.is_cut, every.held) == (True, 0)


@pytest.mark.parametrize(("size", "method"), [(LARGE, "GET"), (LARGE, "HEAD"), (5 * MIB, "HEAD")])
async def test_small_and_head_responses_of_litestar_are_sent_as_they_are(size: int, method: str) -> None:
    every, caller = LargeResponses(), Caller()
    caller.scope["method"] = method
    scope: Any = caller.scope
    send = every.paced(scope, caller.send)
    content = b"" if method == "HEAD" else bytes(size)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": content, "more_body": False})
    assert len(caller.messages) == 2
    assert caller.body == content


async def test_a_large_response_that_was_not_admitted_is_a_503() -> None:
    every, first, caller = LargeResponses(budget=MIB), Caller(reads=1), Caller()
    task = sending(every, first, 2 * MIB)
    await soon(lambda: every.held > 0)
    scope: Any = caller.scope
    send = every.paced(scope, caller.send)
    size = b"%d" % (2 * LARGE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", size)]})
    await send({"type": "http.response.body", "body": bytes(2 * LARGE), "more_body": False})
    assert caller.messages[0]["status"] == 503
    assert (b"retry-after", b"1") in caller.messages[0]["headers"]
    assert caller.body == TOO_MANY.content
    assert caller.is_complete
    first.going_on.set()
    await task


async def test_the_last_response_of_a_process_says_that_the_connection_closes() -> None:
    every, caller = LargeResponses(), Caller()
    await every.send(response(MIB), None, caller.send, last=True)
    assert CLOSE in caller.messages[0]["headers"]
    assert caller.body == response(MIB).content


async def test_a_sync_call_whose_large_result_does_not_fit_gets_a_202(world: World) -> None:
    await world.publish(api("a/b"))
    every = world.live.large_responses = LargeResponses(budget=MIB)
    other = Caller(reads=1)
    task = sending(every, other, MIB)
    await soon(lambda: every.held > 0)

    async def called() -> tuple[int, int]:
        asked = asyncio.create_task(world.ask("/v1/api/a/b/sync", "POST"))

        async def ended() -> bool:
            for claim in (await world.store.leases.take("w1", 10)).claims:
                await world.store.leases.commit([ending(claim)])
            return asked.done()

        await until(ended)
        reply = await asked
        return reply.status, len(reply.body)

    def ending(claim: Any) -> Any:
        output = b'"' + b"x" * 100_000 + b'"'
        return commit(claim, "end", status="completed", output=output)

    assert (await called())[0] == 202
    other.going_on.set()
    await task
    status, size = await called()
    assert (status, size > 100_000) == (200, True)
