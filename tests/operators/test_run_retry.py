"""Retry of runs that are not retried as others are."""

from __future__ import annotations

import pytest

from iogate.errors import Refused
from iogate.operators.batches.batch_selection import BatchRequest, select
from iogate.operators.runs.run_retry import Retrier
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.store.runs.run_index import RunFilter
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish


@pytest.mark.parametrize("current", [False, True])
async def test_a_standing_run_is_not_retried(store: Store, *, current: bool) -> None:
    await publish(store)
    uid = await accepted(store.intake(), revision=LIVE_REVISION)
    (claim,) = (await store.leases.take("worker", 1)).claims
    await store.leases.commit([commit(claim, status="faulted", error=b"{}")])
    retrier = Retrier(store=store, pointer=None, current=current, by="me", now_ms=0)
    with pytest.raises(Refused) as caught:
        await retrier.retry(uid)
    assert caught.value.message == f"run {uid} is the standing run of a schedule, which has a new one"
    assert caught.value.hint == "it needs no retry; `iogate schedule list` shows the run that listens now"
    selected = await select(store, BatchRequest(action="retry", filter=RunFilter(statuses=("faulted",))))
    assert list(selected.runs) == []
