"""Hostile clients of HTTP/1.1, each of which keeps its connections busy until it is cancelled.

Used by `hostile_http`. They hold many connections and send little, so that the processor time of this machine
goes to the gateway and to the good client.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.faults import hostile_json, raw_http

TRICKLE_S: Final = 1.0
"""Time between two bytes."""
HEADER_BYTES: Final = 64 * 1024
TINY_BUFFER: Final = 4_096
PAUSE_S: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Address of a gateway, and the runs that it has."""

    port: int
    ended: str = ""
    """Path of a run with a long journal that has ended."""
    waiting: str = ""
    """Path of a run with a long journal that has not."""
    large: str = ""
    """Path of a run with a large input."""


Attack = Callable[[Scene, int, Counter[str]], Awaitable[None]]
"""Attacks with so many connections until it is cancelled, and counts what came back."""


async def connected(scene: Scene, number: int, *, small: bool = False) -> socket.socket:
    """Return a non-blocking connection from one of 200 addresses."""
    ours = socket.socket()
    if small:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TINY_BUFFER)
    try:
        ours.setblocking(False)
        ours.bind((f"127.0.2.{1 + number % 200}", 0))
        await asyncio.get_running_loop().sock_connect(ours, ("127.0.0.1", scene.port))
    except BaseException:
        ours.close()
        raise
    return ours


def received(data: bytes) -> str:
    """Return the status of a response, or what else a connection shows."""
    return (
        data[9:12].decode("latin-1")
        if data.startswith(b"HTTP/1.")
        else "closed"
        if not data
        else "other bytes"
    )


async def every(clients: int, one: Callable[[int], Awaitable[None]]) -> None:
    """Run a client again and again, so many at a time; their starts are spread over a second."""

    async def repeated(number: int) -> None:
        await asyncio.sleep(number / clients)
        while True:
            with contextlib.suppress(*raw_http.BROKEN):
                await one(number)
            await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(repeated(number))


async def trickle(ours: socket.socket, head: bytes, tail: bytes, seen: Counter[str]) -> None:
    """Send a beginning at once and the rest byte by byte, until the server responds or closes."""
    loop = asyncio.get_running_loop()
    try:
        seen["opened"] += 1
        await loop.sock_sendall(ours, head)
        response = asyncio.ensure_future(loop.sock_recv(ours, 4_096))
        try:
            for at in range(len(tail)):
                await asyncio.wait({response}, timeout=TRICKLE_S)
                if response.done():
                    break
                await loop.sock_sendall(ours, tail[at : at + 1])
            seen[received(await response)] += 1
        finally:
            response.cancel()
    except OSError:
        seen["closed"] += 1
    finally:
        ours.close()


HEAD: Final = b"POST /v1/api/hostile/one/async HTTP/1.1\r\nhost: localhost\r\n"


