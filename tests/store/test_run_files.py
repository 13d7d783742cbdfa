"""Files of calls: permanent with the accept of their run, and gone with the last run that needs them."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from iogate.store import keys
from iogate.store.connection.connection import Connection, StoreFull
from iogate.store.connection.failures import Drained
from iogate.store.integrity.seals import Facts
from iogate.store.run_files import CHUNK, StoredFiles
from iogate.store.runs.commits import Child
from iogate.store.runs.intake import Accepted, Refusal
from iogate.store.runs.traffic import Traffic, key_hash
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store
from tests.store.builders import ORDERS, accepted, commit, publish, request

LARGE = bytes(range(256)) * (CHUNK // 256) + b"rest"
SMALL = b"small"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def upload(store: Store, *contents: bytes) -> StoredFiles:
    return await store.files.store({digest(each): each for each in contents})


def given(files: StoredFiles, **more: Any) -> Traffic:
    return Traffic(files=files.id, chunks=files.chunks, **more)


async def left_ms(store: Store, files: StoredFiles) -> tuple[int, int]:
    """Return the lifetimes of both keys: -1 without a limit, -2 for none."""
    found = [await store.call("PTTL", prefix + files.id) for prefix in (keys.FILES, keys.FILE_RUNS)]
    return found[0], found[1]


async def keys_of_files(store: Store) -> list[bytes]:
    return sorted(await store.call("KEYS", keys.FILES + "*")) + sorted(
        await store.call("KEYS", keys.FILE_RUNS + "*")
    )


async def ended(store: Store, uid: str, status: str = "completed") -> None:
    (claim,) = (await store.leases.take("w", 1)).claims
    assert claim.uid == uid
    error = b'{"status":500}' if status == "faulted" else None
    await store.leases.commit([commit(claim, "end", status, error=error)])


async def test_files_live_as_long_as_their_run(store: Store) -> None:
    await publish(store)
    files = await upload(store, SMALL, LARGE)
    assert files.chunks == 3
    waiting, none = await left_ms(store, files)
    assert keys.UPLOAD_MS - 10_000 < waiting <= keys.UPLOAD_MS
    assert none == -2

    uid = await accepted(store.intake(), traffic=given(files))
    assert await left_ms(store, files) == (-1, -1)
    assert await store.files.read(uid, digest(SMALL)) == SMALL
    assert await store.files.read(uid, digest(LARGE)) == LARGE
    with pytest.raises(KeyError):
        await store.files.read(uid, digest(b"other"))

    await ended(store, uid)
    retention_ms = ORDERS.retention_s * 1000
    for left in await left_ms(store, files):
        assert retention_ms - 10_000 < left <= retention_ms
    # An effect that no task awaits may outlive its run.
    assert await store.files.read(uid, digest(SMALL)) == SMALL
    assert await store.runs.prune([uid], int(time.time() * 1000) + 1000) == 1
    assert await keys_of_files(store) == []


async def test_files_of_a_parked_run_are_found(store: Store) -> None:
    """An effect that no task awaits goes on while its run waits."""
    await publish(store)
    files = await upload(store, SMALL)
    uid = await accepted(store.intake(), traffic=given(files))
    (claim,) = (await store.leases.take("w", 1)).claims
    await store.leases.commit([commit(claim, "park")])
    assert await store.call("EXISTS", keys.PARKED + uid) == 1
    assert await store.files.read(uid, digest(SMALL)) == SMALL


async def test_an_empty_file_is_a_file(store: Store) -> None:
    await publish(store)
    files = await upload(store, b"")
    uid = await accepted(store.intake(), traffic=given(files))
    assert await store.files.read(uid, digest(b"")) == b""


async def test_files_that_have_expired_refuse_the_call(store: Store) -> None:
    await publish(store)
    files = await upload(store, SMALL, LARGE)
    await store.call("HDEL", keys.FILES + files.id, f"{digest(LARGE)}:1")
    intake = store.intake()
    assert await intake.accept(request(intake, traffic=given(files))) == Refusal(reason="files")
    await store.files.drop(files)
    assert await intake.accept(request(intake, traffic=given(files))) == Refusal(reason="files")
    assert await keys_of_files(store) == []
    assert not any((await store.runs.counts()).values())


async def test_a_repeated_accept_keeps_the_files_of_its_run(store: Store) -> None:
    await publish(store)
    files = await upload(store, SMALL)
    intake = store.intake()
    first = request(intake, traffic=given(files))
    assert await intake.accept(first) == await intake.accept(first) == Accepted(uid=first.uid)
    await ended(store, first.uid)
    before = await left_ms(store, files)
    assert await intake.accept(first) == Accepted(uid=first.uid)
    after = await left_ms(store, files)
    assert 0 < after[0] <= before[0]


async def test_the_files_of_a_coalesced_call_replace_those_before(store: Store) -> None:
    await publish(store)
    intake = store.intake()
    rules: dict[str, Any] = {"merge": key_hash("A-1"), "window": 60_000, "most": 60_000}
    first, second = await upload(store, SMALL), await upload(store, LARGE)
    uid = await accepted(intake, traffic=given(first, **rules))
    assert await accepted(intake, traffic=given(second, **rules)) == uid
    assert await left_ms(store, first) == (-2, -2)
    assert await left_ms(store, second) == (-1, -1)
    assert await store.files.read(uid, digest(LARGE)) == LARGE
    assert await accepted(intake, traffic=Traffic(**rules)) == uid
    assert await keys_of_files(store) == []


async def test_a_retried_run_keeps_its_files(store: Store) -> None:
    await publish(store)
    files = await upload(store, SMALL)
    uid = await accepted(store.intake(), traffic=given(files))
    await ended(store, uid, "faulted")
    assert (await left_ms(store, files))[0] > 0
    assert await store.runs.retry(uid) == "retried"
    assert await left_ms(store, files) == (-1, -1)
    assert await store.files.read(uid, digest(SMALL)) == SMALL
    await ended(store, uid)
    assert (await left_ms(store, files))[0] > 0


async def test_children_keep_the_files_of_their_parent(store: Store) -> None:
    await publish(store)
    files = await upload(store, SMALL)
    uid = await accepted(store.intake(), traffic=given(files))
    (claim,) = (await store.leases.take("w", 1)).claims
    facts = Facts(1, "shop/pay:1", "p1", "", None, "")
    started = Child(uid=UidSource().next(), api=claim.api, frame=1, facts=facts, input=b"{}", awaits=False)
    child = started.uid
    await store.leases.commit([commit(claim, "end", children=[started])])
    assert await left_ms(store, files) == (-1, -1)
    assert await store.files.read(child, digest(SMALL)) == SMALL
    later = int(time.time() * 1000) + 1000
    assert await store.runs.prune([uid], later) == 1
    assert await left_ms(store, files) == (-1, -1)
    await ended(store, child)
    assert await store.runs.prune([child], later + 1000) == 1
    assert await keys_of_files(store) == []


async def test_a_cancelled_run_leaves_its_files_for_its_retention(store: Store) -> None:
    await publish(store)
    files = await upload(store, SMALL)
    uid = await accepted(store.intake(), traffic=given(files), retention_s=600.0)
    assert await store.runs.cancel(uid) == "cancelled"
    assert all(keys.UPLOAD_MS < left <= 600_000 for left in await left_ms(store, files))


async def test_a_full_store_takes_no_files(store: Store) -> None:
    await store.call("SET", keys.FULL, "1", "EX", 10)
    with pytest.raises(StoreFull):
        await upload(store, SMALL)
    assert await keys_of_files(store) == []


@pytest.mark.parametrize(("key", "error"), [(keys.FULL, StoreFull), (keys.DRAINED, Drained)])
async def test_a_store_that_refuses_a_later_chunk_keeps_none_of_the_files(
    store: Store, monkeypatch: pytest.MonkeyPatch, key: str, error: type[Exception]
) -> None:
    kept: list[list[bytes]] = []
    run = Connection.run

    async def closing(connection: Connection, name: str, *arguments: Any, **options: Any) -> Any:
        found = await run(connection, name, *arguments, **options)
        if name == "store_file" and not kept:
            kept.append(await keys_of_files(store))
            await store.call("SET", key, "1", "EX", 60)
        return found

    monkeypatch.setattr(Connection, "run", closing)
    with pytest.raises(error):
        await upload(store, LARGE)
    assert len(kept[0]) == 1
    assert await keys_of_files(store) == []


async def test_a_replaced_content_is_not_read(store: Store) -> None:
    await publish(store)
    files = await upload(store, SMALL)
    uid = await accepted(store.intake(), traffic=given(files))
    await store.call("HSET", keys.FILES + files.id, f"{digest(SMALL)}:0", b"forged")
    with pytest.raises(KeyError):
        await store.files.read(uid, digest(SMALL))
