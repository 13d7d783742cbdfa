"""Programs by digest: loaded from the store once, kept while they are used; and what they refer to.

Used by `executor` and, for the files that a workflow names, by the effects. Invariant: a definition that
this release cannot load faults the runs that are pinned to it and nothing else; the worker lives on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from iogate.compiler.program import Program, load, trigger
from iogate.compiler.revision import resource_digest
from iogate.compiler.schedules import STANDING
from iogate.effects.perform import EffectContext
from iogate.errors import NotFound, Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.revisions.revisions import NotAuthentic, Revisions
from iogate.worker.runs.codec import decode

log = logging.getLogger(__name__)

KEPT = 512
RETRY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloadable:
    """A definition that cannot be loaded, and why."""

    reason: str


class Programs:
    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._kept: OrderedDict[str, Program | Unloadable] = OrderedDict()
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, digest: str) -> Program | Unloadable | None:
        """The program, if it is here."""
        return self._kept.get(digest)

    def fetch(self, digest: str, then: Callable[[], None]) -> None:
        """Load a program, then call; a store out of reach is asked again."""
        if digest in self._waiting:
            self._waiting[digest].append(then)
            return
        self._waiting[digest] = [then]
        task = asyncio.create_task(self._fetch(digest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def resource(self, _: EffectContext, uri: str) -> bytes:
        """The content of a file that a workflow names by its digest; KeyError where the store has none."""
        digest = resource_digest(uri)
        if digest is None:
            raise KeyError(uri)
        try:
            return await self._revisions.content(digest)
        except (NotFound, NotAuthentic):
            raise KeyError(uri) from None

    async def _fetch(self, digest: str) -> None:
        while True:
            try:
                loaded = _load(digest, await self._revisions.program(digest))
                break
            except (NotFound, NotAuthentic) as error:
                loaded = Unloadable(reason=error.message)
                break
            except (Unreachable, CommandFailed):
                await asyncio.sleep(RETRY_S)
        self._kept[digest] = loaded
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        for then in self._waiting.pop(digest):
            then()


def _load(digest: str, data: bytes) -> Program | Unloadable:
    try:
        definition = decode(data)
        standing = None if "document" in definition else definition[STANDING]
        return load(definition) if standing is None else trigger(standing)
    except Exception as error:
        # Whatever a definition of another release makes of this one's code must not end the worker.
        log.exception(
            "the definition %s cannot be loaded", digest[:12], extra={"action": "program.unloadable"}
        )
        return Unloadable(
            reason=f"this release cannot load the workflow's definition {digest[:12]}:"
            f" {type(error).__name__}: {error}"
        )