async def trickled_heads(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send heads of requests byte by byte."""

    async def one(number: int) -> None:
        await trickle(await connected(scene, number), b"", HEAD + b"x: y\r\n" * 100, seen)

    await every(clients, one)


async def trickled_bodies(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send bodies byte by byte, every other one in chunks."""

    async def one(number: int) -> None:
        body = b'{"text":"' + b"x" * 500 + b'"}'
        if number % 2:
            head, tail = HEAD + b"content-length: 511\r\n\r\n", body
        else:
            head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
            tail = b"".join(b"1\r\n%c\r\n" % each for each in body)
        await trickle(await connected(scene, number), head, tail, seen)

    await every(clients, one)


async def large_heads(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send requests with 64 KiB of headers: in one header, in many, or in the target."""

    async def one(number: int) -> None:
        forms = [
            HEAD + b"x-large: " + b"x" * HEADER_BYTES + b"\r\n\r\n",
            HEAD + b"".join(b"x-%d: %s\r\n" % (each, b"y" * 900) for each in range(70)) + b"\r\n",
            HEAD + b"".join(b"x%d:\r\n" % each for each in range(9_000)) + b"\r\n",
            HEAD + b"cookie: " + b"a=b; " * 13_000 + b"\r\n\r\n",
            HEAD + b"authorization: Bearer " + b"e" * HEADER_BYTES + b"\r\n\r\n",
            b"GET /v1/api/hostile/one/async?" + b"a=b&" * 16_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
            b"GET /" + b"a" * HEADER_BYTES + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
            HEAD + b"x" * HEADER_BYTES + b": y\r\n\r\n",
        ]
        loop = asyncio.get_running_loop()
        ours = await connected(scene, number)
        try:
            seen["opened"] += 1
            await loop.sock_sendall(ours, random.choice(forms))
            seen[received(await loop.sock_recv(ours, 4_096))] += 1
        except OSError:
            seen["closed"] += 1
        finally:
            ours.close()

    await every(clients, one)


async def large_trickled_heads(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send 64 KiB of headers at once, and then further ones byte by byte."""
    head = HEAD + b"".join(b"x-%d: %s\r\n" % (each, b"y" * 900) for each in range(70))

    async def one(number: int) -> None:
        await trickle(await connected(scene, number), head, b"z: y\r\n" * 100, seen)

    await every(clients, one)


async def _read_slowly(scene: Scene, number: int, data: bytes, seen: Counter[str]) -> None:
    """Send requests, and read the responses byte by byte."""
    loop = asyncio.get_running_loop()
    ours = await connected(scene, number, small=True)
    try:
        seen["opened"] += 1
        await loop.sock_sendall(ours, data)
        seen[received(await loop.sock_recv(ours, 16))] += 1
        while await loop.sock_recv(ours, 1):
            await asyncio.sleep(TRICKLE_S)
        seen["closed"] += 1
    except OSError:
        seen["closed"] += 1
    finally:
        ours.close()


async def slow_streams(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Follow runs with long journals, and read the streams byte by byte."""
    paths = [f"{each}/events" for each in (scene.ended, scene.waiting)]
    data = [raw_http.request("GET", each, [("host", "localhost")]) for each in paths]
    await every(clients, lambda number: _read_slowly(scene, number, data[number % 2], seen))


async def slow_responses(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send several requests for a large run at once, and read the responses byte by byte."""
    data = raw_http.request("GET", scene.large, [("host", "localhost")]) * 4
    await every(clients, lambda number: _read_slowly(scene, number, data, seen))


async def json_bodies(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send malformed and unusual JSON, one text after the other over each connection."""
    texts = [*hostile_json.refused().values(), *hostile_json.either().values()]

    async def one(number: int) -> None:
        chance = random.Random(number)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", scene.port, local_addr=(f"127.0.2.{1 + number % 200}", 0)
        )
        try:
            seen["opened"] += 1
            while True:
                writer.write(as_call(chance.choice(texts)))
                seen[str((await raw_http.response(reader)).status)] += 1
                await asyncio.sleep(PAUSE_S)
        finally:
            writer.transport.abort()

    await every(clients, one)


def as_call(body: bytes) -> bytes:
    """Return a call with a body of JSON."""
    headers = [("host", "localhost"), ("content-type", "application/json")]
    return raw_http.request("POST", "/v1/api/hostile/one/async", headers, body)


ATTACKS: Mapping[str, tuple[Attack, int]] = {
    "trickled heads": (trickled_heads, 1_000),
    "trickled bodies": (trickled_bodies, 1_000),
    "large heads": (large_heads, 20),
    "large heads, trickled": (large_trickled_heads, 300),
    "slow streams": (slow_streams, 800),
    "slow responses": (slow_responses, 30),
    "JSON": (json_bodies, 4),
}
"""Attacks over plain HTTP/1.1, with their numbers of connections.

A connection with an incomplete head holds up to 128 KiB, and nothing limits the sum of those; large runs
that are read at once wait for the validation process with up to 48 MiB of inputs. So these attacks have fewer
connections.
"""
