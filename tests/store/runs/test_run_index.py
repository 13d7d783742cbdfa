"""Lists: filters, and pages that neither lose nor repeat runs, whatever happens between them."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from iogate.errors import Misused
from iogate.store import keys
from iogate.store.integrity.seals import Facts
from iogate.store.maintenance import audit
from iogate.store.maintenance.process_presence import Process
from iogate.store.runs import run_index
from iogate.store.runs.commits import TaskRow
from iogate.store.runs.run_index import RunFilter
from iogate.store.store import Store
from tests.store.builders import ORDERS, accepted, api, bundle, commit, publish, request, scripted
from tests.store.test_children import child, parent_of

RARE = api("orders/rare")
OLD = Process(kind="gateway", id="g", pid=1, host="h", started_at_ms=1)
"""A gateway of an earlier release."""


async def many(store: Store, count: int) -> tuple[list[str], list[str]]:
    """Accept three runs of a rare API, and `count` later ones of another."""
    await publish(store, api(), RARE)
    intake = store.intake()
    rare = [await accepted(intake, RARE) for _ in range(3)]
    return rare, [await accepted(intake) for _ in range(count)]


async def uids_of(store: Store, limit: int = 50, **fields: Any) -> list[str]:
    """Return all runs that match a filter, from pages of `limit` runs."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.runs.page(RunFilter(**fields), limit=limit, cursor=cursor)
        assert len(page.runs) <= limit
        found += [run.uid for run in page.runs]
        assert (page.next_cursor is None) == (page.looked_back_to_ms is None)
        if (cursor := page.next_cursor) is None:
            return found


async def marked(store: Store) -> bool:
    return bool(await store.call("EXISTS", keys.API_INDEX))


@pytest.fixture(params=[False, True], ids=["statuses", "apis"])
def indexed(request: pytest.FixtureRequest) -> bool:
    """Tell whether lists may use the indexes by API, which a store of an earlier release lacks."""
    return bool(request.param)


async def test_each_filter_selects_its_runs(each_store: Store, *, indexed: bool) -> None:
    await publish(each_store, api(), RARE)
    intake = each_store.intake()
    plain = await accepted(intake, RARE, caller="ada")
    other = await accepted(intake, workflow="shop/orders:2", revision=7)
    third = await accepted(intake, workflow="shop/order:1", program="p")
    for claim in (await each_store.leases.take("w", 2)).claims:
        faulted = claim.uid == plain
        await each_store.leases.commit(
            [commit(claim, status="faulted", error=b'{"title":"no"}') if faulted else commit(claim, "park")]
        )
    if indexed:
        await each_store.leases.audit()
    assert await marked(each_store) == indexed
    for fields, expected in (
        ({}, [third, other, plain]),
        ({"api": RARE.id}, [plain]),
        ({"api": "orders/none"}, []),
        ({"statuses": ["faulted", "pending"]}, [third, plain]),
        ({"statuses": ["waiting"], "api": RARE.id}, []),
        ({"workflow": "shop/orders"}, [other, plain]),
        ({"workflow": "shop/orders:2"}, [other]),
        ({"workflow": "shop/order:2"}, []),
        ({"caller": "ada"}, [plain]),
        ({"caller": ""}, [third, other]),
        ({"revision": 7}, [other]),
        ({"revision": 1, "workflow": "shop/order"}, [third]),
        ({"project": "default"}, [third, other, plain]),
        ({"project": "default", "api": RARE.id}, [plain]),
        ({"project": "another"}, []),
        ({"since_ms": int(time.time() * 1000) + 60_000}, []),
        ({"until_ms": int(time.time() * 1000) - 60_000}, []),
        ({"since_ms": int(time.time() * 1000) - 60_000, "statuses": ["faulted"]}, [plain]),
    ):
        assert await uids_of(each_store, **fields) == expected, fields


async def test_the_filter_by_parent_finds_children_and_the_handlers_of_faults(
    each_store: Store, *, indexed: bool
) -> None:
    await publish(each_store)
    children = [child(), child(8)]
    parent = await parent_of(each_store, *children)
    handler = await accepted(each_store.intake())
    facts = Facts(1, "shop/orders:1", "p", "", None, "n", parent=f"{parent.uid}/0")
    await each_store.call("HSET", keys.RUN + handler, "f", msgspec.json.encode(facts))
    other = await accepted(each_store.intake())
    if indexed:
        await each_store.leases.audit()
    expected = sorted([handler, *(each.uid for each in children)])
    assert sorted(await uids_of(each_store, parent=parent.uid)) == expected
    assert await uids_of(each_store, parent=other) == []
    assert await uids_of(each_store, parent="7") == []


