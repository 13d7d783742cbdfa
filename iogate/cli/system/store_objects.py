"""APIs, workflows and schedules of the live system by its store.

Used by `store_system`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from iogate.operators import apis, gates, schedules, workflows
from iogate.operators.activity import recorded, target
from iogate.operators.live_revision import find_api, live_revision

if TYPE_CHECKING:
    from iogate.cli.system.system import GateSwitch, Json
    from iogate.compiler.revision import Api
    from iogate.operators.roles import Actor
    from iogate.store.store import Store


class StoreApis:
    """APIs in an open store."""

    def __init__(self, store: Store, actor: Actor) -> None:
        self._store, self._actor = store, actor

    async def list(self) -> Json:
        return await apis.list_all(self._store)

    async def show(self, api: str) -> Json:
        return await apis.show(self._store, api)

    async def contract(self, api: str) -> Api:
        _, revision = await live_revision(self._store)
        return find_api(revision, api)

    async def switch(self, wanted: GateSwitch) -> Json:
        store, actor = self._store, self._actor
        selected = await gates.selected(store, wanted.selection, enabled=wanted.enabled)
        confirmed: list[str] | None = None
        if wanted.confirm is not None:
            wanted.confirm(selected)
            confirmed = selected
        about = target("api", selected)
        async with recorded(store, actor, "apis.override", about, wanted.reason, frees_memory=True) as record:
            while True:
                try:
                    done = await gates.switch(
                        store,
                        wanted.selection,
                        enabled=wanted.enabled,
                        author=actor.name,
                        reason=wanted.reason,
                        ttl_s=wanted.ttl_s,
                        hold=wanted.hold,
                        rate=wanted.rate,
                        confirmed=confirmed,
                    )
                    break
                except gates.SelectionMoved as moved:
                    assert wanted.confirm is not None, "only a confirmed selection can move"
                    confirmed = moved.apis
                    wanted.confirm(confirmed)
            record.note, record.count = gates.describe_changes(done["changes"]), len(done["changes"])
        return done

    async def debug(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError("the command calls the gateway itself")

    async def overrides(self) -> Json:
        return await gates.list_overrides(self._store)

    async def clear_overrides(self, names: Sequence[str] | None, *, reason: str, rate: float | None) -> Json:
        about = target("api", names or ())
        async with recorded(
            self._store, self._actor, "apis.restore", about, reason, frees_memory=True
        ) as record:
            done = await gates.clear_overrides(self._store, names, rate=rate)
            record.count = len(done["cleared"])
        return done


class StoreWorkflows:
    """Workflows in an open store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self) -> Json:
        return await workflows.list_all(self._store)

    async def show(self, workflow: str) -> Json:
        return await workflows.show(self._store, workflow)


class StoreSchedules:
    """Schedules in an open store."""

    def __init__(self, store: Store, actor: Actor) -> None:
        self._store, self._actor = store, actor

    async def list(self) -> Json:
        return await schedules.list_all(self._store)

    async def enable(self, names: Sequence[str], *, reason: str) -> Json:
        about = target("schedule", names)
        async with recorded(self._store, self._actor, "schedules.enable", about, reason):
            return await schedules.enable(self._store, names, author=self._actor.name)

    async def disable(self, names: Sequence[str], *, reason: str, ttl_s: float | None) -> Json:
        store, actor, about = self._store, self._actor, target("schedule", names)
        async with recorded(store, actor, "schedules.disable", about, reason, frees_memory=True):
            return await schedules.disable(store, names, author=actor.name, reason=reason, ttl_s=ttl_s)

    async def run(self, names: Sequence[str], *, reason: str) -> Json:
        about = target("schedule", names)
        async with recorded(self._store, self._actor, "schedules.run", about, reason) as record:
            done = await schedules.run(self._store, names, author=self._actor.name)
            record.note = ", ".join(f"run {uid}" for uid in done["runs"].values())
        return done
