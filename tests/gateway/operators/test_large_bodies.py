"""Large bodies of operators, each processed in a process of its own, so that calls do not wait for them."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from iogate.gateway import child_process
from iogate.gateway.operators.large_requests import large_requests
from iogate.gateway.operators.large_requests.large_requests import LARGE_BYTES
from iogate.reconcile import bundle_codec
from iogate.store.store import Store
from tests.gateway.driver import Reply, World, accepts, announced, listening, spawn, until
from tests.gateway.operators.conftest import OPERATORS, bearer, refusal
from tests.gateway.operators.test_revision_routes import bundle, plan, publish, sent

JSON = {"content-type": "application/json"}
COSTLY = "The body takes too much time or memory to process; nothing was changed"
LARGE = "A" * LARGE_BYTES
"""Text that makes a body large."""


def large_bundle(*names: str) -> Any:
    """A bundle whose APIs have large descriptions."""
    found = bundle(*names)
    apis = {
        name: msgspec.structs.replace(each, description=LARGE) for name, each in found.revision.apis.items()
    }
    return msgspec.structs.replace(found, revision=msgspec.structs.replace(found.revision, apis=apis))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules that the gateway has started as processes."""
    found: list[str] = []
    start = child_process.start

    async def noted(module: str, **given: Any) -> Any:
        found.append(module)
        return await start(module, **given)

    monkeypatch.setattr(child_process, "start", noted)
    return found


async def test_a_large_bundle_is_planned_and_published_in_processes(
    operated: World, started: list[str]
) -> None:
    small = await plan(operated, bundle=sent(bundle("shop/buy")))
    assert (small.status, started) == (200, [])
    planned = await plan(operated, bundle=sent(large_bundle("shop/buy")))
    assert (planned.status, planned.json["summary"]["add"]) == (200, 2), planned.body
    published = await publish(operated, large_bundle("shop/buy"), 0)
    assert (published.status, published.json["revision"]) == (200, 1), published.body
    assert len(started) == 2
    again = await plan(operated, bundle=sent(large_bundle("shop/buy")))
    assert (again.json["base"]["revision"], again.json["changes"]) == (1, [])
    entries = (await operated.ask("/v1/activity", headers=bearer("read"))).json["activity"]
    assert [(each["operator"], each["action"], each["revision"]) for each in entries] == [
        ("adminer", "revisions.publish", 1)
    ]


async def test_a_repeated_large_publication_is_made_once(operated: World) -> None:
    body = json.dumps(
        {
            "bundle": json.loads(bundle_codec.encode(large_bundle("shop/buy"))),
            "expected": 0,
            "wait": 0,
            "reason": "a test",
            "with_plan": False,
        }
    ).encode()
    headers = bearer("admin", idempotency_key="one") | JSON

    async def send() -> Reply:
        return await operated.ask("/v1/revisions", "POST", headers, body)

    first, second = await send(), await send()
    assert [(each.status, each.json["revision"]) for each in (first, second)] == [(200, 1), (200, 1)]
    assert second.headers["idempotent-replayed"] == "true"


async def test_errors_in_large_bodies_are_those_of_small_ones(operated: World) -> None:
    broken = {**sent(bundle("shop/buy")), "contents": {"0" * 64: LARGE}}
    refused = await plan(operated, bundle=broken)
    assert (refused.status, "has another digest" in refused.message) == (400, True)
    unknown = await plan(operated, bundle={}, lenght=LARGE)
    assert refusal(unknown)[::2] == (
        400,
        'Unknown member of the body "lenght"; expected bundle, restores, select, keep_orphans, cases and '
        "project",
    )
    reply = await operated.ask("/v1/plan", "POST", bearer("read") | JSON, b'{"bundle": ' + LARGE.encode())
    assert refusal(reply)[:2] == (400, "requestError.invalidParams")
    assert reply.message.startswith("The body is not JSON: ")
    stale = await publish(operated, large_bundle("shop/buy"), 7)
    assert refusal(stale)[:2] == (412, "requestError.preconditionFailed")


