"""Every route responds to every failure in the common form of errors."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from iogate.compiler.revision import Limits
from iogate.gateway.http.responses import HTTPError
from iogate.store.maintenance.process_presence import Process
from tests.gateway.driver import TOKEN, USER, Reply, World, api

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PURGE", "x"]
PATHS = [
    "/",
    "/v1",
    "/v1/",
    "/v1/runs",
    "/v1/runs/",
    "/v1/runs/1",
    "/v1/runs/1/",
    "/v1/runs/1/events",
    "/v1/runs/1/cancel",
    "/v1/runs/1/none",
    "/v1/api",
    "/v1/api/a/b/async",
    "/v1/api/a/b/sync",
    "/v1/api/none/none/async",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/schema",
    "/favicon.ico",
    "/%00",
    "/ä",
    "/v1/events",
    "/..",
    "/a" * 2000,
]


def one_shape(reply: Reply) -> None:
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
    whole = json.loads(reply.body)
    assert set(whole) == {"response"}
    assert set(whole["response"]) == {"error"}
    error = whole["response"]["error"]
    assert set(error) == {"code", "message"}
    assert error["code"].startswith("requestError." if reply.status < 500 else "serverError.")
    assert len(error["message"]) > 5


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30])
async def test_every_method_on_every_path(world: World, path: str) -> None:
    await world.publish(api("a/b", TOKEN))
    for method in METHODS:
        reply = await world.ask(path, method, body=b"{}")
        assert reply.status < 500, method
        if reply.status >= 400 and method != "HEAD":
            one_shape(reply)
        if reply.status == 405:
            assert reply.headers["allow"]
        # The description has an entity tag, by which a client asks whether its copy is still true.
        tagged = path == "/openapi.json" and reply.status == 200
        assert reply.headers["cache-control"] == ("no-cache" if tagged else "no-store"), method


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/openapi.json"])
async def test_head_is_get_without_its_body(world: World, path: str) -> None:
    await world.publish(api("a/b"))
    got, headed = await world.ask(path), await world.ask(path, "HEAD")
    assert (got.status, headed.status) == (200, 200)
    assert got.headers["content-type"] == headed.headers["content-type"]


@pytest.mark.parametrize("host", ["a b", "", "x" * 300, "a/b"])
async def test_an_invalid_host_is_refused_in_the_common_form_of_errors(world: World, host: str) -> None:
    await world.publish(api("a/b"))
    reply = await world.ask("/v1/api/a/b/async", "POST", {"host": host}, b"{}")
    if reply.status != 202:
        assert reply.status == 421
        one_shape(reply)


@pytest.mark.parametrize("path", ["/v1/runs/1", "/v1/runs/1/events", "/v1/runs/1/cancel", "/health/ready"])
async def test_without_the_store_routes_that_need_it_are_a_503(world: World, path: str) -> None:
    await world.publish(api("a/b"))
    world.live.store = None
    reply = await world.ask(path, "POST" if path.endswith("cancel") else "GET")
    assert (reply.status, reply.code) == (503, "serverError.unavailable")
    assert reply.headers["retry-after"] == "1"
    one_shape(reply)


async def test_without_the_store_other_routes_respond(world: World) -> None:
    await world.publish(api("a/b"))
    world.live.store = None
    for path in ("/health/live", "/metrics", "/openapi.json"):
        assert (await world.ask(path)).status == 200


async def test_without_a_revision_the_gateway_is_not_ready(world: World) -> None:
    for path in ("/health/ready", "/openapi.json", "/v1/api/a/b/async"):
        reply = await world.ask(path)
        assert (reply.status, reply.message) == (503, "No revision is loaded yet")
        one_shape(reply)


async def test_a_defect_is_a_500_without_details(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await world.publish(api("a/b"))

    async def broken(_: str) -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(world.store.runs, "api_of", broken)
    monkeypatch.setattr(world.live.intake, "accept", broken)
    for path, method in (("/v1/runs/1", "GET"), ("/v1/api/a/b/async", "POST")):
        reply = await world.ask(path, method)
        assert (reply.status, reply.code) == (500, "serverError.internal")
        assert "secret" not in reply.message
        one_shape(reply)
    assert caplog.text.count("ZeroDivisionError: secret detail") == 2


async def test_metrics_count_accepted_and_refused_calls_by_api(world: World) -> None:
    await world.publish(api("a/b", limits=Limits(body=2)))
    worker = Process(kind="worker", id="w", pid=1, host="h", started_at_ms=0)
    await world.store.presence.announce(worker)
    await world.call("a/b")
    await world.call("a/b", b'{"a":1}')
    first = await world.call("a/b", idempotency_key="k")
    assert (await world.call("a/b", idempotency_key="k")).uid == first.uid
    reply = await world.ask("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = reply.body.decode()
    for line in (
        'iogate_calls_accepted_total{api="a/b"} 3.0',
        'iogate_calls_replayed_total{api="a/b"} 1.0',
        'iogate_calls_refused_total{api="a/b",code="requestError.tooLarge"} 1.0',
        'iogate_accept_seconds_count{api="a/b"} 3.0',
        'iogate_runs{status="pending"} 2.0',
        "iogate_queue_depth 2.0",
        "iogate_workers 1.0",
        "iogate_revision 1.0",
    ):
        assert line in text.splitlines()
    assert re.search(r"(?m)^iogate_store_memory_bytes [1-9]", text)


async def test_openapi_describes_the_live_revision_without_secrets(world: World) -> None:
    schema = {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}
    await world.publish(
        api("a/b", TOKEN, input_schema=schema, description="Take an order"), api("u/u", USER, verbs=("POST",))
    )
    reply = await world.ask("/openapi.json")
    found = json.loads(reply.body)
    assert found["openapi"] == "3.1.0"
    assert found["servers"] == [{"url": "http://gateway.test"}]
    assert set(found["paths"]["/v1/api/a/b/async"]) == {"get", "post"}
    assert set(found["paths"]["/v1/api/u/u/sync"]) == {"post"}
    post = found["paths"]["/v1/api/a/b/async"]["post"]
    assert post["summary"] == "Take an order"
    sent = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert found["components"]["schemas"][sent.removeprefix("#/components/schemas/")] == schema
    (sku, _, _) = found["paths"]["/v1/api/a/b/async"]["get"]["parameters"]
    assert (sku["name"], sku["in"], sku["required"]) == ("sku", "query", True)
    assert "sha256" not in reply.body.decode()
    assert "argon2" not in reply.body.decode()
    await world.publish(api("c/d"))
    assert set(json.loads((await world.ask("/openapi.json")).body)["paths"]) >= {"/v1/api/c/d/async"}


def test_http_error_has_the_message_of_its_response() -> None:
    from iogate.gateway.http.responses import NO_RUN

    assert str(HTTPError(NO_RUN)) == NO_RUN.message
