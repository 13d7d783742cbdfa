"""Large bodies of operators, each processed in a process of its own, so that calls do not wait for them."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import socket
import subprocess
import sys
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
from iogate.supervision import handover
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


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Processes that the gateway has started."""
    found: list[subprocess.Popen[bytes]] = []
    spawn = child_process._spawn

    def noted(*given: Any) -> subprocess.Popen[bytes]:
        found.append(spawn(*given))
        return found[-1]

    monkeypatch.setattr(child_process, "_spawn", noted)
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


def _scope() -> Any:
    """Return the ASGI scope of a request for a plan by a reader, without a length."""
    return {
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

    async def send(_: Any) -> None:
        """Ignore the response of the request that does not end."""

    first = asyncio.create_task(operated.application(_scope(), receive, send))
    try:
        await arrived.wait()
        second = await operated.ask("/v1/plan", "POST", bearer("read") | JSON, b"{}")
        assert refusal(second) == (
            503,
            "serverError.unavailable",
            "An earlier request with a large body is still being executed; repeat this one later",
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


async def test_a_process_that_starts_too_slowly_is_a_503_and_ended(
    operated: World, processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(handover, "send", never)
    monkeypatch.setattr(large_requests, "START_S", 0.1)
    reply = await plan(operated, bundle=sent(large_bundle("shop/buy")))
    assert (reply.status, reply.message.startswith("The process that executes large requests")) == (503, True)
    assert processes[0].returncode is not None


async def test_a_request_that_is_cancelled_leaves_no_process(
    operated: World, processes: list[subprocess.Popen[bytes]]
) -> None:
    asking = asyncio.create_task(plan(operated, bundle=sent(large_bundle("shop/buy"))))
    await until(lambda: _any(processes))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert processes[0].returncode is not None


async def _any(found: list[Any]) -> bool:
    return bool(found)


async def test_the_process_of_a_plan_ends_when_its_client_leaves(
    operated: World, processes: list[subprocess.Popen[bytes]]
) -> None:
    body = json.dumps({"bundle": sent(wide_bundle(200_000))}).encode()
    parts = [body]

    async def receive() -> Any:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        await until(lambda: _any(processes))
        return {"type": "http.disconnect"}

    sent_messages: list[Any] = []

    async def send(message: Any) -> None:
        sent_messages.append(message)

    await operated.application(_scope(), receive, send)
    assert processes[0].returncode == -signal.SIGKILL
    assert sent_messages[0]["status"] == 408


async def test_large_requests_take_no_room_from_calls(operated: World) -> None:
    operators = operated.live.operators
    assert operators is not None
    lock = operators._large_requests._kinds[False]
    await lock.acquire()
    body = json.dumps({"bundle": sent(large_bundle("shop/buy"))}).encode()
    asking = asyncio.create_task(operated.ask("/v1/plan", "POST", bearer("read") | JSON, body))
    await until(lambda: _any(list(lock._waiters or ())))
    assert (operated.live.bodies.held, operated.live.operator_bodies.held) == (0, len(body))
    lock.release()
    assert (await asking).status == 200
    assert operated.live.operator_bodies.held == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux chooses processes by a score")
async def test_the_process_ends_first_if_memory_runs_out() -> None:
    """Also as another user than root, who may not write the score once the settings are handed over."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = await child_process.start(
            "iogate.gateway.operators.large_requests.request_process",
            stderr=None,
            environment={handover.SOCKET_FD: str(theirs.fileno())},
            files=[theirs.fileno()],
        )
        score = Path(f"/proc/{process.child.pid}/oom_score_adj")

        async def is_first() -> bool:
            return await asyncio.to_thread(score.read_text) == "1000\n"

        await until(is_first)
        process.child.kill()
        await process.end()


async def test_a_schema_of_a_wrong_form_is_refused(operated: World) -> None:
    found = bundle("shop/buy")
    schema = {"allOf": 5, "properties": [], "dependentRequired": {"a": 1}}
    apis = {
        name: msgspec.structs.replace(each, input_schema=schema) for name, each in found.revision.apis.items()
    }
    wrong = msgspec.structs.replace(found, revision=msgspec.structs.replace(found.revision, apis=apis))
    reply = await plan(operated, bundle=sent(wrong))
    assert (reply.status, reply.code) == (400, "requestError.invalidParams"), reply.body


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
    inner = ",".join(f'"{number}":1' for number in range(700_000))
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
                content = body()
                for _ in range(5):  # a stall of this machine may take the time of the calls
                    costly = asyncio.create_task(
                        client.post("/v1/plan", headers=bearer("read") | JSON, content=content)
                    )
                    accepted = 0
                    while not costly.done():
                        assert await accepts(client)
                        accepted += 1
                        await asyncio.sleep(0.01)
                    reply = await costly
                    assert reply.status_code == status, reply.text[:500]
                    if accepted > 20:
                        break
        finally:
            gateway.stop()
    assert accepted > 20
