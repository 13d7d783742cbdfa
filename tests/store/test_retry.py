"""Retry and suspension: the same run continues from its state."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from iogate.security.keyring import digest
from iogate.store import keys
from iogate.store.runs.leases import Claim, TaskRow
from iogate.store.runs.retry import RetryRequest
from iogate.store.store import Store
from tests.store.builders import (
    PROGRAM,
    RunStore,
    accepted,
    commit,
    publish,
    recovered_twice,
    scripted,
    state_of,
)
from tests.store.events.test_bus import event, listening, matched, wanting

V = hashlib.sha256(b"v").hexdigest()[:32]
"""Name of the value."""
NAMES_V = b'{"$values":{"input":"%b"}}' % V.encode()
KEPT = {"2": digest(NAMES_V)}
"""Digests of the frames with which a run faults."""
ROW = TaskRow(reference="/do/0/pay", name="pay", status="faulted", started_at_ms=5, ended_at_ms=6)


async def claimed(store: RunStore, **changes: Any) -> Claim:
    await accepted(store.intake(), **changes)
    (claim,) = (await store.leases.take("w", 1)).claims
    return claim


async def taken(store: RunStore) -> Claim:
    (claim,) = (await store.leases.take("w", 5)).claims
    return claim


async def faulted(store: Store, **changes: Any) -> Claim:
    """Return a run that faulted with its state in the store."""
    claim = await claimed(store, **changes)
    state: dict[str, Any] = {"head": b"h1", "frames": {"1": b"f1", "2": b"f2"}, "values": {V: b"v"}}
    await store.leases.commit([commit(claim, "keep", journal=[b'{"n":1}'], **state)])
    last: dict[str, Any] = {
        "head": b"h2",
        "frames": {"2": NAMES_V},
        "frames_gone": ["1"],
        "digests": KEPT,
        "tasks": [ROW],
        "journal": [b'{"n":2}'],
    }
    await store.leases.commit([commit(claim, "end", "faulted", seq=2, error=b'{"status":500}', **last)])
    return claim


@pytest.mark.parametrize("size", [2, 9_000])
async def test_a_retried_run_keeps_its_uid_and_history(each_store: Store, size: int) -> None:
    await publish(each_store)
    data = b'"' + b"x" * size + b'"'
    first = await faulted(each_store, input=data, timeout_s=300.0)
    before = await each_store.runs.show(first.uid)
    assert before is not None
    assert await each_store.call("TTL", keys.FRAMES + first.uid) > 0
    assert await each_store.runs.retry(first.uid) == "retried"
    view = await each_store.runs.show(first.uid)
    assert view is not None
    assert (view.status, view.state, view.attempt, view.deaths) == ("pending", "queue", 2, 0)
    assert (view.created_at_ms, view.started_at_ms) == (before.created_at_ms, before.started_at_ms)
    assert view.tasks == before.tasks
    assert await each_store.call("TTL", keys.FRAMES + first.uid) == -1

    claim = await taken(each_store)
    assert (claim.uid, claim.attempt, claim.seq, claim.token) == (first.uid, 2, 2, 2)
    assert (claim.head, claim.frames, claim.values) == (b"h2", {"2": NAMES_V}, {V: b"v"})
    assert claim.input == data
    assert claim.deadline_ms is not None
    assert claim.deadline_ms >= (before.ended_at_ms or 0) + 300_000
    end = commit(claim, "end", output=b"1", journal=[b'{"n":3}'])
    await each_store.leases.commit([end])
    view = await each_store.runs.show(first.uid)
    assert view is not None
    assert (view.status, view.attempt, len(view.tasks)) == ("completed", 2, 1)
    lines = [msgspec.json.decode(line) for line in await each_store.runs.journal(first.uid)]
    assert [line.get("n") or line["kind"] for line in lines] == [1, 2, "workflow.retried", 3]
    assert await each_store.call("KEYS", f"iogate:frames:{first.uid}") == []
    assert (await each_store.runs.counts())["completed"] == 1


async def test_only_faulted_runs_can_be_retried_and_each_attempt_once(each_store: Store) -> None:
    await publish(each_store)
    retry = each_store.runs.retry
    assert await retry("1") == "unknown"
    claim = await claimed(each_store)
    assert await retry(claim.uid) == "running"
    await each_store.leases.commit([commit(claim)])
    assert await retry(claim.uid) == "completed"
    stopped = await accepted(each_store.intake())
    await each_store.runs.cancel(stopped)
    assert await retry(stopped) == "cancelled"
    first = await faulted(each_store)
    start = await each_store.runs.load_state(first.uid)
    assert start is not None
    assert await retry(first.uid, start) == "retried"
    assert await retry(first.uid, start) == "retried"
    claim = await taken(each_store)
    assert claim.attempt == 2
    await each_store.leases.commit([commit(claim, "end", "faulted", head=b"h3", digests=KEPT)])
    assert await retry(first.uid, start) == "changed"
    await each_store.call("DEL", keys.FRAMES + first.uid)
    assert await retry(first.uid) == "lost"


async def retries(store: Store, uid: str) -> list[dict[str, Any]]:
    lines = [msgspec.json.decode(line) for line in await store.runs.journal(uid)]
    return [line["detail"] for line in lines if line.get("kind") == "workflow.retried"]


async def test_the_journal_names_the_author_of_a_retry_once_and_sinks_get_nothing(each_store: Store) -> None:
    await publish(each_store)
    await each_store.outbox.register({"audit": True})
    first = await faulted(each_store)
    start = await each_store.runs.load_state(first.uid)
    request = RetryRequest(by="ada@host", origin="/do/0/pay", revision=2)
    for _ in range(2):
        assert await each_store.runs.retry(first.uid, start, request) == "retried"
    recorded = {"attempt": 2, "by": "ada@host", "from": "/do/0/pay", "revision": 2}
    assert await retries(each_store, first.uid) == [recorded]
    await each_store.leases.commit(
        [commit(await taken(each_store), "end", "faulted", head=b"h3", digests=KEPT)]
    )
    assert await each_store.runs.retry(first.uid) == "retried"
    assert await retries(each_store, first.uid) == [recorded, {"attempt": 3}]
    assert await each_store.outbox.take("audit", "c", 100) == []


async def test_a_full_journal_drops_its_oldest_entry_for_that_of_a_retry(each_store: Store) -> None:
    with scripted(journal_entries=2):
        await publish(each_store)
        first = await faulted(each_store)
        for _ in range(2):
            await each_store.runs.retry(first.uid)
            await each_store.leases.commit(
                [commit(await taken(each_store), "end", "faulted", head=b"h3", digests=KEPT)]
            )
        kept = [(n, msgspec.json.decode(line)["kind"]) async for n, line in each_store.runs.follow(first.uid)]
        assert kept == [(3, "workflow.retried"), (4, "workflow.retried")]


async def test_a_retry_can_replace_state_and_program(each_store: Store) -> None:
    await publish(each_store)
    first = await faulted(each_store)
    start = await each_store.runs.load_state(first.uid)
    assert start is not None
    assert (start.head, start.frames, start.values) == (b"h2", {"2": NAMES_V}, {V: b"v"})
    assert (start.attempt, start.facts.program) == (1, PROGRAM)
    facts = msgspec.structs.replace(start.facts, program="p2", revision=2)
    changed = msgspec.structs.replace(start, head=b"h0", frames={"9": b"f9"}, values={}, facts=facts)
    assert await each_store.runs.retry(first.uid, changed) == "retried"
    claim = await taken(each_store)
    assert (claim.program, claim.revision, claim.head) == ("p2", 2, b"h0")
    assert (claim.frames, claim.values) == ({"9": b"f9"}, {})


async def test_a_poisoned_run_is_retried_from_its_last_commit(each_store: Store) -> None:
    await publish(each_store)
    claim = await claimed(each_store)
    await each_store.leases.commit([commit(claim, "keep", head=b"h", frames={"1": b"f"}, journal=[b"{}"])])
    await poison(each_store)
    assert await each_store.runs.retry(claim.uid) == "retried"
    again = await taken(each_store)
    assert (again.deaths, again.attempt, again.seq, again.head) == (0, 2, 1, b"h")


async def test_a_run_that_faulted_before_its_first_commit_restarts(each_store: Store) -> None:
    await publish(each_store)
    claim = await claimed(each_store)
    await poison(each_store)
    assert await each_store.runs.retry(claim.uid) == "retried"
    again = await taken(each_store)
    assert (again.seq, again.head, again.frames) == (0, None, {})
    await each_store.leases.commit([commit(again, "end", "faulted", error=b"{}", tasks=[ROW])])
    assert await each_store.runs.retry(claim.uid) == "retried"
    assert (await taken(each_store)).seq == 0


async def poison(store: Store) -> None:
    await recovered_twice(store, "w")
    for _ in range(keys.DEATHS):
        assert len((await store.leases.take("alone", 1, solitary=True)).claims) == 1
        await store.leases.recover("alone")


async def test_message_numbers_continue_after_a_retry(each_store: Store) -> None:
    await publish(each_store)
    claim = await listening(each_store, {1: wanting()}, move="keep")
    await each_store.events.publish([event(1)])
    await matched(each_store)
    await each_store.leases.commit([commit(claim, "end", "faulted", seq=2, head=b"h", inbox_done=1)])
    await each_store.runs.retry(claim.uid)
    again = await taken(each_store)
    await each_store.leases.commit([commit(again, "park", wants={1: wanting()})])
    await each_store.events.publish([event(2)])
    await matched(each_store)
    assert [message.number for message in (await taken(each_store)).inbox] == [2]


# Suspension.


async def test_a_suspended_wait_does_not_end_until_it_is_resumed(each_store: Store) -> None:
    await publish(each_store)
    claim = await claimed(each_store)
    long = commit(claim, "park", due_ms=claim.created_at_ms + 600_000, head=b"h")
    await each_store.leases.commit([long])
    assert await each_store.runs.suspend(claim.uid) == "suspended"
    assert await each_store.runs.suspend(claim.uid) == "suspended"
    view = await each_store.runs.show(claim.uid)
    assert view is not None
    assert (view.status, view.state) == ("suspended", "suspended")
    assert await each_store.call("ZCARD", keys.TIMERS) == 0
    assert await each_store.leases.audit() == 0
    assert await each_store.runs.resume(claim.uid) == "resumed"
    assert await each_store.runs.resume(claim.uid) == "not suspended"
    view = await each_store.runs.show(claim.uid)
    assert view is not None
    assert (view.status, view.state) == ("waiting", "timer")
    await each_store.runs.suspend(claim.uid)
    await each_store.call("HSET", keys.RUN + claim.uid, "due", claim.created_at_ms)
    assert (await each_store.leases.take("w", 1)).claims == ()
    await each_store.runs.resume(claim.uid)
    assert (await taken(each_store)).uid == claim.uid


async def test_a_suspended_run_keeps_its_events(run_store: RunStore) -> None:
    await publish(run_store)
    claim = await listening(run_store, {1: wanting()})
    await run_store.runs.suspend(claim.uid)
    await run_store.events.publish([event()])
    await matched(run_store)
    assert await state_of(run_store, claim.uid) == "suspended"
    await run_store.runs.resume(claim.uid)
    assert [message.data for message in (await taken(run_store)).inbox] == [event()]


async def test_a_run_whose_worker_died_in_a_short_wait_continues_when_resumed(each_store: Store) -> None:
    """Its worker stays with it, so its last commit has no due time."""
    await publish(each_store)
    claim = await claimed(each_store)
    await each_store.leases.commit([commit(claim, "keep", "waiting", head=b"h")])
    await each_store.leases.recover("w")
    assert await each_store.runs.suspend(claim.uid) == "suspended"
    assert await each_store.runs.resume(claim.uid) == "resumed"
    assert (await taken(each_store)).uid == claim.uid


@pytest.mark.parametrize("move", ["park", "queue"])
async def test_a_running_run_is_suspended_when_it_next_waits(run_store: RunStore, move: str) -> None:
    await publish(run_store)
    claim = await claimed(run_store)
    assert await run_store.runs.suspend(claim.uid) == "asked"
    assert (await run_store.leases.renew("w", {claim.uid: claim.token})).suspended == {claim.uid}
    (verdict,) = await run_store.leases.commit([commit(claim, "keep", head=b"h")])
    assert verdict.suspended
    await run_store.leases.commit([commit(claim, move, seq=2)])
    assert await state_of(run_store, claim.uid) == "suspended"
    await run_store.runs.resume(claim.uid)
    assert await state_of(run_store, claim.uid) == ("timer" if move == "park" else "queue")
    assert (await run_store.runs.counts())["suspended"] == 0


async def test_an_unstarted_run_is_suspended_and_starts_when_resumed(run_store: RunStore) -> None:
    await publish(run_store)
    uid = await accepted(run_store.intake())
    assert await run_store.runs.suspend(uid) == "suspended"
    assert (await run_store.leases.take("w", 5)).claims == ()
    if isinstance(run_store, Store):
        assert (await run_store.gates.states())["orders/submit"].queued == 0
    assert await run_store.runs.resume(uid) == "resumed"
    assert (await taken(run_store)).uid == uid
    assert await run_store.runs.suspend(uid) == "asked"
    await run_store.leases.release("w", {uid: 1})
    assert await state_of(run_store, uid) == "suspended"


@pytest.mark.parametrize("state", ["begun", "new"])
async def test_a_suspended_run_can_be_cancelled(run_store: RunStore, state: str) -> None:
    await publish(run_store)
    begun = state == "begun"
    if begun:
        claim = await claimed(run_store)
        await run_store.leases.commit([commit(claim, "park", head=b"h")])
        uid = claim.uid
    else:
        uid = await accepted(run_store.intake())
    assert await run_store.runs.suspend(uid) == "suspended"
    assert await run_store.runs.cancel(uid, "enough") == ("asked" if begun else "cancelled")
    if begun:
        again = await taken(run_store)
        assert again.cancelled
        assert await run_store.runs.suspend(uid) == "cancelled"
        await run_store.leases.commit([commit(again, "end", "cancelled")])
    assert await run_store.runs.suspend(uid) == "ended"
    assert await run_store.runs.resume(uid) == "ended"
    assert await run_store.runs.resume("1") == await run_store.runs.suspend("1") == "unknown"
    assert (await run_store.runs.counts())["cancelled"] == 1
