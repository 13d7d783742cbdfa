"""Child runs: started once with a commit of their parent, reported once, and ended with it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from iogate.compiler.revision import Limits
from iogate.store import keys
from iogate.store.integrity.seals import Facts
from iogate.store.runs.leases import Child, Claim, Message
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store
from tests.store.builders import (
    RunStore,
    accepted,
    api,
    commit,
    keys_like,
    publish,
    recovered_twice,
    state_of,
    until,
)

UIDS = UidSource()
FACTS = Facts(1, "shop/pay:1", "p1", "shop", None, "")


def child(frame: int = 7, **changes: Any) -> Child:
    given: dict[str, Any] = {
        "uid": UIDS.next(),
        "api": "orders/submit",
        "frame": frame,
        "facts": FACTS,
        "input": b"{}",
        "awaits": True,
    }
    return Child(**(given | changes))


def _of(parent: Claim, child: Child) -> Child:
    """Return the child as its parent's worker creates it."""
    facts = msgspec.structs.replace(child.facts, parent=f"{parent.uid}/{child.frame}")
    return msgspec.structs.replace(child, facts=facts)


async def parent_of(store: RunStore, *children: Child, move: str = "park") -> Claim:
    await accepted(store.intake(), caller="shop")
    (claim,) = (await store.leases.take("w", 1)).claims
    own = [_of(claim, child) if child.awaits else child for child in children]
    (verdict,) = await store.leases.commit([commit(claim, move, head=b"h", children=own)])
    assert verdict.applied
    return claim


async def taken(store: RunStore, uid: str) -> Claim:
    """Take and return the claim of this run."""
    claims = {claim.uid: claim for claim in (await store.leases.take("w", 50)).claims}
    return claims[uid]


def content_of(message: Message) -> dict[str, Any]:
    assert message.kind == "child"
    assert not message.forged
    found: dict[str, Any] = json.loads(message.data)
    found.pop("seal", None)
    return found


async def test_a_child_is_a_run_of_its_parents_api_with_a_higher_depth(each_store: Store) -> None:
    await publish(each_store)
    first = child(input=b'{"n":1}')
    parent = await parent_of(each_store, first)
    claim = await taken(each_store, first.uid)
    assert (claim.api, claim.workflow, claim.caller, claim.depth) == (parent.api, "shop/pay:1", "shop", 1)
    assert (claim.input, claim.retention_s, claim.seq) == (b'{"n":1}', parent.retention_s, 0)
    second = child()
    await each_store.leases.commit([commit(claim, "park", children=[second])])
    assert (await taken(each_store, second.uid)).depth == 2
    view = await each_store.runs.show(second.uid)
    assert view is not None
    assert view.parent == first.uid
    assert await each_store.runs.children(first.uid) == [second.uid]
    assert [run.uid for run in await each_store.runs.list(parent=first.uid)] == [second.uid]
    parents = {run.uid: run.parent for run in await each_store.runs.list()}
    assert parents == {parent.uid: None, first.uid: parent.uid, second.uid: first.uid}


async def test_a_repeated_commit_starts_no_second_child(run_store: RunStore) -> None:
    await publish(run_store)
    await accepted(run_store.intake())
    (claim,) = (await run_store.leases.take("w", 1)).claims
    once = commit(claim, "keep", children=[child(), child(8), child(9, awaits=False)])
    for _ in range(3):
        (verdict,) = await run_store.leases.commit([once])
        assert verdict.applied
    assert len((await run_store.leases.take("w", 50)).claims) == 3
    assert sum((await run_store.runs.counts()).values()) == 4


async def test_a_child_whose_uid_is_taken_gets_another_and_is_sealed_for_that(run_store: RunStore) -> None:
    await publish(run_store)
    uid = "213996969363999999"
    await accepted(run_store.intake(), uid=uid)
    await parent_of(run_store, child(1, uid=uid), child(2, uid=UIDS.next()))
    claims = [claim for claim in (await run_store.leases.take("w", 50)).claims if claim.depth == 1]
    assert len({claim.uid for claim in claims} - {uid}) == 2
    assert not any(claim.forged for claim in claims)


async def test_two_children_of_one_commit_do_not_share_a_uid(run_store: RunStore) -> None:
    await publish(run_store)
    uid = "213996969363999999"
    await parent_of(run_store, child(1, uid=uid), child(2, uid=uid), child(3, uid=uid))
    assert len({claim.uid for claim in (await run_store.leases.take("w", 50)).claims}) == 3


@pytest.mark.parametrize("move", ["park", "keep"])
@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        ("completed", {"output": b'{"paid":true}'}, {"output": {"paid": True}, "error": None}),
        ("faulted", {"error": b'{"status":500}'}, {"output": None, "error": {"status": 500}}),
        ("cancelled", {}, {"output": None, "error": None}),
    ],
)
async def test_the_end_of_a_child_reaches_its_parent(
    run_store: RunStore, move: str, status: str, fields: dict[str, bytes], expected: dict[str, Any]
) -> None:
    await publish(run_store)
    one = child(7)
    parent = await parent_of(run_store, one, move=move)
    received: list[str] = []

    async def arrived() -> bool:
        return bool(received)

    async with run_store.leases.inbox_changes(received.append):
        claim = await taken(run_store, one.uid)
        for _ in range(2):
            await run_store.leases.commit([commit(claim, "end", status, **fields)])
        if move == "park":
            inbox = (await taken(run_store, parent.uid)).inbox
        else:
            inbox = await run_store.leases.inbox(parent.uid, parent.token)
            await until(arrived)
    (message,) = inbox
    assert message.frame == 7
    assert content_of(message) == {"status": status, **expected}
    assert await keys_like(run_store, keys.CHILDREN + parent.uid) == []