async def test_an_operator_has_one_large_request_at_a_time(
    operated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_requests, "WAIT_S", 0.05)
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        arrived.set()
        await asyncio.Event().wait()

    parts = endless()

    async def receive() -> Any:
        return {"type": "http.request", "body": await anext(parts), "more_body": True}

    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/plan",
        "raw_path": b"/v1/plan",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in (bearer("read") | JSON).items()],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 50_000),
        "state": {},
    }

    async def send(_: Any) -> None:
        """Ignore the response of the request that does not end."""

    first = asyncio.create_task(operated.application(scope, receive, send))
    try:
        await arrived.wait()
        second = await operated.ask("/v1/plan", "POST", bearer("read") | JSON, b"{}")
        assert refusal(second) == (
            503,
            "serverError.unavailable",
            "An earlier request with a body over 64 KiB is still being executed; nothing was changed: repeat "
            "the request later",
        )
        other = await operated.ask("/v1/plan", "POST", bearer("admin") | JSON, b"{}")
        assert other.status == 400
        told = bearer("read", content_length="2") | JSON
        assert (await operated.ask("/v1/plan", "POST", told, b"{}")).status == 400
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_process_that_cannot_be_started_is_a_503(
    operated: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spawn(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(child_process, "_spawn", spawn)
    reply = await plan(operated, bundle=sent(large_bundle("shop/buy")))
    assert refusal(reply) == (
        503,
        "serverError.unavailable",
        "The process that executes large requests cannot be started; nothing was changed: repeat the request "
        "later",
    )
    assert "cannot start the process of a large request: [Errno 11]" in caplog.text


def wide_bundle(properties: int) -> Any:
    """A bundle with an API whose schema has many properties."""
    schema = {"properties": {f"p{number}": {"type": "string"} for number in range(properties)}}
    found = bundle("shop/buy")
    apis = {
        name: msgspec.structs.replace(each, input_schema=schema) for name, each in found.revision.apis.items()
    }
    return msgspec.structs.replace(found, revision=msgspec.structs.replace(found.revision, apis=apis))


@pytest.mark.parametrize("limits", [{"CPU_S": 1}, {"MEMORY_BYTES": 16 * 1024 * 1024, "MEMORY_PER_BYTE": 0}])
async def test_a_body_that_is_too_costly_is_refused(
    operated: World, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(large_requests, name, value)
    reply = await plan(operated, bundle=sent(wide_bundle(200_000)))
    assert refusal(reply) == (400, "requestError.invalidParams", COSTLY)


def many_keys() -> bytes:
    """A body with more keys than a gateway can decode in a second."""
    inner = ",".join(f'"{number}":1' for number in range(1_400_000))
    return f'{{"bundle": {{"digest": {{{inner}}}}}}}'.encode()


def much_text() -> bytes:
    """A body with a valid bundle and a description of 14 MB."""
    found = bundle("shop/buy")
    apis = {
        name: msgspec.structs.replace(each, description="<a> " * 3_500_000)
        for name, each in found.revision.apis.items()
    }
    changed = msgspec.structs.replace(found, revision=msgspec.structs.replace(found.revision, apis=apis))
    return b'{"bundle": ' + bundle_codec.encode(changed) + b"}"


@pytest.mark.parametrize(("body", "status"), [(many_keys, 400), (much_text, 200)])
async def test_calls_do_not_wait_for_a_costly_body_of_a_reader(
    store: Store, redis_url: str, tmp_path: Path, body: Callable[[], bytes], status: int
) -> None:
    await store.revisions.publish(bundle("a/b"))
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, operators=json.dumps(OPERATORS))
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=90) as client:
                await until(lambda: announced(store, gateway))
                await until(lambda: accepts(client))
                costly = asyncio.create_task(
                    client.post("/v1/plan", headers=bearer("read") | JSON, content=body())
                )
                accepted = 0
                while not costly.done():
                    assert await accepts(client)
                    accepted += 1
                    await asyncio.sleep(0.01)
                reply = await costly
        finally:
            gateway.stop()
    assert (reply.status_code, accepted > 20) == (status, True), (reply.text[:500], accepted)
