"""Each call and event gets one response; a refusal is counted, logged and sent after the body is drained."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from iogate.gateway.authentication.run_links import Links
from iogate.gateway.http import responses
from iogate.gateway.http.exchange import Exchange
from iogate.gateway.http.request import Request
from iogate.gateway.http.responses import CLOSE, ErrorResponse, HTTPError, Response
from iogate.gateway.observability.metrics import Counts
from iogate.gateway.state import GatewayState
from tests.gateway.driver import request

CHUNKS = [b"123", b"456"]
LENGTH = (b"content-length", b"6")
REFUSAL = ErrorResponse(429, "requestError.tooManyRequests", "too many")
CLOSING = ErrorResponse(408, "requestError.timeout", "too late", [CLOSE])


@pytest.fixture
def live() -> GatewayState:
    return GatewayState(links=Links(None), loopback=True, public_url="")


async def exchanged(
    live: GatewayState, asked: Request, outcome: Response | Exception, counts: Counts
) -> list[Any]:
    """The messages that are sent if the handler of a request ends so."""
    messages: list[Any] = []

    async def handle() -> Response:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def send(message: Any) -> None:
        messages.append(message)

    await Exchange(live, failure="call.failed").respond(asked, send, handle(), counts, "a/b")
    return messages


@pytest.mark.parametrize("outcome", [REFUSAL, HTTPError(REFUSAL)])
async def test_a_refusal_is_sent_counted_and_logged_once(
    live: GatewayState, outcome: Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iogate.gateway.http")
    counts = Counts()
    start, rest = await exchanged(live, request(path="/v1/x"), outcome, counts)
    assert (start["status"], rest["body"]) == (429, REFUSAL.content)
    assert counts.refused == {"requestError.tooManyRequests": 1}
    (record,) = caplog.records
    facts = vars(record)
    assert record.getMessage() == "POST /v1/x 429"
    assert {name: facts[name] for name in ("action", "code", "api", "address")} == {
        "action": "call.refused",
        "code": "requestError.tooManyRequests",
        "api": "a/b",
        "address": "127.0.0.1",
    }
    assert facts["ms"] >= 0


async def test_a_defect_is_a_500_and_logged_with_its_action(
    live: GatewayState, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    start, _ = await exchanged(live, request(path="/v1/x"), KeyError("defect"), counts)
    assert (start["status"], counts.refused) == (500, {responses.CRASHED.code: 1})
    (failure,) = [record for record in caplog.records if record.exc_info]
    assert (failure.getMessage(), vars(failure)["action"]) == ("POST /v1/x failed", "call.failed")


@pytest.mark.parametrize(
    ("asked", "outcome", "drained"),
    [
        (request(LENGTH, chunks=CHUNKS), REFUSAL, True),
        (request((b"transfer-encoding", b"chunked"), chunks=[*CHUNKS, b""]), REFUSAL, True),
        (request(LENGTH, chunks=CHUNKS), HTTPError(CLOSING), False),
        (request(LENGTH, (b"expect", b"100-continue"), chunks=CHUNKS), REFUSAL, False),
        (request(LENGTH, method="GET", chunks=CHUNKS), REFUSAL, False),
        (request(LENGTH, chunks=CHUNKS), Response(204, b""), False),
    ],
)
async def test_the_unread_body_of_a_refused_request_is_drained(
    live: GatewayState, monkeypatch: pytest.MonkeyPatch, asked: Request, outcome: Any, *, drained: bool
) -> None:
    monkeypatch.setattr("iogate.gateway.http.body.DRAIN_S", 0.1)
    received = 0
    receive = asked.receive

    async def counting() -> Any:
        nonlocal received
        message = await receive()
        received += len(message["body"])
        return message

    asked.receive = counting
    await exchanged(live, asked, outcome, Counts())
    assert received == (6 if drained else 0)


async def test_a_body_that_was_read_is_not_drained(live: GatewayState) -> None:
    asked = request(LENGTH, chunks=CHUNKS)
    await live.bodies.read(asked, limit=10)
    live.bodies.release(asked)

    async def fails() -> Any:
        raise AssertionError

    asked.receive = fails
    (start, _) = await exchanged(live, asked, REFUSAL, Counts())
    assert start["status"] == 429


@pytest.mark.parametrize("draining", [False, True])
async def test_a_process_that_drains_closes_the_connection(live: GatewayState, *, draining: bool) -> None:
    if draining:
        live.drain()
    start, _ = await exchanged(live, request(), Response(202, b"{}"), Counts())
    assert (CLOSE in start["headers"]) == draining
