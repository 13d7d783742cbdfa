"""`python -m tests.gateway.settling`: a gateway whose pauses of SETTLE_S end when a test says so.

In such a pause, the HTTP server reads what clients have sent on connections that the gateway closes next. A
client that a busy machine stalls between connecting and sending needs longer than any fixed time, so that
`driver.settle` ends a pause after the clients have been served again.

    gateway: settling-1 ──▶ test: its clients are served again ──▶ settled-1 ──▶ gateway closes connections
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

from iogate.gateway import __main__ as gateway
from iogate.gateway import http_server

RUN = ("-m", "tests.gateway.settling")
"""Argument `run` of `spawn`; each such gateway needs a folder of its own."""
LEAST_S = 0.3


class _Asyncio:
    """asyncio as `http_server` sees it; only a pause of SETTLE_S differs."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        if delay != http_server.SETTLE_S:
            await asyncio.sleep(delay)
            return
        number = next(self._numbers)
        paused, ended = Path(f"settling-{number}"), Path(f"settled-{number}")
        await asyncio.to_thread(paused.touch)
        while not await asyncio.to_thread(ended.exists):
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    assert http_server.SETTLE_S >= LEAST_S, "a client needs some time to send its request"
    vars(http_server).update(asyncio=_Asyncio())
    sys.exit(gateway.main())
