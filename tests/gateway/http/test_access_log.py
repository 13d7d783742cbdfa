"""Each refused request is logged in one line without secrets; a flood in few lines."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from iogate.gateway.http.access_log import AccessLog, Level
from iogate.gateway.operators.large_requests.large_requests import LARGE_BYTES
from iogate.logs import Throttle
from iogate.store.store import Store
from tests.gateway.driver import TOKEN, World, api, build, opened
from tests.gateway.operators.conftest import OPERATORS, bearer


@pytest.fixture
async def logged(world: World, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    await world.publish(api("t/t", TOKEN))
    caplog.set_level(logging.INFO, "iogate.gateway.http.access_log")
    return caplog


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "iogate.gateway.http.access_log"]


def at(world: World, level: Level) -> World:
    world.live.access_log = AccessLog(level)
    world.application = build(world.live, world.refresher)
    return world


async def test_each_refused_request_is_logged_with_its_reason(
    world: World, logged: pytest.LogCaptureFixture
) -> None:
    await world.call("t/t", token="s3cret")
    await world.call("t/t", b"{", token="123456")
    await world.call("t/t", token="123456")
    await world.ask("/v1/runs/1?sig=s3cret")
    await world.ask("/nothing/" + "s3cret" * 6 + "?token=s3cret")
    await world.ask("/health/live", headers={"host": "evil.example"})
    found = [
        (line.getMessage(), line.action, line.address, getattr(line, "code", "")) for line in lines(logged)
    ]
    refused = "call.refused", "127.0.0.1"
    assert found == [
        ("POST /v1/api/t/t/async 401", *refused, "requestError.unauthorized"),
        ("POST /v1/api/t/t/async 400", *refused, "requestError.invalidParams"),
        ("GET /v1/runs/1 401", *refused, "requestError.unauthorized"),
        ("GET /nothing/… 404", *refused, "requestError.notFound"),
        ("GET /health/live 421", *refused, "requestError.misdirected"),
    ]
    assert lines(logged)[0].api == "t/t"
    assert "s3cret" not in "".join(str(vars(line)) for line in lines(logged))


async def test_a_refused_request_of_an_operator_is_logged_with_the_operator(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iogate.gateway.http.access_log")
    large = b'{"bundle": "' + b"x" * LARGE_BYTES + b'"}'
    async with opened(store, loopback=False, operators=OPERATORS) as world:
        for path, headers, body in (
            ("/v1/prune", bearer("read"), b"{}"),
            ("/v1/plan", bearer("read"), b"{}"),
            ("/v1/plan", bearer("read", content_type="application/json"), large),
            ("/v1/plan", {"authorization": "Bearer wrong"}, b"{}"),
        ):
            await world.ask(path, "POST", headers, body)
    found = [
        (line.getMessage(), getattr(line, "code", ""), getattr(line, "operator", ""))
        for line in lines(caplog)
    ]
    assert found == [
        ("POST /v1/prune 403", "requestError.forbidden", "reader"),
        ("POST /v1/plan 400", "requestError.invalidParams", "reader"),
        ("POST /v1/plan 400", "requestError.invalidParams", "reader"),
        ("POST /v1/plan 401", "requestError.unauthorized", ""),
    ]


async def test_the_setting_selects_the_requests_that_are_logged(
    world: World, logged: pytest.LogCaptureFixture
) -> None:
    await at(world, "all").call("t/t", token="123456")
    await world.ask("/health/live")
    assert [line.getMessage() for line in lines(logged)] == [
        "POST /v1/api/t/t/async 202",
        "GET /health/live 200",
    ]
    logged.clear()
    await at(world, "off").call("t/t", token="wrong")
    assert lines(logged) == []


async def test_log_lines_of_a_flood_of_refused_requests_are_limited(
    world: World, logged: pytest.LogCaptureFixture
) -> None:
    for _ in range(200):
        await world.call("t/t", token="wrong")
    assert 50 <= len(lines(logged)) < 150


def test_lines_that_are_left_out_are_counted() -> None:
    now = 0.0
    throttle = Throttle(burst=2, per_s=1.0, monotonic=lambda: now)
    assert [throttle.passes() for _ in range(5)] == [True, True, False, False, False]
    now = 1.0
    assert throttle.passes()
    assert (throttle.left_out(), throttle.left_out()) == (3, 0)
