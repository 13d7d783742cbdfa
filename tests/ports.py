"""Free ports for servers that take the number of their port before they listen.

Called by tests that start such a server. Invariant: no connection of another process gets the port between
the choice and the bind, because the port is below the ephemeral range of Linux (32,768) and macOS (49,152).
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket

FIRST = 12_000
PER_WORKER = 2_000
"""Ports of each worker of pytest-xdist."""
WORKERS = 5
"""Workers with ports of their own. The bus ports of clusters, 10,000 above, are those of no worker."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
# Another session of tests on this machine has the same ports, and begins elsewhere.
_numbers = itertools.count(secrets.randbelow(PER_WORKER))


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, each time another one."""
    for number in itertools.islice(_numbers, PER_WORKER):
        port = FIRST + PER_WORKER * _worker + number % PER_WORKER
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")
