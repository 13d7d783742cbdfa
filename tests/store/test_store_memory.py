"""What runs cost in memory, and that everything has a lifetime."""

from __future__ import annotations

import asyncio

from iogate.store import keys
from iogate.store.connection import Store
from iogate.store.leases import TaskRow
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


async def test_a_finished_run_costs_at_most_1_kb_beside_its_payload(each_store: Store) -> None:
    """Once RQ's job and result have gone: its one key, its index entry, and what the server adds to both."""
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


async def test_a_large_value_is_stored_once_a_run(each_store: Store) -> None:
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
