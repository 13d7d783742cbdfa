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


def http_2() -> bytes:
    """Preface, settings, and the same call as HTTP_1 without a body on stream 1."""
    path, host = b"\x04" + text(PATH), b"\x01" + text("localhost")
    headers = b"\x83\x86" + path + host + b"\x00" + text("prefer") + text("wait=300")
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 0x5, 1, headers)


RESET = frame(3, 0, 1, struct.pack(">I", 8))


async def ended(gateway: Gateway) -> int:
    """Requests that have ended."""
    return gateway.log.read_text().count(f"POST {PATH} 202")


@pytest.mark.parametrize(
    ("request_", "last"),
    [(HTTP_1, None), (http_2(), None), (http_2(), RESET)],
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


@pytest.mark.parametrize("request_", [HTTP_1, http_2()], ids=["HTTP/1", "HTTP/2"])
async def test_a_caller_that_stays_gets_the_end(gateway: Gateway, store: Store, request_: bytes) -> None:
    await publish(store, api("a/b"))
    await until(lambda: announced(store, gateway))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request_)
    (run,) = await until(lambda: store.runs.list(statuses=["pending"]))
    await store.runs.cancel(run.uid, "a test")
    await reader.readuntil(b"The run was cancelled: a test")
    writer.close()
