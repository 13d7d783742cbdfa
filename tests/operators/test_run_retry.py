"""Retry of runs whose definition is not that of an API."""

from __future__ import annotations

import pytest

from iogate.errors import Refused
from iogate.operators.runs.run_retry import Retrier
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish


async def test_a_standing_run_has_no_current_definition(store: Store) -> None:
    await publish(store)
    uid = await accepted(store.intake(), revision=LIVE_REVISION)
    (claim,) = (await store.leases.take("worker", 1)).claims
    await store.leases.commit([commit(claim, status="faulted", error=b"{}")])
    retrier = Retrier(store=store, pointer=None, current=True, by="me", now_ms=0)
    with pytest.raises(Refused) as caught:
        await retrier.retry(uid)
    assert (
        caught.value.message == f"run {uid} is the standing run of a schedule: it has no current definition"
    )
    assert caught.value.hint == "retry without --on current"
