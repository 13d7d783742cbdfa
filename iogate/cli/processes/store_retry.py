"""Retry of requests to a store that may be starting or restarting.

Used by `up`, `serve` and `worker` while they start. Invariant: a store that refuses access (WrongStore) is
reported at once, an unreachable one is retried for `LIMIT_S`. Only idempotent requests are retried.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from iogate.errors import Unreachable, WrongStore

log = logging.getLogger(__name__)

LIMIT_S = 60.0
RETRY_S = 0.2

T = TypeVar("T")


async def retry_until_available(request: Callable[[], Awaitable[T]], *, limit_s: float = LIMIT_S) -> T:
    """Call `request` until the store responds, and return its result.

    Raises the last Unreachable after `limit_s`, and WrongStore at once.
    """
    until = time.monotonic() + limit_s
    warned = False
    while True:
        try:
            result = await request()
        except WrongStore:
            raise
        except Unreachable as error:
            if time.monotonic() > until:
                raise
            if not warned:
                log.warning("%s; retrying", error, extra={"action": "store.unreachable"})
                warned = True
        else:
            if warned:
                log.info("the store is reachable", extra={"action": "store.reachable"})
            return result
        await asyncio.sleep(RETRY_S)
