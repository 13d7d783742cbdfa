"""Memory cost of runs, and the lifetime of every key."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec

from iogate.store import keys
from iogate.store.runs.leases import Claim, Commit, TaskRow
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish

JOURNAL = [
    b'{"at":1795476996087,"kind":"workflow.started"}',
    b'{"at":1795476996087,"kind":"task.started","name":"set","reference":"/do/0/set"}',
    b'{"at":1795476996087,"kind":"task.completed","name":"set","reference":"/do/0/set"}',
    b'{"at":1795476996088,"kind":"workflow.completed"}',
]
ROW = TaskRow(
    reference="/do/0/set",
    name="set",
    status="completed",
    started_at_ms=1795476996087,
    ended_at_ms=1795476996088,
)


async def memory(store: Store, uid: str) -> dict[str, int]:
    found = {}
    for key in await store.call("KEYS", f"*{uid}*"):
        found[key.decode()] = int(await store.call("MEMORY", "USAGE", key))
    return found


async def used(store: Store) -> int:
    return int((await store.server_info())["used_memory"])


async def test_an_ended_run_costs_at_most_1_kb_beside_its_payload(each_store: Store) -> None:
    """Without RQ's job and result: one key, one index entry, and the overhead of the server."""
    await publish(each_store)
    intake = each_store.intake()
    count = 1_000
    before = await used(each_store)
    uids = await asyncio.gather(*(accepted(intake, caller="shop") for _ in range(count)))
    while claims := (await each_store.leases.take("w", 64)).claims:
        await each_store.leases.commit(
            [commit(c, output=b'{"ok":true}', tasks=[ROW], journal=JOURNAL) for c in claims]
        )
    for uid in uids:
        await each_store.call("DEL", keys.RQ_JOB + uid, keys.RQ_RESULTS + uid)
    await each_store.call("DEL", keys.RQ_FINISHED)
    kept = await memory(each_store, uids[0])
    assert list(kept) == [keys.END + uids[0]]
    assert kept[keys.END + uids[0]] <= 1024
    payload = len(b'{"sku":"A-1"}') + len(b'{"ok":true}') + sum(len(line) + 1 for line in JOURNAL)
    assert (await used(each_store) - before) / count - payload <= 1024


async def test_every_key_of_an_ended_run_expires(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), input=b'"' + b"x" * 9_000 + b'"', retention_s=1_000)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, "keep", head=b"h", frames={"1": b"f"}, values={"d": b"v"})])
    await each_store.leases.commit([commit(claim, seq=2, tasks=[ROW], journal=JOURNAL)])
    lifetimes = {
        key.decode(): await each_store.call("TTL", key) for key in await each_store.call("KEYS", f"*{uid}*")
    }
    assert set(lifetimes) == {keys.END + uid, keys.BIG + uid, keys.RQ_JOB + uid, keys.RQ_RESULTS + uid}
    assert 990 <= lifetimes[keys.END + uid] <= 1_000
    assert 990 <= lifetimes[keys.BIG + uid] <= 1_000
    assert 490 <= lifetimes[keys.RQ_JOB + uid] <= 500
    assert 490 <= lifetimes[keys.RQ_RESULTS + uid] <= 500