async def test_a_child_that_is_not_awaited_has_no_parent(run_store: RunStore) -> None:
    await publish(run_store)
    one = child(awaits=False)
    parent = await parent_of(run_store, one, move="keep")
    await run_store.leases.commit([commit(parent, "end", seq=2)])
    claim = await taken(run_store, one.uid)
    assert not claim.cancelled
    await run_store.leases.commit([commit(claim)])
    view = await run_store.runs.show(one.uid)
    assert view is not None
    assert (view.status, view.parent) == ("completed", None)


async def test_children_in_every_state_end_with_their_parent(
    run_store: RunStore,
) -> None:
    """Queued, parked and leased ones, and their own children at their end."""
    await publish(run_store)
    queued, parked, leased = child(1), child(2), child(3)
    parent = await parent_of(run_store, parked, leased, move="keep")
    claims = {claim.uid: claim for claim in (await run_store.leases.take("w", 50)).claims}
    below = child(1)
    await run_store.leases.commit([commit(claims[parked.uid], "park", head=b"h", children=[below])])
    await run_store.leases.commit([commit(parent, "keep", seq=2, children=[queued])])
    (verdict,) = await run_store.leases.commit([commit(parent, "end", "faulted", seq=3, error=b"{}")])
    assert verdict.applied

    places = {uid: await state_of(run_store, uid) for uid in (queued.uid, parked.uid, leased.uid, below.uid)}
    assert places == {queued.uid: "end", parked.uid: "queue", leased.uid: "lease", below.uid: "queue"}
    held = {leased.uid: claims[leased.uid].token}
    assert (await run_store.leases.renew("w", held)).cancelled == {leased.uid}
    woken = await taken(run_store, parked.uid)
    assert woken.cancelled
    assert woken.reason == f"its parent {parent.uid} has ended"
    await run_store.leases.commit([commit(woken, "end", "cancelled")])
    view = await run_store.runs.show(below.uid)
    assert view is not None
    assert view.cancel_reason == f"its parent {parked.uid} has ended" or view.state == "lease"


async def test_an_abandoned_child_is_cancelled_and_sends_no_message(run_store: RunStore) -> None:
    await publish(run_store)
    one, two = child(1), child(2)
    parent = await parent_of(run_store, one, two, move="keep")
    claim = await taken(run_store, two.uid)
    await run_store.leases.commit([commit(parent, "keep", seq=2, children_gone=[1, 2])])
    (verdict,) = await run_store.leases.commit([commit(claim, "keep")])
    assert verdict.cancelled
    await run_store.leases.commit([commit(claim, "end", "cancelled", seq=2)])
    for uid in (one.uid, two.uid):
        view = await run_store.runs.show(uid)
        assert view is not None
        if uid == two.uid:
            assert view.cancel_reason == f"its parent {parent.uid} does not wait for it any more"
    assert await run_store.leases.inbox(parent.uid, parent.token) == ()


async def test_a_child_that_is_cancelled_before_its_start_or_poisoned_sends_a_message(
    each_store: Store,
) -> None:
    await publish(each_store)
    early, bad = child(1), child(2)
    parent = await parent_of(each_store, early, bad)
    assert await each_store.runs.cancel(early.uid, "not needed") == "cancelled"
    claims = {claim.uid: claim for claim in (await each_store.leases.take("w", 50)).claims}
    (message,) = claims[parent.uid].inbox
    assert (message.frame, content_of(message)["status"]) == (1, "cancelled")
    await each_store.leases.commit([commit(claims[parent.uid], "park", inbox_done=1)])
    await recovered_twice(each_store, "w")
    for _ in range(keys.DEATHS):
        assert len((await each_store.leases.take("alone", 1, solitary=True)).claims) == 1
        await each_store.leases.recover("alone")
    (message,) = (await taken(each_store, parent.uid)).inbox
    assert message.frame == 2
    assert content_of(message)["error"]["title"] == "poisoned"


async def test_children_of_a_full_api_wait_in_the_backlog_and_delay_no_other_api(
    each_store: Store,
) -> None:
    tight = api("tight/one", limits=Limits(running=1))
    await publish(each_store, tight)
    await accepted(each_store.intake(), tight)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    one, two = child(1), child(2)
    await each_store.leases.commit([commit(claim, "keep", children=[one, two])])
    assert [await state_of(each_store, each.uid) for each in (one, two)] == ["backlog", "backlog"]
    await each_store.leases.commit([commit(claim, "park", seq=2)])
    assert [await state_of(each_store, each.uid) for each in (one, two)] == ["queue", "backlog"]
    assert (await each_store.gates.states())[tight.id].queued == 2


async def test_one_batch_may_hold_a_parent_and_its_child_in_any_order(run_store: RunStore) -> None:
    await publish(run_store)
    for order in (1, -1):
        one = child(5)
        parent = await parent_of(run_store, one, move="keep")
        claim = await taken(run_store, one.uid)
        both = [commit(parent, "park", seq=2), commit(claim, "end", output=b"1")]
        verdicts = await run_store.leases.commit(both[::order])
        assert all(verdict.applied for verdict in verdicts)
        again = await taken(run_store, parent.uid)
        assert [content_of(message)["output"] for message in again.inbox] == [1]
        await run_store.leases.commit([commit(again, "end")])
