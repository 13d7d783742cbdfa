"""One sharer of the queue of large requests neither starves the others nor fills the queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.gateway.fair_queue import (
    HALF_S,
    MIB,
    REMEMBERED,
    S_PER_MIB,
    Bound,
    FairQueue,
    Full,
    Sharer,
    SharerFull,
)

ALICE, BOB = Sharer("10.0.0.1", "a/b"), Sharer("10.0.0.2", "a/b")
SHARERS = [Sharer(f"10.0.0.{host}", name) for host in (3, 4, 5) for name in ("a/b", "c/d")]
SIZES = st.integers(32 * 1024, 4 * MIB)
SECONDS = st.floats(0.001, 3.0)


def test_jobs_of_one_sharer_are_served_smallest_first() -> None:
    queue: FairQueue[str] = FairQueue()
    for item, size in (("large", 3 * MIB), ("small", MIB), ("second small", MIB)):
        queue.push(item, ALICE, size, 0.0)
    queue.push("left", ALICE, 10, 0.0)
    queue.remove("left")
    assert [queue.pop(0.0) for _ in range(4)] == [
        ("small", ALICE),
        ("second small", ALICE),
        ("large", ALICE),
        None,
    ]


def test_the_sharer_that_used_least_is_served_first_and_use_is_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.charge(ALICE, 4.0, 0.0)
    queue.charge(BOB, 1.0, 0.0)
    queue.push("alice", ALICE, MIB, 0.0)
    queue.push("bob", BOB, 2 * MIB, 0.0)
    assert queue.pop(0.0) == ("bob", BOB)
    assert queue.used(ALICE, HALF_S) == queue.used(ALICE, 0.0) / 2
    queue.push("bob", BOB, 2 * MIB, 0.0)
    assert queue.pop(100 * HALF_S) == ("alice", ALICE)


def test_an_address_gains_nothing_from_calling_several_apis() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.charge(Sharer(ALICE.address, "c/d"), 4.0, 0.0)
    queue.charge(BOB, 1.0, 0.0)
    queue.push("alice", ALICE, MIB, 0.0)
    queue.push("bob", BOB, MIB, 0.0)
    assert queue.pop(0.0) == ("bob", BOB)


def test_callers_behind_one_proxy_are_told_apart_by_their_api() -> None:
    queue: FairQueue[str] = FairQueue()
    calm = Sharer(ALICE.address, "c/d")
    queue.charge(ALICE, 4.0, 0.0)
    queue.push("flood", ALICE, MIB, 0.0)
    queue.push("calm", calm, MIB, 0.0)
    assert queue.pop(0.0) == ("calm", calm)


@given(
    used=st.dictionaries(st.sampled_from(SHARERS), SECONDS),
    waiting=st.lists(st.tuples(st.sampled_from(SHARERS), SIZES), max_size=40),
    costs=st.lists(SECONDS, min_size=41, max_size=41),
)
def test_a_newcomer_waits_for_one_job_of_each_other_sharer_at_most(
    used: dict[Sharer, float], waiting: list[tuple[Sharer, int]], costs: list[float]
) -> None:
    queue: FairQueue[object] = FairQueue(total=Bound(64, 1024 * MIB), each=Bound(64, 1024 * MIB))
    for sharer, seconds in used.items():
        queue.charge(sharer, seconds, 0.0)
    for sharer, size in waiting:
        queue.push(object(), sharer, size, 0.0)
    queue.push("newcomer", ALICE, min((size for _, size in waiting), default=MIB), 0.0)
    before: list[Sharer] = []
    for cost in costs:
        found = queue.pop(0.0)
        assert found is not None
        if found[0] == "newcomer":
            break
        before.append(found[1])
        queue.charge(found[1], cost, 0.0)
    assert len(set(before)) == len(before)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.sampled_from(SHARERS), SIZES),
            st.tuples(st.just("serve"), SECONDS, st.floats(0.0, 20.0)),
        ),
        max_size=60,
    )
)
def test_no_sharer_is_served_that_used_more_than_another_that_waits_may_need(
    steps: list[tuple[str, Sharer, int] | tuple[str, float, float]],
) -> None:
    total, each = Bound(8, 12 * MIB), Bound(4, 6 * MIB)
    queue: FairQueue[object] = FairQueue(total=total, each=each)
    now_s = 0.0
    waiting: dict[object, tuple[Sharer, int]] = {}
    for step in steps:
        if isinstance(step[1], Sharer):
            item, size = object(), int(step[2])
            own = [size for sharer, size in waiting.values() if sharer == step[1]]
            try:
                removed = queue.push(item, step[1], size, now_s)
            except SharerFull:
                assert len(own) == each.jobs or sum(own) + size > each.size
            except Full:
                assert len(waiting) == total.jobs or sum(s for _, s in waiting.values()) + size > total.size
            else:
                waiting[item] = (step[1], size)
                for other in removed:
                    del waiting[other]
            assert len(queue) == len(waiting) <= total.jobs
        elif (found := queue.pop(now_s)) is not None:
            item, sharer = found
            del waiting[item]
            for other, size in waiting.values():
                assert queue.used(sharer, now_s) <= queue.used(other, now_s) + size / MIB * S_PER_MIB
            now_s += float(step[2])
            queue.charge(sharer, step[1], now_s)


def test_a_sharer_fills_its_part_and_the_greediest_gives_way_in_a_full_queue() -> None:
    queue: FairQueue[str] = FairQueue(total=Bound(4, 100 * MIB), each=Bound(2, 10 * MIB))
    queue.charge(ALICE, 2.0, 0.0)
    queue.push("a1", ALICE, MIB, 0.0)
    queue.push("a2", ALICE, 2 * MIB, 0.0)
    with pytest.raises(SharerFull):
        queue.push("a3", ALICE, MIB, 0.0)
    queue.push("b1", BOB, MIB, 0.0)
    queue.push("b2", BOB, MIB, 0.0)
    assert queue.push("c1", SHARERS[0], MIB, 0.0) == ["a2"]
    assert queue.push("c2", SHARERS[0], MIB, 0.0) == ["a1"]
    with pytest.raises(Full):
        queue.push("a3", ALICE, MIB, 0.0)
    assert len(queue) == 4


def test_bytes_are_bounded_but_one_job_of_any_size_may_wait() -> None:
    queue: FairQueue[str] = FairQueue(total=Bound(9, 9 * MIB), each=Bound(9, 5 * MIB))
    queue.push("huge", ALICE, 20 * MIB, 0.0)
    with pytest.raises(SharerFull):
        queue.push("next", ALICE, 1, 0.0)
    assert queue.push("small", BOB, MIB, 0.0) == ["huge"]


def test_the_use_of_a_bounded_number_of_sharers_is_remembered() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.charge(ALICE, 5.0, 0.0)
    for number in range(REMEMBERED):
        queue.charge(Sharer(f"host-{number}", "a/b"), 0.01, 0.0)
        assert len(queue._used) <= REMEMBERED
    assert queue.used(ALICE, 0.0) == 10.0
