"""Real gateway processes over real HTTP: bad input, a slow client, a lost store, a signal, a kill."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from iogate.compiler.revision import Files, Limits
from iogate.security.secrets import generate_token, hash_token
from iogate.store.embedded.server import EmbeddedServer, temporary_server
from iogate.store.store import Store
from tests.gateway.driver import TOKEN, Gateway, accepts, api, connected, listening, publish, spawn, until
from tests.keys import RING

SCHEMA = {"type": "object", "properties": {"sku": {"type": "string"}}}
APIS = (
    api("a/b"),
    api("t/t", TOKEN, input_schema=SCHEMA),
    api("big/x", limits=Limits(body=64 * 1024 * 1024)),
    api("with/files", files=Files(size=1024, total=1024, count=1)),
)


@pytest.fixture(scope="module")
def socket_of_gateways() -> Iterator[socket.socket]:
    with listening() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(
    redis_servers: dict[str, EmbeddedServer],
    socket_of_gateways: socket.socket,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """One process for the tests that do not hurt it; each test publishes anew."""
    from tests.conftest import KINDS

    url = redis_servers[next(iter(KINDS))].url
    started = spawn(url, socket_of_gateways, tmp_path_factory.mktemp("gateway"))
    yield started
    started.stop()


@pytest.fixture
async def client(gateway: Gateway, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    number = await publish(store, *APIS)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as opened:

        async def taken() -> bool:
            try:
                reply = await opened.post("/v1/api/a/b/async")
            except httpx.TransportError:
                return False
            return reply.status_code == 202 and reply.headers["x-iogate-revision"] == str(number)

        await until(taken)
        yield opened


async def exchange(port: int, data: bytes, timeout_s: float = 60) -> bytes:
    """Send bytes as they are, and read until the server closes or answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(timeout_s):
            return await reader.read(65536)
    finally:
        writer.close()


async def test_the_calls_of_the_contract_over_the_wire(client: httpx.AsyncClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    reply = await client.post("/v1/api/a/b/async", content=b"{}", headers=form)
    uid = reply.json()["response"]["uid"]
    assert (reply.status_code, reply.text) == (202, f'{{"response":{{"uid":"{uid}"}}}}')
    assert reply.headers["cache-control"] == "no-store"
    reply = await client.get("/v1/api/t/t/async")
    assert reply.text == (
        '{"response":{"error":{"code":"requestError.invalidParams","message":"Token is required"}}}'
    )
    assert (await client.get("/v1/api/t/t/async", headers={"token": "123456"})).status_code == 202


async def test_uids_rise_with_time_and_never_repeat(client: httpx.AsyncClient) -> None:
    async def one() -> str:
        return str((await client.post("/v1/api/a/b/async")).json()["response"]["uid"])

    in_a_row = [int(await one()) for _ in range(20)]
    assert in_a_row == sorted(in_a_row)
    at_once = await asyncio.gather(*(one() for _ in range(200)))
    assert len(set(at_once)) == 200
    assert all(uid.isdigit() and len(uid) <= 19 for uid in at_once)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 900_000,
        b"{",
        b'{"a":1,"a":2}',
        b"NaN",
        b'"\xff"',
        b"1" * 100_000,
        b'{"sku":1}',
    ],
)
async def test_bad_json_is_a_400_and_the_process_lives(
    client: httpx.AsyncClient, gateway: Gateway, store: Store, content: bytes
) -> None:
    before = sum((await store.runs.counts()).values())
    reply = await client.post("/v1/api/t/t/async", content=content, headers={"token": "123456"})
    assert (reply.status_code, reply.json()["response"]["error"]["code"]) == (
        400,
        "requestError.invalidParams",
    )
    assert gateway.process.poll() is None
    assert sum((await store.runs.counts()).values()) == before


async def test_a_body_over_the_limit_is_a_413_before_it_is_read(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 65536

    head = b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n"
    assert b"413" in (await exchange(client.base_url.port or 0, head)).split(b"\r\n")[0]
    try:
        reply = await client.post("/v1/api/a/b/async", content=chunks())
    except httpx.TransportError:
        return  # the answer came and the connection went while we were still sending
    assert reply.status_code == 413


async def test_large_headers_are_a_4xx(client: httpx.AsyncClient, gateway: Gateway) -> None:
    for size in (40_000, 65_536, 200_000, 1_000_000):
        head = b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nx: %s\r\n\r\n" % (
            b"y" * size
        )
        try:
            response = await exchange(gateway.port, head)
        except ConnectionError:
            continue  # closed in our face, which is an answer too
        assert response.startswith(b"HTTP/1.1 4") or not response
    assert (await client.post("/v1/api/a/b/async")).status_code == 202


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/api/a/b/async\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n{}",
        b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"nonsense\r\n\r\n",
        b"GET /v1/api/a/b/async HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET /v1/api/a/b/async HTTP/1.1\r\n\x00: x\r\n\r\n",
        b"POST http://[ HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