async def test_a_project_has_the_runs_of_its_apis_only(each_store: Store) -> None:
    await publish(each_store, RARE)
    ours = await accepted(each_store.intake(), RARE)
    other = Store(each_store.url, client_name="test", keyring=each_store.keyring, project="second")
    try:
        await other.revisions.publish(bundle(api("second/one")))
        theirs = await accepted(other.intake(), api("second/one"))
        assert await uids_of(each_store, project="second") == [theirs]
        assert await uids_of(each_store, project="default") == [ours]
    finally:
        await other.close()


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_pages_have_each_run_once(each_store: Store, limit: int, *, at_once: bool) -> None:
    """Also if all were accepted in one millisecond."""
    rare, others = await many(each_store, 60)
    for number, uid in enumerate([*rare, *others]):
        score = 1_700_000_000_000 + (0 if at_once else number // 3)
        for name in ("pending", RARE.id if uid in rare else "orders/submit"):
            await each_store.call("ZADD", keys.INDEX + name, score, uid)
    for claim in (await each_store.leases.take("w", 30)).claims:
        await each_store.leases.commit([commit(claim)])
    for name in ("completed", RARE.id, "orders/submit"):
        for uid in await each_store.call("ZRANGE", keys.INDEX + name, 0, -1):
            score = await each_store.call("ZSCORE", keys.INDEX + name, uid)
            if float(score) > 1_700_000_001_000:
                await each_store.call("ZADD", keys.INDEX + name, 1_700_000_000_000, uid)
    assert sorted(await uids_of(each_store, limit)) == sorted([*rare, *others])
    await each_store.leases.audit()
    assert sorted(await uids_of(each_store, limit, api=RARE.id)) == sorted(rare)


async def test_a_page_that_ends_early_says_how_far_it_looked(each_store: Store) -> None:
    rare, others = await many(each_store, 40)
    with scripted(page_budget=10):
        page = await each_store.runs.page(RunFilter(caller="nobody"), most=20)
        assert page.runs == []
        created = [(await each_store.runs.show(uid)).created_at_ms for uid in others]  # type: ignore[union-attr]
        assert page.looked_back_to_ms is not None
        assert min(created) <= page.looked_back_to_ms <= max(created)
        assert page.next_cursor is not None
        assert await uids_of(each_store, api=RARE.id) == rare[::-1]
    assert (await each_store.runs.page(RunFilter(api="no/such"))).looked_back_to_ms is None


async def test_a_page_ends_early_after_its_time(each_store: Store) -> None:
    rare, others = await many(each_store, 20)
    with scripted(page_budget=1):
        page = await each_store.runs.page(RunFilter(), most_s=0)
        assert [run.uid for run in page.runs] == others[-1:]
        assert page.next_cursor is not None
        rest = await each_store.runs.page(RunFilter(), cursor=page.next_cursor, most_s=60)
    assert [run.uid for run in rest.runs] == [*others[-2::-1], *rare[::-1]]


async def test_a_script_looks_at_a_bounded_number_of_runs(
    each_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(each_store, 50)
    ask, looked_at = each_store.runs._connection.run, list[int]()

    async def run(name: str, *arguments: Any) -> Any:
        answer = await ask(name, *arguments)
        looked_at.append(answer[0])
        return answer

    monkeypatch.setattr(each_store.runs._connection, "run", run)
    with scripted(page_budget=10):
        assert await uids_of(each_store, caller="nobody") == []
    assert sum(looked_at) == 53
    assert max(looked_at) == 1  # each costs 1, and 11 for its head


async def test_a_rare_api_is_found_by_its_index(each_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rare, _ = await many(each_store, 40)
    await each_store.leases.audit()
    monkeypatch.setattr(run_index, "LOOKED_AT", 3)
    page = await each_store.runs.page(RunFilter(api=RARE.id))
    assert [run.uid for run in page.runs] == rare[::-1]
    assert page.next_cursor is None


async def test_a_rare_status_is_found_by_its_index(each_store: Store) -> None:
    _, others = await many(each_store, 40)
    await each_store.runs.cancel(others[0])
    await each_store.leases.audit()
    with scripted(page_budget=1):
        page = await each_store.runs.page(RunFilter(api="orders/submit", statuses=["cancelled"]), most=1)
    assert [run.uid for run in page.runs] == others[:1]
    assert page.next_cursor is None


async def test_a_list_reads_no_payload(each_store: Store) -> None:
    await publish(each_store)
    payload = b'"%s"' % (b"payload" * 100)
    uids = [await accepted(each_store.intake(), input=payload) for _ in range(3)]
    first, second, _ = (await each_store.leases.take("w", 3)).claims
    await each_store.leases.commit(
        [commit(first, output=payload, journal=[payload]), commit(second, "park", head=payload)]
    )
    request = run_index.Request(limit=9, statuses=keys.STATUSES, words=())
    answer = await each_store.runs._connection.run("page", run_index._encode(request))
    assert [head[0].decode() for head in answer[4:]] == uids[::-1]
    assert b"payload" not in repr(answer).encode()


@pytest.mark.parametrize("status", ["completed", "faulted"])
async def test_the_body_of_an_ended_run_is_apart_from_its_head(each_store: Store, status: str) -> None:
    await publish(each_store)
    given, made = b'"%s"' % (b"i" * 900), b'"%s"' % (b"o" * 900)
    entries = [b'{"n":%d,"text":"%s"}' % (n, b"j" * 90) for n in range(5)]
    uid = await accepted(each_store.intake(), input=given)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    rows = [TaskRow(reference="/do/0/a", name="a", status=status, started_at_ms=1, ended_at_ms=2)]
    done = commit(
        claim, status=status, output=made, error=b'{"title":"no"}', journal=entries, tasks=rows, head=b"h"
    )
    await each_store.leases.commit([done])
    head = await each_store.call("GET", keys.END + uid)
    assert len(head) < 512
    assert not any(each in head for each in (b"iii", b"ooo", b"jjj", b"/do/0/a"))
    assert b'{"title":"no"}' in head
    view = await each_store.runs.show(uid)
    assert view is not None
    assert (view.input, view.output, view.error) == (given, made, b'{"title":"no"}')
    assert [task.reference for task in view.tasks] == ["/do/0/a"]
    assert await each_store.runs.journal(uid) == entries
    assert 0 < await each_store.call("PTTL", keys.BIG + uid) <= 1_000 * ORDERS.retention_s
    if status == "faulted":
        assert await each_store.runs.retry(uid) == "retried"
        (again,) = (await each_store.leases.take("w", 1)).claims
        assert again.input == given
        assert (await each_store.runs.journal(uid))[:5] == entries


async def test_a_small_run_is_one_record(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, output=b"1", journal=[b"{}"])])
    assert await each_store.call("EXISTS", keys.BIG + uid) == 0


async def test_a_large_error_is_in_the_list(each_store: Store) -> None:
    await publish(each_store)
    await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    error = b'{"title":"%s"}' % (b"x" * 5_000)
    await each_store.leases.commit([commit(claim, status="faulted", error=error)])
    (run,) = (await each_store.runs.page(RunFilter())).runs
    assert run.error == error


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "kgGjYWJj"])
async def test_a_text_that_is_no_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(Misused, match="the cursor is not one of a list of runs") as caught:
        await store.runs.page(RunFilter(), cursor=cursor)
    assert caught.value.code == "IOG770"
    assert caught.value.hint == "pass nextCursor of the page before unchanged, or begin without a cursor"


