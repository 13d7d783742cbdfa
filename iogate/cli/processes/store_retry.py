"""What a parent asks of a store that may be on its way back, asked again until it answers.

Used by `up`, `serve` and `worker` while they start. Invariant: a store that refuses us (WrongStore) is
told at once, one that is only away has `LIMIT_S`; nothing is asked here that must not be asked twice.
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


async def retry_until_available(ask: Callable[[], Awaitable[T]], *, limit_s: float = LIMIT_S) -> T:
    """What `ask` answers.

    Raises the last Unreachable once the time is over.
    """
    until = time.monotonic() + limit_s
    said = False
    while True:
        try:
            return await ask()
        except WrongStore:
            raise
        except Unreachable as error:
            if time.monotonic() > until:
                raise
            if not said:
                log.warning("%s; it is asked again", error, extra={"action": "store.lost"})
                said = True
        await asyncio.sleep(RETRY_S)
