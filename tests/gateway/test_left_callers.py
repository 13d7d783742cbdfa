"""Callers that leave a real gateway end their waits for runs; those that stay get the end."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator

import pytest

from iogate.store.embedded.server import EmbeddedServer
from iogate.store.store import Store
from tests.conftest import KINDS
from tests.gateway.driver import Gateway, announced, api, listening, publish, spawn, until

PATH = "/v1/api/a/b/sync"
HTTP_1 = (
    f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\nprefer: wait=300\r\ncontent-length: 2\r\n\r\n{{}}".encode()
)


@pytest.fixture(scope="module")
def gateway(
    redis_servers: dict[str, EmbeddedServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with both versions of HTTP and a record of each request, for all tests of this module."""
    url = redis_servers[next(iter(KINDS))].url
    with listening() as on:
        started = spawn(url, on, tmp_path_factory.mktemp("gateway"), http2="true", access_log="all")
        yield started
        started.stop()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def text(value: str) -> bytes:
    """A text in a header (RFC 7541, section 5.2)."""
    return bytes([len(value)]) + value.encode()


def call(stream: int) -> bytes:
    """The same call as HTTP_1 over HTTP/2, without a body."""
    path, host = b"\x04" + text(PATH), b"\x01" + text("localhost")
    headers = b"\x83\x86" + path + host + b"\x00" + text("prefer") + text("wait=300")
    return frame(1, 0x5, stream, headers)


HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + call(1)
RESET = frame(3, 0, 1, struct.pack(">I", 8))


async def ended(gateway: Gateway) -> int:
    """Requests that have ended."""
    return gateway.log.read_text().count(f"POST {PATH} 202")


@pytest.mark.parametrize(
    ("request_", "last"),
    [(HTTP_1, None), (HTTP_2, None), (HTTP_2, RESET)],
    ids=["HTTP/1", "HTTP/2", "reset"],
)
async def test_a_wait_ends_when_its_caller_leaves(
    gateway: Gateway, store: Store, request_: bytes, last: bytes | None
) -> None:
    await publish(store, api("a/b"))
    await until(lambda: announced(store, gateway))
    before = await ended(gateway)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request_)
    await until(lambda: store.runs.list(statuses=["pending"]))
    assert await ended(gateway) == before
    if last is None:
        writer.transport.abort()
    else:
        writer.write(last)
    await until(lambda: later(gateway, before))
    writer.close()


async def later(gateway: Gateway, before: int) -> bool:
    return await ended(gateway) > before


@pytest.mark.parametrize("calls", [(HTTP_1, HTTP_1), (HTTP_2, call(3))], ids=["HTTP/1", "HTTP/2"])
async def test_a_caller_that_stays_gets_the_end_and_may_call_again(
    gateway: Gateway, store: Store, calls: tuple[bytes, bytes]
) -> None:
    await publish(store, api("a/b"))
    await until(lambda: announced(store, gateway))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for each in calls:
        writer.write(each)
        (run,) = await until(lambda: store.runs.list(statuses=["pending"]))
        await store.runs.cancel(run.uid, "a test")
        await reader.readuntil(b"The run was cancelled: a test")
    writer.close()