async def test_a_large_value_is_stored_once_per_run(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    (claim,) = (await each_store.leases.take("w", 1)).claims
    value = b"v" * 200_000
    for seq in range(1, 6):
        await each_store.leases.commit(
            [commit(claim, "keep", seq=seq, frames={str(seq): b'{"$value":"d"}'}, values={"d": value})]
        )
    assert sum((await memory(each_store, uid)).values()) < 300_000


async def test_a_queued_job_is_small(each_store: Store) -> None:
    """All of its fields are at most 64 bytes, so that the server packs the hash."""
    await publish(each_store)
    uid = await accepted(each_store.intake())
    assert await each_store.call("OBJECT", "ENCODING", keys.RQ_JOB + uid) in {b"ziplist", b"listpack"}
    assert (await memory(each_store, uid))[keys.RQ_JOB + uid] < 800


async def test_a_waiting_run_costs_less_than_2_kb_of_redis(each_store: Store) -> None:
    """One key, its entries in the index and the timers, and the overhead of the server."""
    await publish(each_store)
    intake = each_store.intake()
    program = hashlib.sha256(b"nap").hexdigest()
    count = 2_000
    before = await used(each_store)
    uids = await asyncio.gather(
        *(accepted(intake, input=b"{}", caller="token", program=program) for _ in range(count))
    )
    while claims := (await each_store.leases.take("w", 64)).claims:
        await each_store.leases.commit([nap(claim) for claim in claims])
    assert list(await memory(each_store, uids[0])) == [keys.PARKED + uids[0]]
    assert (await used(each_store) - before) / count < 2_048


def nap(claim: Claim) -> Commit:
    """Return the commit of a worker for `do: [{nap: {wait: PT1H}}]`."""
    at, due = claim.started_at_ms, claim.started_at_ms + 3_600_000
    started = f'"at":{at},"reference":"/do/0/nap","name":"nap"'
    return commit(
        claim,
        "park",
        due_ms=due,
        deadline_ms=due + 60_000,
        waiting_for=f'{{"kind":"timer","task":"/do/0/nap","until_ms":{due}}}'.encode(),
        head=b'{"format":1,"next_id":4,"status":"waiting"}',
        frames={
            "1": f'{{"id":1,"kind":"task","started_ms":{at}}}'.encode(),
            "2": b'{"id":2,"parent":1,"kind":"scope","pointer":"/do","value":{},'
            b'"owns_context":true,"context":{}}',
            "3": f'{{"id":3,"parent":2,"kind":"task","pointer":"/do/0/nap","phase":"timer","input":{{}},'
            f'"started_ms":{at},"due_ms":{due}}}'.encode(),
        },
        tasks=[TaskRow(reference="/do/0/nap", name="nap", status="waiting", started_at_ms=at)],
        journal=[
            f'{{"at":{at},"kind":"workflow.started"}}'.encode(),
            f'{{{started},"kind":"task.created"}}'.encode(),
            f'{{{started},"kind":"task.started"}}'.encode(),
            f'{{{started},"kind":"task.waiting","detail":{{"due_ms":{due}}}}}'.encode(),
        ],
    )


async def test_a_waiting_run_looks_the_same_folded_and_unfolded(each_store: Store) -> None:
    """In lists, by itself, in its journal; and the next worker gets the committed state."""
    await publish(each_store)
    small, large = [await accepted(each_store.intake(), input=b'{"n":1}') for _ in range(2)]
    for claim in (await each_store.leases.take("w", 2)).claims:
        lines = [b"{}"] * (keys.FOLDED_PARTS if claim.uid == large else 0)
        made = nap(claim)
        made = msgspec.structs.replace(made, journal=[*made.journal, *lines], frames={"1": b"\x00\xff"})
        await each_store.leases.commit([made])
    assert await each_store.call("EXISTS", keys.PARKED + small, keys.RUN + large) == 2
    assert await each_store.call("EXISTS", keys.RUN + small, keys.PARKED + large) == 0
    a, b = [await each_store.runs.show(uid) for uid in (small, large)]
    assert a is not None
    assert b is not None
    same = msgspec.structs.replace(
        b, uid=a.uid, created_at_ms=a.created_at_ms, started_at_ms=a.started_at_ms, worker="",
        waiting_for=a.waiting_for, deadline_ms=a.deadline_ms, tasks=a.tasks,
    )  # fmt: skip
    assert a == same
    assert [s.status for s in await each_store.runs.list()] == ["waiting", "waiting"]
    assert (await each_store.runs.journal(large))[:4] == await each_store.runs.journal(small)
    assert await each_store.leases.audit() == 0
    assert await each_store.call("EXISTS", keys.PARKED + small) == 1
    for uid in (small, large):
        await each_store.runs.cancel(uid)
    first, second = (await each_store.leases.take("w", 2)).claims
    assert first.frames == second.frames == {"1": b"\x00\xff"}
    assert first.head == second.head
    assert (await each_store.runs.journal(large))[:4] == await each_store.runs.journal(small)
