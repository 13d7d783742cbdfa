"""Revisions of the live system by its store: history, plans, publication and rollback.

Used by `store_system`. Invariant: exactly the plan that was confirmed is published, over exactly the revision
that it was compared with; a repair replaces whatever is live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.operators import revisions

if TYPE_CHECKING:
    from iogate.cli.system.system import Json, PlanRequest, PublicationRequest
    from iogate.operators.publication_plan import PublicationPlan
    from iogate.operators.publications import Publication
    from iogate.operators.revisions import Version
    from iogate.operators.roles import Actor
    from iogate.reconcile.live_plan import LivePlan
    from iogate.store.store import Store
    from iogate.testing.behaviour.replays import WorkflowReplay


class StoreRevisions:
    """Revisions in an open store."""

    def __init__(self, store: Store, actor: Actor) -> None:
        self._store, self._actor = store, actor

    async def history(self, limit: int) -> Json:
        return await revisions.page(self._store, limit=limit)

    async def show(self, number: int | None) -> Json:
        return await revisions.show(self._store, number)

    async def diff(self, before: int | None, after: int | None) -> Json:
        return await revisions.diff(self._store, before, after)

    async def version(self, number: int | None) -> Version:
        return await revisions.version(self._store, number)

    async def drift(self) -> Json:
        from iogate.operators import drift

        return await drift.show(self._store)

    async def previous(self) -> int:
        from iogate.operators import publications

        return await publications.previous(self._store)

    async def plan(self, wanted: PlanRequest) -> PublicationPlan:
        from iogate.operators.publication_plan import describe_plan

        return await describe_plan(self._store, await self._plan_files(wanted))

    async def replay(self, wanted: PlanRequest, *, count: int, limit_s: float) -> tuple[WorkflowReplay, ...]:
        from iogate.testing.behaviour.replays import replay_changes

        found = await self._plan_files(wanted)
        before = found.before if found.number else None
        store = self._store
        return await replay_changes(
            store.runs, store.revisions, before, found.bundle, count=count, limit_s=limit_s
        )

    async def publish(self, wanted: PublicationRequest) -> Publication:
        from iogate.operators import publications
        from iogate.operators.publication_plan import describe_plan

        store, source, origin = self._store, wanted.source, wanted.origin
        if isinstance(source, int):
            found = await publications.plan_rollback(store, source, repair=wanted.repair)
        else:
            found = await self._plan_files(source, repair=wanted.repair)
        await wanted.confirm(await describe_plan(store, found, with_processes=False))
        if isinstance(source, int):
            origin = await publications.rollback_origin(
                store, source, author=origin.author, message=origin.message
            )
        async with publications.recorded_publication(
            store, self._actor, found, origin, clear_overrides=wanted.clear_overrides
        ) as note:
            done = await publications.publish(
                store,
                found,
                origin,
                wait_s=wanted.wait_s,
                clear_overrides=wanted.clear_overrides,
                rollback_on_failure=wanted.rollback_on_failure,
            )
            note(done.applied)
        return done

    async def _plan_files(self, wanted: PlanRequest, *, repair: bool = False) -> LivePlan:
        from iogate.reconcile.live_plan import against_live

        return await against_live(self._store, wanted.bundle, wanted.cases, wanted.scope, repair=repair)