async def test_broken_http_starts_nothing(
    client: httpx.AsyncClient, gateway: Gateway, store: Store, data: bytes
) -> None:
    before = sum((await store.runs.counts()).values())
    response = await exchange(gateway.port, data)
    assert response == b"" or response.startswith(b"HTTP/1.1 4")
    assert sum((await store.runs.counts()).values()) == before


async def test_null_bytes_and_encodings_in_a_path_are_a_404(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    for path in (
        b"/v1/api/a%00/b/async",
        b"/v1/api/%61/b/async",
        b"/v1/api/a/b/async/",
        b"//v1/api/a/b/async",
    ):
        response = await exchange(
            gateway.port, b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n" % path
        )
        assert response.startswith(b"HTTP/1.1 404")


async def test_head_responds_without_a_body(client: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json"):
        reply = await client.head(path)
        assert (reply.status_code, reply.content) == (200, b"")


async def test_events_stream_over_the_wire_and_end(client: httpx.AsyncClient, store: Store) -> None:
    uid = (await client.post("/v1/api/a/b/async")).json()["response"]["uid"]
    asked = asyncio.create_task(client.get(f"/v1/runs/{uid}/events"))
    await store.runs.cancel(uid, "enough")
    reply = await asked
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert f'event: end\ndata: {{"uid":"{uid}","status":"cancelled"' in reply.text


async def test_the_process_survives_a_client_that_disconnects(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
    assert (await client.post("/v1/api/a/b/async")).status_code == 202
    assert "Traceback" not in gateway.log.read_text()


async def test_a_waiting_large_request_of_a_disconnected_client_is_dropped(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    slow = b"[" + b",".join([b"9e-324"] * 10_000) + b"]"
    waiting = b'["' + b"x" * 50_000 + b'"]'
    head = b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(waiting)

    async def dropped() -> bool:
        validated = asyncio.create_task(client.post("/v1/api/a/b/async", content=slow))
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + waiting)
        await writer.drain()
        done, _ = await asyncio.wait({validated}, timeout=0.1)
        writer.transport.abort()
        assert (await validated).status_code == 202
        return not done and "/v1/api/a/b/async 408 " in gateway.log.read_text()

    await until(dropped)


@pytest.fixture
def own_redis() -> Iterator[EmbeddedServer]:
    """A server that a test may stop."""
    with temporary_server() as found:
        yield found


async def outage(
    store_pid: int, client: httpx.AsyncClient, uid: str, token: str
) -> tuple[list[float], list[str]]:
    """Stop a store, and send requests; return the times until their 503s, and the messages."""
    took: list[float] = []
    messages: list[str] = []

    async def refused(method: str, path: str, **given: Any) -> None:
        started = time.monotonic()
        reply = await client.request(method, path, **given)
        took.append(time.monotonic() - started)
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1"), path
        messages.append(reply.json()["response"]["error"]["message"])

    of_operator = {"authorization": f"Bearer {token}"}
    os.kill(store_pid, signal.SIGSTOP)
    try:
        await refused("POST", "/v1/api/a/b/async")
        await refused("GET", f"/v1/runs/{uid}")
        await refused("POST", f"/v1/runs/{uid}/cancel")
        await refused("GET", f"/v1/runs/{uid}/events")
        await refused("GET", "/health/ready")
        await refused("GET", "/v1/apis", headers=of_operator)
        await refused("POST", f"/v1/runs/{uid}/suspend", headers=of_operator, json={"reason": "it hangs"})
        # One limit holds for the whole call, not for each attempt at each chunk.
        await refused("POST", "/v1/api/with/files/async", files={"f": b"x"})
        assert (await client.get("/health/live")).status_code == 200
    finally:
        os.kill(store_pid, signal.SIGCONT)
    return took, messages[:3] + messages[5:]


async def test_a_lost_store_is_a_503_within_a_second_and_comes_back(
    own_redis: EmbeddedServer, tmp_path: Path
) -> None:
    token = generate_token()
    operators = json.dumps({"ada": {"token": {"hash": hash_token(token)}, "role": "operate"}})
    expected = [
        "The store did not answer in time, so that the call may or may not have been accepted; "
        "repeat it with the same idempotency key",
        *["The store did not answer in time; repeat the request"] * 4,
        "The store is out of reach; nothing was accepted",
    ]
    with listening() as on:
        gateway = spawn(own_redis.url, on, tmp_path, patient=False, operators=operators)
        store = Store(own_redis.url, client_name="test", keyring=RING)
        try:
            await publish(store, *APIS)
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:

                async def called() -> str | None:
                    try:
                        reply = await client.post("/v1/api/a/b/async")
                    except httpx.TransportError:
                        return None
                    return str(reply.json()["response"]["uid"]) if reply.status_code == 202 else None

                uid = await until(called)
                fastest: list[float] = []
                for _ in range(5):  # a stall of this machine takes longer than the limit, too
                    took, messages = await outage(own_redis.pid, client, uid, token)
                    await until(lambda: accepts(client))
                    fastest = [min(times) for times in zip(fastest or took, took, strict=True)]
                    # A second, and what a busy machine adds; the connection's own deadline is 5 s.
                    if max(fastest) < 4.5 and messages == expected:
                        break
                assert messages == expected
                assert max(fastest) < 4.5
        finally:
            await store.close()
            gateway.stop()


async def test_a_gateway_starts_before_its_store(tmp_path: Path) -> None:
    with temporary_server() as known, listening() as on:
        folder = Path(known.url.removeprefix("unix://")).parent
        late = folder / "late.sock"
        gateway = spawn(f"unix://{late}", on, tmp_path, patient=False)
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:

                async def refused() -> bool:
                    try:
                        reply = await client.post("/v1/api/a/b/async")
                    except httpx.TransportError:
                        return False
                    assert reply.status_code == 503
                    return True

                await until(refused)
                store = Store(known.url, client_name="test", keyring=RING)
                await publish(store, *APIS)
                await store.close()
                late.symlink_to(known.url.removeprefix("unix://"))

                async def ready() -> bool:
                    return (await client.get("/health/ready")).status_code == 200

                await until(ready)
                await until(lambda: accepts(client))
        finally:
            gateway.stop()


def test_the_error_of_a_port_in_use_has_a_hint(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        from iogate.errors import Misused
        from iogate.gateway import sockets

        with pytest.raises(
            Misused, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"
        ) as caught:
            sockets.listen("127.0.0.1", port)
    assert caught.value.hint == "choose a free port with --port or the setting port"


async def test_json_passes_through_a_run_unchanged(client: httpx.AsyncClient) -> None:
    value = {"n": 123456789012345678901234567890, "f": 0.1, "t": "ä\u0000\U0001f600", "l": [None, True, {}]}
    content = json.dumps(value).encode()
    uid = (await client.post("/v1/api/a/b/async", content=content)).json()["response"]["uid"]
    assert json.loads((await client.get(f"/v1/runs/{uid}")).text)["response"]["input"] == value


Attempted = TypeVar("Attempted")


def _body_of(size: int) -> bytes:
    return (
        b"POST /v1/api/a/b/async HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % size
    ) + b" " * (size - 1)


async def test_incomplete_bodies_of_many_callers_take_no_more_than_the_budget(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, body_budget="4MiB")
        try:
            await publish(store, *APIS)
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
                await until(lambda: accepts(client))
                before = _resident(gateway.process.pid)
                opened = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(60)]
                for _, writer in opened:
                    writer.write(_body_of(1024 * 1024))
                    await writer.drain()

                async def refused() -> bool:
                    heads = [bytes(reader._buffer[:12]) for reader, _ in opened]  # type: ignore[attr-defined]
                    return sum(head == b"HTTP/1.1 503" for head in heads) >= 56

                await until(refused)
                assert (await client.post("/v1/api/a/b/async", content=b"{}")).status_code == 202
                assert _resident(gateway.process.pid) - before < 40 * 1024 * 1024
                for _, writer in opened:
                    writer.close()
        finally:
            gateway.stop()


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def attempted(send: Callable[[], Attempted]) -> Attempted:
    """Call `send` up to five times: a client that this machine stalls for 2 s loses the response."""
    for _ in range(4):
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return send()
    return send()


def _urlopen(url: str, size: int) -> tuple[int, bytes]:
    def send() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(url, data=b" " * size, timeout=60) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return attempted(send)


async def test_a_client_that_sends_12_mib_before_it_reads_gets_the_413(client: httpx.AsyncClient) -> None:
    url = f"{client.base_url}/v1/api/a/b/async"
    status, content = await asyncio.to_thread(_urlopen, url, 12 * 1024 * 1024)
    assert status == 413
    assert json.loads(content)["response"]["error"]["code"] == "requestError.tooLarge"
    status, _ = await asyncio.to_thread(_urlopen, f"{client.base_url}/v1/api/t/t/async", 12 * 1024 * 1024)
    assert status == 401
    status, _ = await asyncio.to_thread(_urlopen, f"{client.base_url}/v1/api/no/such/async", 12 * 1024 * 1024)
    assert status == 404


def _post(port: int, path: str, size: int, *, waits: bool) -> tuple[int, bool]:
    """Send one POST with http.client; return its status, and whether the gateway said 100 Continue."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(size))
        if waits:
            connection.putheader("Expect", "100-continue")
        connection.endheaders()
        continued = False
        if waits:
            # http.client skips a 100, so it is read here.
            assert connection.sock is not None
            first = connection.sock.recv(12, socket.MSG_PEEK)
            continued = first == b"HTTP/1.1 100"
        if continued or not waits:
            connection.send(b" " * size)
        response = connection.getresponse()
        response.read()
        return response.status, continued


async def test_expect_100_continue_is_answered_before_the_body(client: httpx.AsyncClient) -> None:
    port = client.base_url.port or 0
    for path, size, waits, expected in (
        ("/v1/api/a/b/async", 2, True, (202, True)),
        ("/v1/api/a/b/async", 5_000_000, True, (413, False)),
        ("/v1/api/t/t/async", 2, True, (401, False)),
        ("/v1/api/no/such/async", 2, True, (404, False)),
        ("/v1/api/a/b/async", 5_000_000, False, (413, False)),
    ):
        send = functools.partial(_post, port, path, size, waits=waits)
        assert await asyncio.to_thread(attempted, send) == expected, (path, size, waits)


async def test_head_is_get_without_a_body_and_starts_no_run(client: httpx.AsyncClient, store: Store) -> None:
    before = sum((await store.runs.counts()).values())
    for path in ("/health/live", "/health/ready", "/openapi.json", "/docs", "/metrics"):
        head, get = await client.head(path), await client.get(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == get.headers["content-type"]
    assert (await client.head("/openapi.json")).headers["etag"] == (
        await client.get("/openapi.json")
    ).headers["etag"]
    refused = await client.head("/v1/api/a/b/async")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "GET, POST", b"")
    assert sum((await store.runs.counts()).values()) == before
    uid = (await client.post("/v1/api/a/b/async")).json()["response"]["uid"]
    shown = await client.head(f"/v1/runs/{uid}")
    assert (shown.status_code, shown.content) == (200, b"")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends such connections")
async def test_the_connection_of_a_caller_that_reads_nothing_is_closed(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, write_timeout="1s")
        try:
            await publish(store, *APIS)
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:

                async def accepted() -> str | None:
                    try:
                        reply = await client.post(
                            "/v1/api/big/x/async", content=b'"' + b"a" * 20_000_000 + b'"'
                        )
                    except httpx.TransportError:
                        return None
                    return str(reply.headers["location"]) if reply.status_code == 202 else None

                location = await until(accepted)
            _reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1)
            own = writer.get_extra_info("sockname")[1]

            async def cut() -> bool:
                return not connected(gateway.port, own)

            await until(lambda: _is(connected(gateway.port, own)))
            writer.write(f"GET {location} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            # The limit of the setting, not the 30 s of its default.
            await until(cut, 25)
            writer.close()
        finally:
            gateway.stop()


async def _is(value: bool) -> bool:  # noqa: FBT001 - an awaitable of its argument
    return value


DYING = """
import asyncio, sys
from iogate.gateway import __main__ as gateway
from iogate.gateway.revision_refresher import Refresher

async def die(self):
    self.tried.set()
    await asyncio.sleep(0.2)
    raise KeyError("git")

Refresher.run = die
sys.exit(gateway.main())
"""


def test_a_background_task_that_dies_ends_the_process(redis_url: str, tmp_path: Path) -> None:
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, run=("-c", DYING))
        try:
            assert gateway.process.wait(60) == 1
        finally:
            gateway.stop()
    log = gateway.log.read_text()
    assert "background task refresh ended unexpectedly; the process stops" in log
    assert "KeyError: 'git'" in log
