"""Programs by digest: loaded from the store once, kept while they are used; and what they refer to.

Used by `drive` and, for the documents that a workflow names, by the effects. Invariant: a definition that
this release cannot load faults the runs that are pinned to it and nothing else; the worker lives on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from iogate.compiler.program import Program, load
from iogate.effects.perform import EffectContext
from iogate.errors import NotFound, Unreachable
from iogate.store.line import CommandFailed
from iogate.store.revisions import Revisions
from iogate.worker.frames import decode

log = logging.getLogger(__name__)

KEPT = 512
RETRY_S = 0.5

_Key = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloadable:
    """A definition that cannot be loaded, and why."""

    reason: str


class Programs:
    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._kept: OrderedDict[_Key, Program | Unloadable] = OrderedDict()
        self._waiting: dict[_Key, list[Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._resources: dict[int, dict[str, str]] = {}
        """Revision to the digests of its documents."""
        self._seen: dict[str, int] = {}
        """Program to the revision of a run of it: where its documents are looked up."""

    def get(self, digest: str, revision: int) -> Program | Unloadable | None:
        """The program, if it is here."""
        return self._kept.get((digest, revision))

    def fetch(self, digest: str, revision: int, then: Callable[[], None]) -> None:
        """Load a program, then call; a store out of reach is asked again."""
        key = (digest, revision)
        if key in self._waiting:
            self._waiting[key].append(then)
            return
        self._waiting[key] = [then]
        task = asyncio.create_task(self._fetch(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def resource(self, run: EffectContext, uri: str) -> bytes:
        """The content of a document that a workflow names; KeyError for one it does not."""
        resources = await self._resources_of(self._seen[run.program])
        return await self._revisions.content(resources[uri])

    async def _fetch(self, key: _Key) -> None:
        digest, revision = key
        while True:
            try:
                data = await self._revisions.program(digest)
                loaded = _load(digest, data, await self._documents(revision))
                break
            except NotFound as error:
                loaded = Unloadable(reason=error.message)
                break
            except (Unreachable, CommandFailed):
                await asyncio.sleep(RETRY_S)
        self._seen[digest] = revision
        self._kept[key] = loaded
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        for then in self._waiting.pop(key):
            then()

    async def _documents(self, revision: int) -> dict[str, Any]:
        """The JSON documents of a revision, by URI: schemas that stand beside the workflows."""
        documents: dict[str, Any] = {}
        for uri, digest in (await self._resources_of(revision)).items():
            try:
                documents[uri] = decode(await self._revisions.content(digest))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # a script, not a schema
        return documents

    async def _resources_of(self, revision: int) -> dict[str, str]:
        known = self._resources.get(revision)
        if known is None:
            loaded = await self._revisions.load(revision)
            known = self._resources[revision] = dict(loaded.resources)
        return known


def _load(digest: str, data: bytes, documents: dict[str, Any]) -> Program | Unloadable:
    try:
        return load(decode(data), documents)
    except Exception as error:
        # Whatever a definition of another release makes of this one's code must not end the worker.
        log.exception(
            "the definition %s cannot be loaded", digest[:12], extra={"action": "program.unloadable"}
        )
        return Unloadable(
            reason=f"this release cannot load the workflow's definition {digest[:12]}:"
            f" {type(error).__name__}: {error}"
        )
