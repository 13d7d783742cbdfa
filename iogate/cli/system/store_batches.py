"""Batches of the live system by its store.

Used by `store_system`. Without live workers, the command that has made or continued a batch carries it out
itself, if this machine has the link_key.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from iogate.cli.system.system import interrupted
from iogate.operators.activity import Record, Target, recorded, target
from iogate.operators.batches import batch_selection, batches
from iogate.security.keyring import missing
from iogate.store.connection.failures import StoreUnavailable

if TYPE_CHECKING:
    from iogate.cli.system.system import Json
    from iogate.operators.batches.batch_execution import BatchExecutor
    from iogate.operators.batches.batch_selection import BatchRequest
    from iogate.operators.roles import Actor
    from iogate.store.store import Store


class StoreBatches:
    """Batches in an open store."""

    def __init__(self, store: Store, actor: Actor) -> None:
        self._store, self._actor = store, actor
        self.carries_out = store.keyring.can_sign
        self._executor: BatchExecutor | None = None

    async def preview(self, request: BatchRequest, reason: str) -> Json:
        del reason
        return await batch_selection.preview(self._store, request)

    async def create(
        self, request: BatchRequest, *, reason: str, operation: str, at_most: int | None
    ) -> Json:
        record = Record()
        about = Target(type="batch", ids=(batches.batch_id(operation),), count=at_most or 0)
        try:
            async with recorded(self._store, self._actor, "batches.create", about, reason, record=record):
                return await batches.create(
                    self._store,
                    self._actor,
                    request,
                    operation=operation,
                    reason=reason,
                    at_most=at_most,
                    record=record,
                )
        except StoreUnavailable as error:
            raise interrupted(error.message, operation) from None

    async def list(self, limit: int) -> Json:
        return await batches.listing(self._store, limit=limit)

    async def show(self, id_: str) -> Json:
        return await batches.show(self._store, id_)

    async def stop(self, id_: str, reason: str) -> Json:
        async with recorded(self._store, self._actor, "batches.stop", target("batch", [id_]), reason):
            return await batches.stop(self._store, id_)

    async def proceed(self, id_: str, reason: str) -> Json:
        if not self.carries_out:
            batch = await self.show(id_)
            if not batch["workers"] and batch["endedAt"] is None:
                raise missing("no worker is running: this command would carry out the batch")
        async with recorded(self._store, self._actor, "batches.continue", target("batch", [id_]), reason):
            return await batches.proceed(self._store, self._actor, id_)

    async def step(self) -> float | None:
        if self._executor is None:
            # It takes time to import the engine.
            from iogate.operators.batches.batch_execution import BatchExecutor

            self._executor = BatchExecutor(self._store, f"command-{secrets.token_hex(6)}")
        # A cancelled command first stops the batch; the step then ends at its next run.
        return await asyncio.shield(self._executor.step())
