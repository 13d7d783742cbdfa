"""Cache of the keys `record` and `on_fault` of each API, by the revision that a run is pinned to.

Used by `loader`, which gives each run its mode and the handler of its fault. Invariant: after the first run
of a revision, a lookup costs one access to a mapping; only APIs that declare one of the keys take memory.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping

from iogate.compiler.revision import FaultHandler, Record
from iogate.errors import NotFound
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.store.revisions.revisions import NotAuthentic
from iogate.worker.ports import Revisions
from iogate.worker.store_reader import StoreReader

KEPT = 64
"""Number of revisions in memory."""


class RecordModes:
    """Modes of the APIs of the revisions that a worker executes."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._reader = StoreReader()
        self._kept: OrderedDict[int, Mapping[str, Record]] = OrderedDict()
        self._handlers: dict[int, Mapping[str, FaultHandler]] = {}
        """Handlers of faults, of the revisions that have any."""
        self._waiting: dict[int, list[Callable[[], None]]] = {}
        """Calls to make when a revision is cached, by its number."""
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, revision: int, api: str) -> Record | None:
        """Return the cached mode `record` of an API; None if the revision is not cached."""
        if revision == LIVE_REVISION:  # of standing runs, which are no runs of an API
            return "errors"
        modes = self._kept.get(revision)
        return None if modes is None else modes.get(api, "errors")

    def handler(self, revision: int, api: str) -> FaultHandler | None:
        """Return the cached mode `on_fault` of an API: the workflow that a fault of its run starts."""
        handlers = self._handlers.get(revision)
        return None if handlers is None else handlers.get(api)

    def fetch(self, revision: int, cached: Callable[[], None]) -> None:
        """Load the modes of a revision once for all who wait, then call `cached`; retry while out of reach.

        The APIs of a revision that was removed have the default.
        """
        waiting = self._waiting.setdefault(revision, [])
        waiting.append(cached)
        if len(waiting) == 1:
            task = asyncio.create_task(self._fetch(revision))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(self, revision: int) -> None:
        try:
            loaded = await self._reader.read(f"revision {revision}", lambda: self._revisions.load(revision))
            apis = loaded.apis
        except (NotFound, NotAuthentic):
            apis = {}
        modes = {name: api.records for name, api in apis.items() if api.records != "errors"}
        handlers = {
            name: api.on_fault for name, api in apis.items() if isinstance(api.on_fault, FaultHandler)
        }
        self._kept[revision] = modes
        if handlers:
            self._handlers[revision] = handlers
        while len(self._kept) > KEPT:
            oldest, _ = self._kept.popitem(last=False)
            self._handlers.pop(oldest, None)
        for cached in self._waiting.pop(revision):
            asyncio.get_running_loop().call_soon(cached)
