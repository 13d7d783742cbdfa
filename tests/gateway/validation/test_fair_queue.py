"""No sharer of the queue of large requests starves the others or fills the queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.gateway.validation.fair_queue import (
    HALF_S,
    MIB,
    REMEMBERED,
    S_PER_MIB,
    Bound,
    FairQueue,
    Sharer,
    sharer_of,
)

ALICE, BOB = sharer_of("10.0.0.1", "a/b"), sharer_of("10.0.0.2", "a/b")
NETWORKS = ["10.0.0.3", "10.0.0.4", "2001:db8:{}::1", "2001:db9:0:{}::1"]
"""Two addresses and two networks of many addresses, where a number is filled in."""
SHARERS = [
    sharer_of(network.format(number), name)
    for network in NETWORKS
    for number in range(9)
    for name in ("a/b", "c/d")
]
SIZES = st.integers(32 * 1024, 4 * MIB)
SECONDS = st.floats(0.001, 3.0)


@pytest.mark.parametrize(
    ("address", "branches"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
        ("::ffff:192.0.2.1", ["192.0.2.1"]),
        (
            "2001:db8:1:203::4",
            ["2001:db8::/32", "2001:db8:1::/48", "2001:db8:1:200::/56", "2001:db8:1:203::/64"],
        ),
        ("", [""]),
        ("no address", ["no address"]),
    ],
)
def test_a_sharer_is_in_the_networks_of_its_address(address: str, branches: list[str]) -> None:
    assert sharer_of(address, "a/b") == (*branches, "a/b")


def test_small_jobs_of_a_sharer_are_first_but_a_large_one_is_not_starved() -> None:
    queue: FairQueue[str] = FairQueue()
    for item, size in (("large", 3 * MIB), ("small", MIB), ("second small", MIB)):
        queue.push(item, ALICE, size, 0.0)
    queue.push("left", ALICE, 10, 0.0)
    queue.remove("left")
    queue.push("later", ALICE, MIB, 1.0)
    queue.push("too late", ALICE, MIB, 2 * S_PER_MIB + 0.1)
    assert [queue.pop(2.0) for _ in range(6)] == [
        ("small", ALICE),
        ("second small", ALICE),
        ("later", ALICE),
        ("large", ALICE),
        ("too late", ALICE),
        None,
    ]


def test_the_sharer_that_used_least_is_served_first_and_use_is_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.charge(ALICE, 4.0, 0.0)
    queue.charge(BOB, 1.0, 0.0)
    queue.push("alice", ALICE, MIB, 0.0)
    queue.push("bob", BOB, 20 * MIB, 0.0)
    assert queue.pop(0.0) == ("bob", BOB)
    assert queue.used(ALICE, HALF_S) == queue.used(ALICE, 0.0) / 2
    queue.push("bob", BOB, 2 * MIB, 0.0)
    assert queue.pop(10_000 * HALF_S) == ("alice", ALICE)


def test_an_address_gains_nothing_from_calling_several_apis() -> None:
    queue: FairQueue[str] = FairQueue(each=Bound(2, 10 * MIB))
    other = sharer_of("10.0.0.1", "c/d")
    queue.charge(other, 4.0, 0.0)
    queue.charge(BOB, 1.0, 0.0)
    queue.push("alice", ALICE, MIB, 0.0)
    queue.push("bob", BOB, MIB, 0.0)
    assert queue.pop(0.0) == ("bob", BOB)
    assert queue.push("second", other, MIB, 0.0) == []
    assert queue.push("third", other, MIB, 0.0) == [("third", True)]


def test_a_network_gains_nothing_from_calling_from_several_addresses() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(9):
        queue.charge(sharer_of(f"2001:db8:0:{number:x}::1", "a/b"), 0.5, 0.0)
    queue.charge(BOB, 4.0, 0.0)
    for number in range(9, 12):
        queue.push("flood", sharer_of(f"2001:db8:0:{number:x}::1", "a/b"), 1, 0.0)
    queue.push("bob", BOB, MIB, 0.0)
    assert queue.pop(0.0) == ("bob", BOB)


def test_a_caller_without_use_in_the_network_of_a_flood_is_next_in_it() -> None:
    queue: FairQueue[str] = FairQueue()
    flood, calm = sharer_of("2001:db8:0:1::1", "a/b"), sharer_of("2001:db8:1:1::1", "a/b")
    queue.charge(flood, 0.5, 0.0)
    queue.push("flood", flood, 1, 0.0)
    queue.push("calm", calm, MIB, 0.0)
    assert queue.pop(0.0) == ("calm", calm)


def test_callers_behind_one_proxy_are_distinguished_by_api() -> None:
    queue: FairQueue[str] = FairQueue(each=Bound(2, 100 * MIB))
    calm = sharer_of("10.0.0.1", "c/d")
    queue.charge(ALICE, 4.0, 0.0)
    for item in ("flood", "more"):
        queue.push(item, ALICE, MIB, 0.0)
    assert queue.push("calm", calm, MIB, 0.0) == [("more", True)]
    assert queue.pop(0.0) == ("calm", calm)


@given(
    used=st.dictionaries(st.sampled_from(SHARERS), SECONDS),
    waiting=st.lists(st.tuples(st.sampled_from(SHARERS), SIZES), max_size=40),
    arriving=st.lists(
        st.lists(st.tuples(st.sampled_from(SHARERS), SIZES), max_size=20), min_size=5, max_size=5
    ),
    size=st.integers(32 * 1024, 16 * MIB),
    costs=st.lists(SECONDS, min_size=5, max_size=5),
)
def test_a_new_network_waits_for_at_most_one_job_of_each_other_network(
    used: dict[Sharer, float],
    waiting: list[tuple[Sharer, int]],
    arriving: list[list[tuple[Sharer, int]]],
    size: int,
    costs: list[float],
) -> None:
    queue: FairQueue[object] = FairQueue(total=Bound(8, 1024 * MIB), each=Bound(8, 1024 * MIB))
    for sharer, seconds in used.items():
        queue.charge(sharer, seconds, 0.0)
    for sharer, other in waiting:
        queue.push(object(), sharer, other, 0.0)
    assert ("newcomer", False) not in queue.push("newcomer", ALICE, size, 0.0)
    before: list[str] = []
    for number, (cost, flood) in enumerate(zip(costs, arriving, strict=True)):
        for sharer, other in flood:
            assert "newcomer" not in dict(queue.push(object(), sharer, other, float(number)))
        found = queue.pop(float(number))
        assert found is not None
        if found[0] == "newcomer":
            break
        before.append(found[1][0])
        queue.charge(found[1], cost, float(number))
    else:
        pytest.fail("the newcomer was not served")
    assert len(set(before)) == len(before) <= len(NETWORKS)
    assert {sharer[0] for sharer in used}.isdisjoint(before)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.sampled_from(SHARERS), SIZES),
            st.tuples(st.just("serve"), SECONDS, st.floats(0.0, 20.0)),
        ),
        max_size=60,
    )
)
def test_the_sibling_branch_with_the_least_use_is_served(
    steps: list[tuple[str, Sharer, int] | tuple[str, float, float]],
) -> None:
    total, each = Bound(8, 12 * MIB), Bound(4, 6 * MIB)
    queue: FairQueue[object] = FairQueue(total=total, each=each)
    now_s = 0.0
    waiting: dict[object, tuple[Sharer, int]] = {}
    for step in steps:
        if isinstance(step[1], tuple):
            item, size = object(), int(step[2])
            waiting[item] = (step[1], size)
            own = [size for sharer, size in waiting.values() if sharer[:-1] == step[1][:-1]]
            removed = dict(queue.push(item, step[1], size, now_s))
            assert (True in removed.values()) <= each.excludes(len(own), sum(own))
            sizes = [size for _, size in waiting.values()]
            assert bool(removed) <= (
                total.excludes(len(sizes), sum(sizes)) or each.excludes(len(own), sum(own))
            )
            for other in removed:
                del waiting[other]
            assert len(queue) == len(waiting) <= total.jobs
            assert sum(size for _, size in waiting.values()) <= total.size
        elif (found := queue.pop(now_s)) is not None:
            item, served = found
            del waiting[item]
            for sharer, _ in waiting.values():
                apart = next(
                    (n for n, pair in enumerate(zip(served, sharer, strict=False)) if len(set(pair)) > 1), 0
                )
                branch, beside = served[: apart + 1], sharer[: apart + 1]
                assert queue.used(branch, now_s) <= queue.used(beside, now_s)
            now_s += float(step[2])
            queue.charge(served, float(step[1]), now_s)


def test_in_a_full_queue_the_sharers_with_the_most_jobs_lose_some() -> None:
    queue: FairQueue[str] = FairQueue(total=Bound(4, 100 * MIB), each=Bound(3, 10 * MIB))
    carol = SHARERS[0]
    queue.charge(ALICE, 2.0, 0.0)
    for item in ("a1", "a2", "a3"):
        assert queue.push(item, ALICE, MIB, 0.0) == []
    assert queue.push("a4", ALICE, MIB, 0.0) == [("a4", True)]
    assert queue.push("b1", BOB, 2 * MIB, 0.0) == []
    assert queue.push("b2", BOB, MIB, 0.0) == [("a3", False)]
    assert queue.push("c1", carol, 9 * MIB, 0.0) == [("a2", False)]
    assert queue.push("b3", BOB, MIB, 0.0) == [("b3", False)]
    assert queue.push("c2", carol, MIB, 0.0) == [("c2", False)]
    assert len(queue) == 4


def test_bytes_are_bounded_but_one_job_of_any_size_may_wait() -> None:
    queue: FairQueue[str] = FairQueue(total=Bound(9, 9 * MIB), each=Bound(9, 5 * MIB))
    queue.push("huge", ALICE, 20 * MIB, 0.0)
    assert queue.push("next", ALICE, 1, 0.0) == [("next", True)]
    assert queue.push("small", BOB, MIB, 0.0) == [("huge", False)]


def test_the_use_of_a_bounded_number_of_sharers_is_remembered() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.charge(ALICE, 5.0, 0.0)
    for number in range(REMEMBERED):
        queue.charge(sharer_of(f"host-{number}", "a/b"), 0.01, 0.0)
        assert len(queue._used) <= REMEMBERED
    assert queue.used(ALICE, 0.0) == 5.0
