"""Retry of runs that are not retried as others are."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.compiler.program import load
from iogate.compiler.revision import Bundle, Revision, canonical, digest_of
from iogate.errors import Refused
from iogate.operators.batches.batch_selection import BatchRequest, select
from iogate.operators.roles import command_actor
from iogate.operators.runs import run_actions
from iogate.operators.runs.run_retry import Retrier
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.store.runs.run_index import RunFilter
from iogate.store.state_codec import Codec
from iogate.store.store import Store
from tests.engine.engine_runs import HEADER, Run
from tests.store.builders import accepted, api, commit, publish
from tests.store.test_clock import set_back


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


async def test_a_timeout_begins_again_also_after_the_clock_was_set_back(store: Store) -> None:
    """The time of timers is then ahead of the clock of the server."""
    fails = {"raise": {"error": {"type": "https://example.com/no", "status": 500}}}
    definition: dict[str, Any] = {
        "document": HEADER,
        "do": [{"outer": {"do": [{"fails": fails}], "timeout": {"after": "PT1M"}}}],
    }
    digest, served = digest_of(definition), api()
    programs = {digest: canonical(definition), served.program: b"{}"}
    revision = Revision(apis={served.id: served}, workflows={})
    await store.revisions.publish(Bundle(revision=revision, programs=programs))
    uid = await accepted(store.intake(), served, program=digest)
    (claim,) = (await store.leases.take("worker", 1)).claims
    run = Run(load(definition), input={"sku": "A-1"})
    run.advance()
    delta = Codec(input=claim.input).delta(run.state)
    state: dict[str, Any] = {"head": delta.head, "frames": delta.frames, "values": delta.values}
    await store.leases.commit([commit(claim, status="faulted", error=b"{}", **state)])
    await set_back(store)
    now_ms = (await store.leases.take("worker", 0)).now_ms
    await run_actions.retry(store, uid, actor=command_actor("ada"))
    (again,) = (await store.leases.take("worker", 1)).claims
    assert again.head is not None
    frames = Codec(input=again.input).load(again.head, again.frames, again.values).frames.values()
    (deadline_ms,) = [each.deadline_ms for each in frames if each.deadline_ms is not None]
    assert deadline_ms >= now_ms + 60_000