async def test_a_run_that_another_program_has_overwritten_is_left_out(each_store: Store) -> None:
    rare, others = await many(each_store, 2)
    await each_store.call("SET", keys.RUN + others[0], "x")
    await each_store.call("HSET", keys.RUN + others[1], "f", "[]")
    assert await uids_of(each_store) == rare[::-1]
    assert await uids_of(each_store, caller="") == rare[::-1]


# Stores of an earlier release have no indexes by API.


async def without_indexes(store: Store) -> None:
    await store.call("DEL", keys.API_INDEX, keys.INDEX + RARE.id, keys.INDEX + "orders/submit")


@pytest.mark.parametrize("fields", [18, 24])
async def test_a_record_of_an_earlier_release_is_listed_shown_and_retried(
    each_store: Store, fields: int
) -> None:
    """It has its body inline, and lacks the last fields."""
    await publish(each_store)
    given = b'"%s"' % (b"i" * 3_000)
    uid = await accepted(each_store.intake(), input=given)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, status="faulted", error=b'{"title":"no"}', head=b"h")])
    record = msgspec.msgpack.decode(await each_store.call("GET", keys.END + uid))
    record[12], record[16], record[17] = given.decode(), '{"n":1}\n{"n":2}', 0
    await each_store.call("SET", keys.END + uid, msgspec.msgpack.encode(record[:fields]))
    await each_store.call("DEL", keys.BIG + uid)
    (run,) = (await each_store.runs.page(RunFilter(statuses=["faulted"], caller=""))).runs
    assert (run.uid, run.error, run.attributes, run.parent) == (uid, b'{"title":"no"}', {}, None)
    view = await each_store.runs.show(uid)
    assert view is not None
    assert view.input == given
    assert (await each_store.runs.journal_page(uid, 1)).entries == [b'{"n":2}']
    assert await each_store.runs.retry(uid) == "retried"
    (again,) = (await each_store.leases.take("w", 1)).claims
    assert (again.input, again.forged) == (given, "")


