"""Start of a supervised process, with the socket of its handover and the pipe of its ticks.

Called by `supervisor`. Invariant: a start that fails leaves no descriptor open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iogate.supervision.handover import SOCKET_FD
from iogate.supervision.heartbeat import TICK_FD


@dataclass(frozen=True, kw_only=True)
class Started:
    """Supervised process that was started, and the ends of its channels that its supervisor closes."""

    process: asyncio.subprocess.Process
    handover: socket.socket
    ticks: int
    """Descriptor of the pipe of its ticks; -1 if it sends none."""


async def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: str | None,
    files: Sequence[int],
    ticks: bool,
) -> Started:
    """Start a supervised process, which inherits `files`; `ticks`: it sends heartbeats.

    Raises OSError if it cannot be started, for example for lack of descriptors.
    """
    variables, inherited, read_fd = dict(environment), list(files), -1
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as of_child:
        channel, theirs = socket.socketpair()
        ours.enter_context(channel)
        of_child.enter_context(theirs)
        variables[SOCKET_FD] = str(theirs.fileno())
        inherited.append(theirs.fileno())
        if ticks:
            read_fd, write_fd = os.pipe()
            ours.callback(os.close, read_fd)
            of_child.callback(os.close, write_fd)
            variables[TICK_FD] = str(write_fd)
            inherited.append(write_fd)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=variables,
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=inherited,
            process_group=0,
        )
        ours.pop_all()
    return Started(process=process, handover=channel, ticks=read_fd)
