"""Follower of the live revisions in a worker, which acknowledges each revision that it can execute.

Used by `maintenance`. A run brings its own program, so a revision that cannot be loaded affects only the
acknowledgement, child workflows and schedules. Invariant: no error of the store ends the follower.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from iogate.compiler.revision import Revision
from iogate.errors import NotFound, Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.maintenance.process_presence import Failure, concerns_revision, failure
from iogate.store.store import Store

log = logging.getLogger(__name__)

AGAIN_S = 1.0
NAMED = 3
"""Number of missing programs that a message lists."""


class RevisionFollower:
    """Follower of the live revisions of all projects."""

    def __init__(
        self, store: Store, taken: Callable[[str, Revision | None], None] = lambda _project, _revision: None
    ) -> None:
        """`taken` gets each loaded revision with its project, and None for a project without one."""
        self._store = store
        self._taken = taken
        self.loaded: dict[str, int] = {}
        """Newest revision of each project that was verified and has all its programs."""
        self.failed: dict[str, Failure] = {}
        """Live revision of a project that cannot be loaded."""

    async def run(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Follow the live revisions: load each, and call `announce` after each change, until cancelled."""
        while True:
            try:
                async with contextlib.aclosing(self._store.gates.watch()) as changes:
                    async for _ in changes:
                        await self._follow(announce)
            except (Unreachable, CommandFailed) as error:
                log.debug("revisions: %s", error, extra={"action": "revision.postponed"})
            except Exception:
                log.exception("cannot follow the live revision", extra={"action": "revision.failed"})
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Load the live revisions, and try those again that cannot be loaded."""
        while True:
            if await self._update():
                await announce()
            if not self.failed:
                return
            await asyncio.sleep(AGAIN_S)

    async def _update(self) -> bool:
        """Follow the live revisions once: load the new ones; return whether anything has changed."""
        before = dict(self.loaded), dict(self.failed)
        found = await self._store.revisions.live_of_all()
        for project, invalid in found.invalid.items():
            self._fail(project, invalid.number, self._store.revisions.invalid(project, invalid))
        for project in (self.loaded.keys() | self.failed.keys()) - found.live.keys() - found.invalid.keys():
            self.loaded.pop(project, None)
            self.failed.pop(project, None)
            self._taken(project, None)
        for project, (number, _) in found.live.items():
            if self.loaded.get(project) != number:
                await self._load(project, number)
            else:
                self.failed.pop(project, None)
        return before != (self.loaded, self.failed)

    async def _load(self, project: str, number: int) -> None:
        try:
            revision = await self._verified(project, number)
        except Exception as error:
            if not concerns_revision(error):
                raise
            self._fail(project, number, error)
            return
        self._taken(project, revision)
        self.loaded[project] = number
        self.failed.pop(project, None)

    async def _verified(self, project: str, number: int) -> Revision:
        """Load a revision to follow, which must be authentic and have all programs and contents in the store.

        Raises NotFound, NotAuthentic or WrongStore if not.
        """
        revisions = self._store.revisions
        revision = await revisions.load(number, project=project)
        missing = await revisions.missing(revision)
        if missing:
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            names = ", ".join(f"{each[:12]}…" for each in missing[:NAMED])
            raise NotFound(f"revision {number} needs programs that the store does not have: {names}{more}")
        return revision

    def _fail(self, project: str, number: int, error: Exception) -> None:
        failed = failure(number, error)
        if failed != self.failed.get(project):
            self.failed[project] = failed
            log.warning(
                "revision %d cannot be loaded: %s",
                number,
                failed.reason,
                extra={"action": "revision.refused", "revision": number},
            )
