"""Runs of the live system by its store.

Used by `store_system`.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from iogate.cli.system.system import Deletion, RunChange, RunChanges, interrupted
from iogate.errors import NotFound, Refused
from iogate.operators import statistics
from iogate.operators.activity import Record, recorded, target
from iogate.operators.runs import run_actions, run_deletion, run_files
from iogate.operators.runs.filter_names import require_known_names
from iogate.operators.runs.run_details import (
    find_run,
    is_uid,
    journal_of,
    reasons_to_wait,
    run_json,
    run_not_found,
)
from iogate.store.connection.failures import StoreUnavailable
from iogate.store.runs.presentation import journal_entry
from iogate.store.runs.run_index import LOOKED_AT_MOST, RunFilter

if TYPE_CHECKING:
    from iogate.cli.system.system import Json
    from iogate.operators.roles import Actor
    from iogate.store.store import Store


class StoreRuns:
    """Runs in an open store."""

    def __init__(self, store: Store, actor: Actor) -> None:
        self._store, self._actor = store, actor

    async def list(
        self, wanted: RunFilter, *, limit: int, cursor: str | None = None, complete: bool = False
    ) -> Json:
        most = None if complete else LOOKED_AT_MOST
        return await run_actions.listing(
            self._store, wanted, limit=limit, cursor=cursor, most=most, most_s=math.inf
        )

    async def show(self, uid: str, *, data: bool = False, task: str | None = None) -> Json:
        return await run_actions.show(self._store, uid, data=data, task=task)

    async def wait(self, uid: str, wait_s: float) -> Json:
        view = await find_run(self._store, uid)
        if not view.ended and wait_s > 0:
            view = await self._store.runs.wait(uid, wait_s) or view
        return run_json(view, **await reasons_to_wait(self._store, view))

    async def journal(self, uid: str) -> Json:
        await find_run(self._store, uid)
        return {"uid": uid, "entries": await journal_of(self._store, uid)}

    async def follow(self, uid: str) -> AsyncIterator[Json]:
        await find_run(self._store, uid)
        async for _, raw in self._store.runs.follow(uid):
            yield journal_entry(raw)

    async def input(self, uid: str) -> Any:
        return json.loads((await find_run(self._store, uid)).input)

    async def files(self, uid: str) -> Sequence[Json]:
        return await run_files.list_files(self._store, uid)

    async def read_file(self, uid: str, file: Json) -> bytes:
        return await run_files.read_file(self._store, uid, file)

    async def statistics(
        self, *, api: str | None, workflow: str | None, since_ms: int | None, until_ms: int | None
    ) -> Json:
        found = await statistics.run_statistics(
            self._store, api=api, workflow=workflow, since_ms=since_ms, until_ms=until_ms
        )
        if not found["apis"]:
            await require_known_names(self._store, RunFilter(api=api, workflow=workflow))
        return found

    async def errors(self, *, api: str | None, since_ms: int | None) -> Json:
        found = await statistics.error_groups(self._store, api=api, since_ms=since_ms)
        if not found["errors"]:
            await require_known_names(self._store, RunFilter(api=api))
        return found

    async def change(self, change: RunChange, uids: Sequence[str]) -> RunChanges:
        try:
            return await self._change(change, uids) if uids else RunChanges()
        except StoreUnavailable as error:
            if not change.operation:
                raise
            raise interrupted(error.message, change.operation) from None

    async def prune(self, wanted: Deletion) -> int:
        store, record = self._store, Record()
        found = await run_deletion.select(store, wanted.filter, wanted.before_ms)
        wanted.confirm(found.to_json())
        if not found.uids:
            return 0
        about = target("run", found.uids)
        async with recorded(
            store, self._actor, "runs.prune", about, wanted.reason, record=record, frees_memory=True
        ):
            return await run_deletion.delete(store, found, wanted.filter, wanted.before_ms, record)

    async def _change(self, change: RunChange, uids: Sequence[str]) -> RunChanges:
        found, record = RunChanges(), Record()
        about = target("run", uids)
        async with recorded(
            self._store, self._actor, f"runs.{change.action}", about, change.reason, record=record
        ):
            change_one = await self._changer(change)
            for uid in uids:
                try:
                    if not is_uid(uid):
                        raise run_not_found(uid)
                    found.done.append(await change_one(uid))
                except (Refused, NotFound) as error:
                    found.left.append(error)
            record.count = sum(each["outcome"] != "unchanged" for each in found.done)
            record.note = f"{change.verb} {record.count}"
            if found.left:
                record.note += f", left {len(found.left)}: {found.left[0].message}"
                record.outcome = "done" if record.count else "refused"
        return found

    async def _changer(self, change: RunChange) -> Callable[[str], Awaitable[Json]]:
        """Return the function that changes one run, and raises NotFound or Refused if it cannot."""
        store, actor, operation = self._store, self._actor, change.operation
        match change.action:
            case "cancel":
                return lambda uid: run_actions.cancel(
                    store, uid, actor=actor, reason=change.reason, operation=operation
                )
            case "suspend":
                return lambda uid: run_actions.suspend(store, uid, operation=operation)
            case "resume":
                return lambda uid: run_actions.resume(store, uid, operation=operation)
            case "redeliver":
                return lambda uid: run_actions.redeliver(store, uid)
            case "retry":
                # It takes time to import the engine.
                from iogate.operators.runs.run_retry import Retrier

                retrier = Retrier(
                    store=store,
                    pointer=change.pointer,
                    current=change.current,
                    by=actor.name,
                    now_ms=await store.timer_now_ms(),
                    reason=change.reason,
                    operation=operation,
                    compare=True,
                )

                async def retry(uid: str) -> Json:
                    """Retry a run; raise NotFound or Refused as `_changer` says."""
                    known = len(retrier.remarks)
                    await retrier.retry(uid)
                    return {"uid": uid, "outcome": "retried", "remarks": retrier.remarks[known:]}

                return retry
