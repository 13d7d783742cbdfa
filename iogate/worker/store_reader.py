"""Reads of what runs cannot continue without, repeated until the store answers.

Used by the caches of programs, record modes and child workflows. Invariant: what this worker cannot use, such
as a revision of a newer release, is reported once; the runs that need it wait until that has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from iogate.errors import Unreachable, WrongStore
from iogate.store.connection.connection import CommandFailed

log = logging.getLogger(__name__)

RETRY_S = 0.5

Value = TypeVar("Value")


class StoreReader:
    """Reader for one cache of a worker."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    async def read(self, what: str, read: Callable[[], Awaitable[Value]]) -> Value:
        """Return what `read` returns for a cache; repeat it while the store is out of reach.

        `what` names the object in the log. Raises the other errors of `read`, such as NotFound.
        """
        while True:
            try:
                value = await read()
            except WrongStore as error:
                self._report(what, error)
            except (Unreachable, CommandFailed):
                pass
            else:
                self._reported.discard(what)
                return value
            await asyncio.sleep(RETRY_S)

    def _report(self, what: str, error: WrongStore) -> None:
        if what in self._reported:
            return
        self._reported.add(what)
        log.error(
            "runs wait, because this worker cannot read %s: %s; %s",
            what,
            error.message,
            error.hint,
            extra={"action": "runs.waiting"},
        )
