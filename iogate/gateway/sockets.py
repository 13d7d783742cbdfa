"""The listening socket of the gateways.

Called by a gateway process for its own socket, and by a parent that opens one for all of its gateways. An
inherited socket is better: if a gateway dies, another one accepts the pending connections.
"""

from __future__ import annotations

import errno
import os
import socket

from iogate.errors import Misused

LISTEN_FD = "IOGATE_LISTEN_FD"
"""Environment variable that names an inherited listening socket."""
CONSOLE_FD = "IOGATE_CONSOLE_FD"
"""Likewise, for the port of operators."""
HINT = "choose a free port with --port or the setting port"
CONSOLE_HINT = "choose a free port with the setting console_port"
BACKLOG = 2_048
UNSENT = 32 * 1024
"""Bytes that the kernel takes of a response beyond those on their way to the caller."""


class PortTaken(Misused):
    """Another process listens on the port."""


def listen(host: str, port: int, *, share_port: bool = False, hint: str = HINT) -> socket.socket:
    """Return a listening socket on the first address of `host`.

    `share_port` lets further processes bind the same port (SO_REUSEPORT); the kernel distributes new
    connections among them. `hint` is that of the error for a port that cannot be used. Raises PortTaken if
    the port is in use, or Misused if the address is invalid.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Misused(f"cannot listen on {host}: {error.strerror}", hint="set host to an address") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        refused = PortTaken if error.errno == errno.EADDRINUSE else Misused
        raise refused(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint=hint,
        ) from None
    return listening


def inherited_or_own(host: str, port: int, *, variable: str = LISTEN_FD, hint: str = HINT) -> socket.socket:
    """Return the listening socket inherited from the parent, else a new one. Raises as `listen` does.

    `variable` names the inherited socket.
    """
    number = os.environ.get(variable)
    listening = (
        socket.socket(fileno=int(number)) if number else listen(host, port, share_port=True, hint=hint)
    )
    listening.setblocking(False)
    return listening


def limit_writes(listening: socket.socket, seconds: float) -> None:
    """Make the kernel close an accepted connection whose peer reads nothing of a response for `seconds`.

    The server itself waits for a slow reader without a limit. The kernel also takes no more of a response
    than it sends soon, so that a caller which reads slowly is seen to make progress. Accepted sockets inherit
    these options of Linux.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
