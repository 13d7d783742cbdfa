"""Connections of this process to its clients, found among its open descriptors.

The server does not hand them out. Used by `idle_connections`, and by `__main__` to close those of callers
that read too slowly. Invariant: a descriptor is copied before it is looked at, so that it cannot mean another
connection in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final

Peer = tuple[str, int]
"""Address and port of the other end of a connection."""
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""`struct linger` that makes a close drop unsent data."""


def connections(ports: Collection[int]) -> Iterator[tuple[Peer, socket.socket]]:
    """Yield the connections of clients on these ports of the gateway, each valid until the next one."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names are enough
        with contextlib.suppress(OSError), _duplicate(int(name)) as connection:
            is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
            if is_tcp and connection.getsockname()[1] in ports:
                yield connection.getpeername()[:2], connection


class ConnectionCloser:
    """Closer of connections by their peers; one look at all descriptors serves all that wait."""

    def __init__(self, *ports: int) -> None:
        self._ports = ports
        self._peers: set[Peer] = set()
        self._closing: asyncio.Task[None] | None = None

    def close(self, peer: Peer) -> None:
        """Close the connection to a peer soon, even while it is sending."""
        self._peers.add(peer)
        if self._closing is None or self._closing.done():
            self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        while self._peers:
            peers, self._peers = self._peers, set()
            await asyncio.to_thread(self._shut_down, peers)

    def _shut_down(self, peers: set[Peer]) -> None:
        for peer, connection in connections(self._ports):
            if peer in peers:
                with contextlib.suppress(OSError):
                    # The kernel drops what it has not sent yet, which it would keep for the caller otherwise.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    connection.shutdown(socket.SHUT_RDWR)


def _duplicate(number: int) -> socket.socket:
    """Return a socket on a duplicate of an open descriptor.

    Raises OSError for a descriptor that is none of a socket.
    """
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
