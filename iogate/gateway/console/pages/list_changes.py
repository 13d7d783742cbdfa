"""Stream of the list of runs: a notice whenever runs have changed, for pages that are open.

Used by `run_pages`. All lists that are open in a gateway process share one look at the numbers of runs by
status, so that watchers cost the store nothing more. Invariants: nothing is read while no list is open; a
stream carries no data of runs, and ends with the session of its browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from iogate.errors import IogateError
from iogate.gateway.http.responses import HTTPError, unavailable

if TYPE_CHECKING:
    from iogate.gateway.state import GatewayState

INTERVAL_S: Final = 0.3
"""Time between two looks."""
MOST: Final = 200
"""Lists that are followed at once in a gateway process."""
QUIET_S: Final = 15.0
"""A stream without a notice for this time sends a comment, so that proxies leave it open."""
CHANGED: Final = b"event: changed\ndata: {}\n\n"
COMMENT: Final = b": still here\n\n"
_FULL: Final = unavailable("Too many lists of runs are followed here; reload the page to see changes")


class ListChanges:
    """Changes of runs, as the open lists of one gateway process see them."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._seen: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None

    def follow(self) -> AsyncGenerator[bytes, None]:
        """Return a stream of notices for a list of runs. Raises HTTPError, a 503, if too many are open."""
        if self._watchers >= MOST:
            raise HTTPError(_FULL)
        return self._follow()

    async def _follow(self) -> AsyncGenerator[bytes, None]:
        self._watchers += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="list changes")
        try:
            yield COMMENT
            while not self._state.draining.is_set():
                try:
                    async with asyncio.timeout(QUIET_S):
                        await self._changed.wait()
                    yield CHANGED
                except TimeoutError:
                    yield COMMENT
        finally:
            self._watchers -= 1

    async def _look(self) -> None:
        """Look for changes of the numbers of runs while a list is open."""
        while self._watchers and not self._state.draining.is_set():
            await asyncio.sleep(INTERVAL_S)
            try:
                async with self._state.reach() as store:
                    found = await store.runs.counts()
            except (HTTPError, IogateError):
                continue
            if found != self._seen:
                self._seen = found
                # Who waits now is woken; who comes later waits for the next change.
                self._changed.set()
                self._changed = asyncio.Event()
        self._changed.set()
        self._changed = asyncio.Event()
