"""Calls to servers that break the rules of HTTP, or close the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

import pytest

from iogate.effects import Effects
from iogate.effects.http import name_lookup
from iogate.engine.commands import CallHttp
from tests.effects.conftest import do, failure, get, until


class FickleServer:
    """A server that answers the first request of its first connection, and closes it at the second."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        first = self.connections == 1
        for turn in range(2):
            with contextlib.suppress(asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head.split(b" ", 1)[0])
                if first and turn == 1:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("method", "safe"), [("get", True), ("put", True), ("delete", True), ("post", False), ("patch", False)]
)
async def test_a_closed_reused_connection_fails_only_unsafe_calls(
    effects: Effects,
    method: str,
    safe: bool,  # noqa: FBT001
) -> None:
    fickle = FickleServer()
    server = await asyncio.start_server(fickle.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        await do(effects, get(url))
        performed = await do(effects, CallHttp(method=method, url=url))
    if safe:
        assert performed.error is None
        assert fickle.connections == 2
    else:
        assert failure(performed)[2].endswith("failed: the server closed the connection")
        assert not performed.definite
        assert fickle.connections == 1


class BreakingServer:
    """A server that closes its first connection after the first request, without a response."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b" ", 1)[0])
        if len(self.requests) > 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()


@pytest.mark.parametrize("method", ["get", "put", "delete"])
async def test_a_request_is_sent_at_most_once_if_its_task_says_so(effects: Effects, method: str) -> None:
    for at_most_once, sent in ((False, 2), (True, 1)):
        breaking = BreakingServer()
        server = await asyncio.start_server(breaking.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server:
            call = CallHttp(method=method, url=url)
            performed = await do(effects, call, at_most_once=at_most_once)
        assert breaking.requests == [method.upper().encode()] * sent
        if at_most_once:
            assert failure(performed)[2].endswith("failed: the server closed the connection")
            assert not performed.definite
        else:
            assert performed.error is None


@pytest.mark.parametrize("answer", [b"HELLO\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"])
async def test_a_non_http_response_is_reported_as_such(effects: Effects, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        performed = await do(effects, get(url))
    kind, status, detail = failure(performed)
    assert (kind, status) == ("communication", 500)
    assert detail.endswith("failed: the response is not valid HTTP")
    assert not performed.definite


def stall_lookups(monkeypatch: pytest.MonkeyPatch, go: threading.Event) -> list[str]:
    """Let lookups below `stalled.example` wait for the event; return the names that are looked up."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def stalling(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".stalled.example"):
            asked.append(host)
            go.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "stalled")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", stalling)
    return asked


async def test_a_lookup_of_a_name_ends_at_its_limit(
    effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    stall_lookups(monkeypatch, go)
    monkeypatch.setattr(name_lookup, "TIMEOUT_S", 0.05)
    try:
        performed = await do(effects, get("http://a.stalled.example/"))
    finally:
        go.set()
    kind, status, detail = failure(performed)
    assert (kind, status) == ("communication", 500)
    assert detail.endswith(" failed: cannot connect: its name was not resolved within 0.05 s")
    assert not performed.definite


async def test_stalled_lookups_take_no_thread_of_other_work(
    effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    asked = stall_lookups(monkeypatch, go)
    urls = [f"http://{number}.stalled.example/" for number in range(name_lookup.THREADS)]
    calls = [asyncio.create_task(do(effects, get(url))) for url in urls]
    try:
        await until(lambda: len(asked) == name_lookup.THREADS)
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(lambda: "free") == "free"
    finally:
        go.set()
        await asyncio.gather(*calls)
