"""Closing of idle connections while HTTP/2 is served.

The server closes an HTTP/1.1 connection that sends no request in time. It has no such limit before it knows
the version of a connection, nor for HTTP/2, so that connections which send nothing, or one byte a minute,
would keep others out. Used by `__main__` with the setting `http2`. Invariant: a connection with a request in
progress, or one that is still taking a response, is not closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.client_connections import Peer, connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IDLE_S: Final = 60.0
LOOK_S: Final = 5.0
_LAST_DATA_SENT: Final = 44
"""Offset of the milliseconds since the last data were sent, in `struct tcp_info` of Linux."""


class IdleConnections:
    """Connections of this process to its clients, with the time of their last request."""

    def __init__(self, *ports: int, idle_s: float = IDLE_S, look_s: float = LOOK_S) -> None:
        self._ports = ports
        self._idle_s, self._look_s = idle_s, look_s
        self._active: dict[Peer, int] = {}
        self._last_s: dict[Peer, float] = {}
        """End of the last request; of a connection without one, the time when it was first seen."""
        self._unused: set[Peer] = set()
        """Connections that have not sent a request."""
        self._lock = threading.Lock()

    def counting(
        self, app: Callable[[Any, Any, Any], Awaitable[None]]
    ) -> Callable[[Any, Any, Any], Awaitable[None]]:
        """Return the application, with its requests counted by connection to find idle ones."""

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            client = scope.get("client")
            if not client:
                await app(scope, receive, send)
                return
            peer = (client[0], int(client[1]))
            with self._lock:
                self._active[peer] = self._active.get(peer, 0) + 1
            try:
                await app(scope, receive, send)
            finally:
                with self._lock:
                    self._last_s[peer] = time.monotonic()
                    self._unused.discard(peer)
                    self._active[peer] -= 1
                    if not self._active[peer]:
                        del self._active[peer]

        return counted

    async def run(self) -> None:
        """Close idle connections until cancelled."""
        while True:
            await asyncio.sleep(self._look_s)
            await asyncio.to_thread(self.close_idle)

    def close_idle(self) -> int:
        """Close the connections that have been idle for too long; return their number."""
        closed: int = 0
        found: set[Peer] = set()
        for peer, connection in connections(self._ports):
            found.add(peer)
            with contextlib.suppress(OSError):
                if self._is_idle(peer, connection):
                    connection.shutdown(socket.SHUT_RDWR)
                    closed += 1
        with self._lock:
            self._last_s = {peer: at for peer, at in self._last_s.items() if peer in found}
            self._unused &= found
        return closed

    def _is_idle(self, peer: Peer, connection: socket.socket) -> bool:
        now = time.monotonic()
        with self._lock:
            if peer in self._active:
                return False
            if peer not in self._last_s:
                self._last_s[peer] = now
                self._unused.add(peer)
            since_s, unused = self._last_s[peer], peer in self._unused
        if now - since_s < self._idle_s:
            return False
        return unused or not _sent_lately(connection, self._idle_s)


def _sent_lately(connection: socket.socket, seconds: float) -> bool:
    """Tell whether a connection that looks idle is still taking a response."""
    if not hasattr(socket, "TCP_INFO"):
        return False
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    (milliseconds,) = struct.unpack_from("=I", info, _LAST_DATA_SENT)
    return bool(milliseconds < seconds * 1000)