async def test_an_audit_completes_the_indexes_of_an_older_store(each_store: Store) -> None:
    rare, others = await many(each_store, 10)
    claims = (await each_store.leases.take("w", 5)).claims
    await each_store.leases.commit([commit(claim) for claim in claims[:2]])
    await without_indexes(each_store)
    assert await uids_of(each_store, api=RARE.id) == rare[::-1]
    await each_store.leases.audit()
    assert await marked(each_store)
    assert await each_store.call("ZRANGE", keys.INDEX + RARE.id, 0, -1) == [uid.encode() for uid in rare]
    assert await each_store.call("ZCARD", keys.INDEX + "orders/submit") == len(others)
    assert await uids_of(each_store, api=RARE.id) == rare[::-1]


async def test_the_indexes_are_used_only_if_every_process_writes_them(each_store: Store) -> None:
    """A gateway of an earlier release accepts runs that only the index of their status has."""
    rare, _ = await many(each_store, 3)
    connection = each_store.runs._connection
    await audit.audit(connection, [OLD])
    assert not await marked(each_store)
    await without_indexes(each_store)
    assert await uids_of(each_store, api=RARE.id) == rare[::-1]
    await each_store.leases.audit()
    assert await marked(each_store)
    await audit.audit(connection, [OLD])
    assert not await marked(each_store)


async def test_a_process_announces_that_it_writes_the_indexes(each_store: Store) -> None:
    await each_store.presence.announce(OLD)
    (found,) = await each_store.presence.list("gateway")
    assert found.indexes_apis


async def test_a_run_that_moves_past_an_audit_is_indexed_by_its_move(each_store: Store) -> None:
    rare, _ = await many(each_store, 3)
    await without_indexes(each_store)
    claims = (await each_store.leases.take("w", 9)).claims
    assert {uid.decode() for uid in await each_store.call("ZRANGE", keys.INDEX + RARE.id, 0, -1)} == set(rare)
    await each_store.leases.audit()
    await without_indexes(each_store)
    await each_store.call("SET", keys.API_INDEX, 1)
    await each_store.leases.commit([commit(claim) for claim in claims])
    assert await each_store.call("EXISTS", keys.INDEX + RARE.id) == 0  # no cost for a complete index


async def test_expired_and_pruned_runs_leave_the_index_of_their_api(each_store: Store) -> None:
    await publish(each_store, api(), RARE)
    intake = each_store.intake()
    kept = await accepted(intake, RARE)
    gone = await accepted(intake, RARE, retention_s=0.01)
    pruned = await accepted(intake, RARE)
    claims = (await each_store.leases.take("w", 3)).claims
    await each_store.leases.commit([commit(claim) for claim in claims])
    assert await each_store.runs.prune([pruned], int(time.time() * 1000) + 60_000) == 1
    await each_store.call("DEL", keys.END + gone)
    assert await uids_of(each_store, api=RARE.id) == [kept]
    await each_store.leases.audit()
    assert await each_store.call("ZRANGE", keys.INDEX + RARE.id, 0, -1) == [kept.encode()]


async def test_a_second_identical_call_is_not_indexed_twice(each_store: Store) -> None:
    await publish(each_store)
    intake = each_store.intake()
    once = request(intake)
    for _ in range(2):
        await intake.accept(once)
    assert await uids_of(each_store) == [once.uid]
