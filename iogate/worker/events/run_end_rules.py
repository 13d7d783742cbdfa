"""What an API declares for the end of its runs, by the revision that a run is pinned to.

Used by the delivery of callbacks and by the runner of fault handlers. Invariant: if the revision of a run was
removed, the live revision of the project counts.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from iogate.compiler.revision import Api, Callback, FaultHandler
from iogate.errors import NotFound
from iogate.store.revisions.revisions import NotAuthentic

if TYPE_CHECKING:
    from iogate.compiler.revision import Revision
    from iogate.worker.ports import Revisions

KEPT: Final = 8
"""Revisions in memory."""


class RunEndRules:
    """Cache of the declarations of APIs."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._kept: OrderedDict[int, Revision] = OrderedDict()

    async def callback(self, revision: int, api: str) -> Callback | None:
        """Return the callback of an API by its rules for the end of runs in a revision; None without one.

        Raises Unreachable or CommandFailed.
        """
        found = await self._api(revision, api)
        return found.callback if found is not None and isinstance(found.callback, Callback) else None

    async def handler(self, revision: int, api: str) -> tuple[int, FaultHandler] | None:
        """Return the workflow that a fault starts by the rules of a revision; None without one.

        Raises Unreachable or CommandFailed.
        """
        found = await self._api(revision, api)
        if found is None or not isinstance(found.on_fault, FaultHandler):
            return None
        return revision, found.on_fault

    async def _api(self, number: int, api: str) -> Api | None:
        revision = await self._load(number)
        if revision is None:
            live = await self._revisions.live_for(api)
            revision = None if live is None else await self._load(live[0])
        return None if revision is None else revision.apis.get(api)

    async def _load(self, number: int) -> Revision | None:
        known = self._kept.get(number)
        if known is not None:
            self._kept.move_to_end(number)
            return known
        try:
            revision = await self._revisions.load(number)
        except (NotFound, NotAuthentic):
            return None
        self._kept[number] = revision
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return revision
