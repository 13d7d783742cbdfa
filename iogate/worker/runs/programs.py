"""Cache of programs by digest, loaded from the store, and access to their resources.

Used by `loader` and, for the files that a workflow names, by the effects. Invariant: a definition that this
release cannot load faults only the runs that are pinned to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from iogate.compiler.program import Program, load, load_standing
from iogate.compiler.revision import resource_digest
from iogate.compiler.schedules import STANDING
from iogate.effects.dispatcher import EffectContext
from iogate.errors import NotFound
from iogate.store.revisions.revisions import NotAuthentic
from iogate.store.state_codec import decode
from iogate.worker.ports import Revisions
from iogate.worker.store_reader import StoreReader

log = logging.getLogger(__name__)

KEPT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloadable:
    """Definition that cannot be loaded, with the reason."""

    reason: str


class Programs:
    """Cache of the programs that the worker executes."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._reader = StoreReader()
        self._kept: OrderedDict[str, Program | Unloadable] = OrderedDict()
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        """Calls to make when a program is cached, by its digest."""
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, digest: str) -> Program | Unloadable | None:
        """Return a program from the worker's cache, if it has it."""
        return self._kept.get(digest)

    def fetch(self, digest: str, cached: Callable[[], None]) -> None:
        """Load a program once for all who wait, then call `cached`; retry if the store is unreachable."""
        waiting = self._waiting.setdefault(digest, [])
        waiting.append(cached)
        if len(waiting) == 1:
            task = asyncio.create_task(self._fetch(digest))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def resource(self, _: EffectContext, uri: str) -> bytes:
        """Return a resource of a program: the content of a file that it names.

        Raises KeyError if the store does not have it.
        """
        digest = resource_digest(uri)
        if digest is None:
            raise KeyError(uri)
        try:
            return await self._revisions.content(digest)
        except (NotFound, NotAuthentic):
            raise KeyError(uri) from None

    async def _fetch(self, digest: str) -> None:
        loop, lasts = asyncio.get_running_loop(), True
        try:
            name = f"definition {digest[:12]}"
            loaded = _load(digest, await self._reader.read(name, lambda: self._revisions.program(digest)))
        except (NotFound, NotAuthentic) as error:
            loaded, lasts = Unloadable(reason=error.message), False
        self._kept[digest] = loaded
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        for cached in self._waiting.pop(digest):
            loop.call_soon(cached)
        if not lasts:
            # Only those who wait get this reason: the store may be repaired before the next run.
            loop.call_soon(lambda: self._kept.pop(digest, None))


def _load(digest: str, data: bytes) -> Program | Unloadable:
    try:
        definition = decode(data)
        standing = None if "document" in definition else definition[STANDING]
        return load(definition) if standing is None else load_standing(standing)
    except Exception as error:
        # A definition of another release must not end the worker.
        log.exception("cannot load definition %s", digest[:12], extra={"action": "program.unloadable"})
        return Unloadable(
            reason=f"this release cannot load the definition {digest[:12]} of the workflow:"
            f" {type(error).__name__}: {error}"
        )
