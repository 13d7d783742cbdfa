"""Stand-in for the command `iogate` of a page: lets the fork server execute it, which has its imports.

It is executed without site packages, which takes 20 ms instead of the half second of the command. `iogate up`
is started by exec, as a reader does; so are commands about the last run of this terminal, which belongs to a
session, since each process of the fork server has a session of its own.

    shell ── exec ──▶ client ── request, streams ──▶ fork server ── fork ──▶ iogate
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys

CONTROL = "FORK_SERVER"
"""Variable with the number of the descriptor that leads to the fork server."""
STATUS = struct.Struct("=i")
KEEPS_SESSION = {"up", "call", "@last"}


def main() -> int:
    """Execute the command; return its exit status as a shell does."""
    environment = dict(os.environ)
    control = socket.socket(fileno=int(environment.pop(CONTROL)))
    if KEEPS_SESSION & set(sys.argv):
        command = os.path.join(os.path.dirname(sys.executable), "iogate")  # noqa: PTH118, PTH120 - 20 ms
        os.execve(command, ["iogate", *sys.argv[1:]], environment)
    ours, theirs = socket.socketpair()
    request = {
        "arguments": ["iogate", *sys.argv[1:]],
        "environment": environment,
        "folder": os.getcwd(),  # noqa: PTH109 - as above
        "files": [0, 1, 2],
        "data": resource.getrlimit(resource.RLIMIT_DATA),
        "patient": True,
    }
    socket.send_fds(control, [json.dumps(request).encode()], [theirs.fileno(), 0, 1, 2])
    theirs.close()
    pid = STATUS.unpack(ours.recv(STATUS.size))[0]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    status: int = STATUS.unpack(ours.recv(STATUS.size))[0]
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
