"""The live system by its store, for commands on a machine that reaches it.

Opened by `Session.system`. Each operation is a function of `iogate.operators`, with the record of a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.cli.system.store_batches import StoreBatches
from iogate.cli.system.store_objects import StoreApis, StoreSchedules, StoreWorkflows
from iogate.cli.system.store_revisions import StoreRevisions
from iogate.cli.system.store_runs import StoreRuns
from iogate.operators import activity, status

if TYPE_CHECKING:
    from iogate.cli.system.system import Gateway, Json, System
    from iogate.operators.roles import Actor
    from iogate.settings import Settings
    from iogate.store.store import Store


class StoreSystem:
    """System on an open store; `actor` is the author of its changes."""

    def __init__(self, store: Store, settings: Settings, actor: Actor) -> None:
        self._store, self._settings, self._actor = store, settings, actor
        self.runs = StoreRuns(store, actor)
        self.batches = StoreBatches(store, actor)
        self.apis = StoreApis(store, actor)
        self.workflows = StoreWorkflows(store)
        self.schedules = StoreSchedules(store, actor)
        self.revisions = StoreRevisions(store, actor)

    async def gateway(self) -> Gateway:
        from iogate.cli.apis.gateway_call import live_gateway_url
        from iogate.cli.system.system import Gateway
        from iogate.settings.urls import own_certificate

        url = await live_gateway_url(self._store, self._settings)
        return Gateway(url=url, certificate=own_certificate(self._settings))

    async def status(self) -> Json:
        return await status.show(self._store, self._settings)

    async def activity(
        self,
        *,
        since_ms: int | None,
        operator: str | None,
        action: str | None,
        target: str | None,
        limit: int,
    ) -> Json:
        return await activity.page(
            self._store, since_ms=since_ms, operator=operator, action=action, about=target, limit=limit
        )


if TYPE_CHECKING:
    _: type[System] = StoreSystem
