"""Bodies are read under a limit and a deadline; calls above the rate are refused early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iogate.gateway.authentication.links import Links
from iogate.gateway.calls.routes import Bucket
from iogate.gateway.http import body
from iogate.gateway.http.responses import HTTPError
from iogate.gateway.live import Live


def sending(*messages: dict[str, Any]) -> Any:
    left = list(messages)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        return await asyncio.Event().wait()

    return receive


def chunk(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_a_slow_body_is_a_408_at_its_deadline() -> None:
    with pytest.raises(HTTPError) as caught:
        await body.Bodies().read(sending(chunk(b"{")), limit=10, length=2, deadline_s=0.02)
    assert (caught.value.response.status, caught.value.response.code) == (408, "requestError.timeout")
    assert caught.value.response.message == "The body did not arrive in time"


async def test_an_incomplete_body_is_a_400() -> None:
    with pytest.raises(HTTPError) as caught:
        await body.Bodies().read(sending(chunk(b"{"), {"type": "http.disconnect"}), limit=10, length=2)
    assert caught.value.response.status == 400
    assert caught.value.response.message == "The body ended before it was complete"


async def test_a_body_ends_with_its_length_or_its_last_chunk() -> None:
    whole = await body.Bodies().read(sending(chunk(b"ab"), chunk(b"c")), limit=10, length=3)
    assert whole == b"abc"
    parts = sending(chunk(b"ab"), chunk(b"", more=False))
    assert await body.Bodies().read(parts, limit=10, length=None) == b"ab"
    assert await body.Bodies().read(sending(), limit=10, length=0) == b""


async def test_a_process_that_ends_shortens_the_deadlines_of_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.gateway.live.LAST_BODY_S", 0.0)
    live = Live(links=Links(None), loopback=True, public_url="")
    reading = asyncio.create_task(live.bodies.read(sending(chunk(b"{")), limit=10, length=2, deadline_s=100))
    await asyncio.sleep(0)
    live.drain()
    with pytest.raises(HTTPError, match="did not arrive in time"):
        await reading


async def test_a_reader_that_is_cancelled_is_not_late() -> None:
    bodies = body.Bodies()
    reading = asyncio.create_task(bodies.read(sending(chunk(b"{")), limit=10, length=2, deadline_s=100))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_over_the_budget_the_oldest_incomplete_body_is_refused() -> None:
    bodies = body.Bodies(budget=100)

    def slow(size: int) -> asyncio.Task[bytes]:
        return asyncio.create_task(bodies.read(sending(chunk(b"x" * size)), limit=200, length=200))

    readings = [slow(40), slow(40)]
    await asyncio.sleep(0)
    assert bodies.held == 80
    whole = await bodies.read(sending(chunk(b"y" * 40)), limit=200, length=40)
    assert (len(whole), bodies.held) == (40, 80)
    with pytest.raises(HTTPError) as caught:
        await readings[0]
    assert (caught.value.response.status, caught.value.response.code) == (503, "serverError.unavailable")
    assert caught.value.response.message == "Too many request bodies are being read; nothing was accepted"
    assert (b"retry-after", b"1") in caught.value.response.headers
    readings[1].cancel()
    await asyncio.gather(*readings, return_exceptions=True)
    bodies.release(len(whole))
    assert bodies.held == 0


async def test_a_body_beyond_the_budget_is_refused_and_accepted_alone() -> None:
    bodies = body.Bodies(budget=100)
    first = await bodies.read(sending(chunk(b"x" * 90)), limit=200, length=90)
    with pytest.raises(HTTPError, match="Too many request bodies"):
        await bodies.read(sending(chunk(b"y" * 40)), limit=200, length=40)
    bodies.release(len(first))
    large = await bodies.read(sending(chunk(b"z" * 150)), limit=200, length=150)
    bodies.release(len(large))
    assert bodies.held == 0


def test_a_bucket_refuses_calls_above_the_rate_of_this_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("iogate.gateway.calls.routes.time.monotonic", lambda: now[0])
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
