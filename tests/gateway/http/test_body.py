"""Bodies are read under a limit and a deadline; calls above the rate are refused early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iogate.gateway.authentication.run_links import Links
from iogate.gateway.calls.routing_table import Bucket
from iogate.gateway.http import body
from iogate.gateway.http.request import Request
from iogate.gateway.http.responses import HTTPError
from iogate.gateway.state import GatewayState


def sending(*messages: dict[str, Any], length: int | None = None) -> Request:
    """A request whose client sends these messages and then waits."""
    left = list(messages)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        return await asyncio.Event().wait()

    headers = {} if length is None else {b"content-length": str(length).encode()}
    return Request(method="POST", headers=headers, receive=receive)


def chunk(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_a_slow_body_is_a_408_at_its_deadline() -> None:
    request = sending(chunk(b"{"), length=2)
    with pytest.raises(HTTPError) as caught:
        await body.Bodies().read(request, limit=10, deadline_s=0.02)
    assert (caught.value.response.status, caught.value.response.code) == (408, "requestError.timeout")
    assert caught.value.response.message == "The body did not arrive in time"
    assert (request.body, request.is_read) == (b"", False)


async def test_an_incomplete_body_is_a_400() -> None:
    with pytest.raises(HTTPError) as caught:
        await body.Bodies().read(sending(chunk(b"{"), {"type": "http.disconnect"}, length=2), limit=10)
    assert caught.value.response.status == 400
    assert caught.value.response.message == "The body ended before it was complete"


@pytest.mark.parametrize(
    ("messages", "length", "content"),
    [
        ([chunk(b"ab"), chunk(b"c")], 3, b"abc"),
        ([chunk(b"ab"), chunk(b"", more=False)], None, b"ab"),
        ([chunk(b"ab", more=False)], None, b"ab"),
        ([], 0, b""),
    ],
)
async def test_a_body_ends_with_its_length_or_its_last_chunk(
    messages: list[dict[str, Any]], length: int | None, content: bytes
) -> None:
    bodies, request = body.Bodies(), sending(*messages, length=length)
    await bodies.read(request, limit=10)
    assert (request.body, request.is_read, bodies.held) == (content, True, len(content))
    bodies.release(request)
    assert (request.body, request.is_read, bodies.held) == (b"", True, 0)


async def test_a_process_that_ends_shortens_the_deadlines_of_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.gateway.state.LAST_BODY_S", 0.0)
    live = GatewayState(links=Links(None), loopback=True, public_url="")
    reading = asyncio.create_task(live.bodies.read(sending(chunk(b"{"), length=2), limit=10, deadline_s=100))
    await asyncio.sleep(0)
    live.drain()
    with pytest.raises(HTTPError, match="did not arrive in time"):
        await reading


async def test_a_reader_that_is_cancelled_is_not_late() -> None:
    bodies = body.Bodies()
    reading = asyncio.create_task(bodies.read(sending(chunk(b"{"), length=2), limit=10, deadline_s=100))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_over_the_budget_the_oldest_incomplete_body_is_refused() -> None:
    bodies = body.Bodies(budget=100)

    def slow(size: int) -> asyncio.Task[None]:
        return asyncio.create_task(bodies.read(sending(chunk(b"x" * size), length=200), limit=200))

    readings = [slow(40), slow(40)]
    await asyncio.sleep(0)
    assert bodies.held == 80
    whole = sending(chunk(b"y" * 40), length=40)
    await bodies.read(whole, limit=200)
    assert (len(whole.body), bodies.held) == (40, 80)
    with pytest.raises(HTTPError) as caught:
        await readings[0]
    assert (caught.value.response.status, caught.value.response.code) == (503, "serverError.unavailable")
    assert caught.value.response.message == "Too many request bodies are being read; nothing was accepted"
    assert (b"retry-after", b"1") in caught.value.response.headers
    readings[1].cancel()
    await asyncio.gather(*readings, return_exceptions=True)
    bodies.release(whole)
    assert bodies.held == 0


async def test_a_body_beyond_the_budget_is_refused_and_accepted_alone() -> None:
    bodies = body.Bodies(budget=100)
    first, large = sending(chunk(b"x" * 90), length=90), sending(chunk(b"z" * 150), length=150)
    await bodies.read(first, limit=200)
    with pytest.raises(HTTPError, match="Too many request bodies"):
        await bodies.read(sending(chunk(b"y" * 40), length=40), limit=200)
    bodies.release(first)
    await bodies.read(large, limit=200)
    assert (len(large.body), bodies.held) == (150, 150)
    bodies.release(large)
    assert bodies.held == 0


def test_a_bucket_refuses_calls_above_the_rate_of_this_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("iogate.gateway.calls.routing_table.time.monotonic", lambda: now[0])
    bucket = Bucket(rate=2.0, burst=2)
    for _ in range(2):
        assert bucket.wait_s() == 0
        bucket.take()
    assert bucket.wait_s() == pytest.approx(0.5)
    now[0] += 0.5
    assert bucket.wait_s() == 0
    bucket.block(3.0)
    assert bucket.wait_s() == pytest.approx(3.0)
    now[0] += 3.0
    assert bucket.wait_s() == 0
