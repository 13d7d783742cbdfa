"""Handover of settings and secrets from a parent to its gateways and workers, and their environment.

`supervisor` sends; gateways and workers receive once, at their start; `secrets` and `settings` read the
values. Invariant: the environment and the command line of a child, which other processes can read in `/proc`,
contain no secret; secrets travel through a socket, after the child has made itself unreadable, and stay in
memory.

    child: PR_SET_DUMPABLE 0 ──▶ one byte ──▶ parent: JSON, end of file ──▶ child: variables()
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping

SOCKET_FD = "IOGATE_HANDOVER_FD"
"""Environment variable that names the inherited socket."""

_BASE = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "TERM", "COLUMNS", "NO_COLOR"),
        *("LANG", "LANGUAGE", "XDG_RUNTIME_DIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    }
)
_BASE_PREFIXES = ("LC_", "PYTHON", "MALLOC_", "COVERAGE_")

_PR_SET_DUMPABLE = 4

_received: dict[str, str] = {}


def minimal(environment: Mapping[str, str], named: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables to hand over to every child process, and named ones; `AWS_*` means a prefix."""
    exact, prefixes = set(_BASE), list(_BASE_PREFIXES)
    for name in named:
        if name.endswith("*"):
            prefixes.append(name[:-1])
        else:
            exact.add(name)
    return {
        name: value
        for name, value in environment.items()
        if name in exact or name.startswith(tuple(prefixes))
    }


def selected(environment: Mapping[str, str], named: Iterable[str]) -> dict[str, str]:
    """Return only the named variables to hand over to a child; `AWS_*` means a prefix."""
    named = tuple(named)
    prefixes = tuple(name[:-1] for name in named if name.endswith("*"))
    return {
        name: value
        for name, value in environment.items()
        if name in named or (prefixes and name.startswith(prefixes))
    }


def conceal() -> None:
    """Conceal the handed-over variables: make this process unreadable for processes of the same user.

    That includes its memory, environment and descriptors.

    The superuser can still read them. Systems other than Linux have no such option.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - of processes with secrets only

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


async def send(channel: socket.socket, values: Mapping[str, str]) -> None:
    """Hand variables over to a child after it has requested them, and close the channel."""
    import asyncio  # noqa: PLC0415 - of commands that start processes only

    loop = asyncio.get_running_loop()
    with channel:
        channel.setblocking(False)
        with contextlib.suppress(OSError):
            if await loop.sock_recv(channel, 1):
                await loop.sock_sendall(channel, json.dumps(values).encode())


def receive() -> None:
    """Conceal this process, then receive the variables of the handover by its parent, if it has one."""
    conceal()
    number = os.environ.pop(SOCKET_FD, None)
    if number is None:
        return
    with socket.socket(fileno=int(number)) as channel:
        channel.sendall(b".")
        with contextlib.suppress(ValueError), channel.makefile("rb") as file:
            _received.update(json.loads(file.read()))


def variables() -> Mapping[str, str]:
    """Return the variables from the handover, which only the memory of this process holds."""
    return _received


def variable(name: str) -> str | None:
    """Return a variable from the handover, else from the environment; None if neither has it."""
    value = _received.get(name)
    return os.environ.get(name) if value is None else value
