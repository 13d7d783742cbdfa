"""A revision has a signed origin; revisions without one, of earlier releases, stay valid."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Bundle, Revision, Workflow, canonical, digest_of
from iogate.errors import NotFound
from iogate.security.keyring import Keyring, generate_pair
from iogate.store import keys
from iogate.store.integrity.adoption import adopt
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import NotAuthentic
from iogate.store.store import Store, open_store
from tests.keys import RING
from tests.store.builders import ORDERS, api, bundle, publish

FULL = Origin(
    author="ann@host",
    commit="c" * 40,
    dirty=True,
    message="the new prices",
    version="9.9",
    action="rollback",
    restores=7,
    changes="1 API added",
)


async def test_the_history_shows_origins_and_the_time_of_the_store(each_store: Store) -> None:
    await publish(each_store)
    assert await each_store.revisions.publish(bundle(ORDERS, api("a/b")), expected=1, origin=FULL) == 2
    newest, first = await each_store.revisions.history()
    assert (newest.origin, first.origin) == (FULL, None)
    assert (newest.fault, first.fault) == (None, None)
    assert abs(newest.published_at_ms - await each_store.now_ms()) < 60_000
    assert await each_store.revisions.origin(2) == FULL
    assert await each_store.revisions.origin(1) is None
    assert (await each_store.revisions.load(2)).apis.keys() == {ORDERS.id, "a/b"}


async def test_a_revision_of_an_earlier_release_stays_valid(each_store: Store) -> None:
    """As main wrote it: number and JSON are signed, and there is no origin."""
    data = compiled.encode(bundle(ORDERS).revision)
    await each_store.call("HSET", keys.LIVE, "number", 1, "digest", bundle(ORDERS).revision.digest)
    await each_store.call(
        "HSET", f"{keys.REVISION}1", "data", data, "digest", bundle(ORDERS).revision.digest, "at", 5,
        "sig", RING.sign_revision(b"1", data),
    )  # fmt: skip
    await each_store.call("LPUSH", keys.REVISIONS, 1)
    assert (await each_store.revisions.load(1)).apis.keys() == {ORDERS.id}
    (entry,) = await each_store.revisions.history()
    assert (entry.origin, entry.published_at_ms) == (None, 5)
    assert await each_store.revisions.publish(bundle(ORDERS), origin=FULL) == 1, "the same files"
    assert await each_store.revisions.publish(bundle(api("a/b")), origin=FULL) == 2


@pytest.mark.parametrize("forged", ["changed", "removed", "of another revision", "added", "unreadable"])
async def test_a_forged_origin_is_refused(store: Store, forged: str) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=None if forged == "added" else FULL)
    await store.revisions.publish(
        bundle(ORDERS, api("a/b")), origin=msgspec.structs.replace(FULL, restores=1)
    )
    key = f"{keys.REVISION}1"
    match forged:
        case "changed" | "added":
            stored = json.loads(await store.call("HGET", f"{keys.REVISION}2", "origin"))
            await store.call("HSET", key, "origin", json.dumps({**stored, "author": "eve"}))
        case "removed":
            await store.call("HDEL", key, "origin")
        case "of another revision":
            origin = await store.call("HGET", f"{keys.REVISION}2", "origin")
            await store.call("HSET", key, "origin", origin)
        case _:
            await store.call("HSET", key, "origin", b"\xff{")
    with pytest.raises(NotAuthentic, match="revision 1 in the store is refused"):
        await store.revisions.load(1)
    assert (await store.revisions.load(2)).apis.keys() == {ORDERS.id, "a/b"}
    if forged != "removed":
        _, entry = await store.revisions.history()
        assert entry.origin is None
        assert entry.fault is not None
        with pytest.raises(NotAuthentic, match="the origin of revision 1 in the store is refused"):
            await store.revisions.origin(1)


async def test_an_apply_of_the_same_files_signs_the_origin_with_a_new_key_but_no_forged_one(
    store: Store, redis_url: str
) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=FULL)
    alone = Keyring(("o" * 40,))
    rotated = await open_store(redis_url, keyring=Keyring(("o" * 40, "k" * 40)))
    assert await rotated.revisions.publish(bundle(ORDERS), origin=Origin(author="bob")) == 1
    reader = Store(redis_url, client_name="test", keyring=alone)
    assert await reader.revisions.origin(1) == FULL
    await store.call("HSET", f"{keys.REVISION}1", "origin", '{"author":"eve"}')
    assert await rotated.revisions.publish(bundle(ORDERS)) == 1
    assert await reader.revisions.origin(1) is None
    assert (await reader.revisions.load(1)).apis.keys() == {ORDERS.id}
    await rotated.close()
    await reader.close()


async def test_an_adopted_store_keeps_its_origins(store: Store, redis_url: str) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=FULL)
    other = await open_store(redis_url, keyring=Keyring(("o" * 40,)), adopts=True)
    await adopt(other)
    assert await other.revisions.origin(1) == FULL
    assert (await other.revisions.load(1)).apis.keys() == {ORDERS.id}
    await other.close()


async def test_a_reader_without_keys_reads_origins(store: Store, redis_url: str) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=FULL)
    reader = await open_store(redis_url)
    assert await reader.revisions.origin(1) == FULL
    await reader.close()


async def test_the_message_of_an_unknown_revision_names_the_oldest_and_the_live_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="there is no revision 1: none was ever applied"):
        await store.revisions.load(1)
    monkeypatch.setattr(keys, "REVISIONS_KEPT", 2)
    for name in ("a/b", "a/c", "a/d"):
        await publish(store, api(name))
    for ask in (store.revisions.load, store.revisions.origin, store.revisions.bundle):
        with pytest.raises(NotFound) as unknown:
            await ask(1)
        assert unknown.value.message == (
            "there is no revision 1: the oldest that the store keeps is 2, and 3 is live"
        )
        assert unknown.value.exit_code == 8


DEFINITION = {"document": {"name": "order"}, "do": []}


def with_blobs(*, version: str = "1.0.0") -> Bundle:

    content = b"print()"
    digest = hashlib.sha256(content).hexdigest()
    program = digest_of(DEFINITION)
    revision = Revision(
        apis={},
        workflows={f"shop/order:{version}": Workflow(program=program)},
        resources={f"project:///a.py#{digest}": digest},
    )
    return Bundle(revision=revision, programs={program: canonical(DEFINITION)}, contents={digest: content})


async def test_a_kept_revision_can_be_published_again(each_store: Store) -> None:
    first = with_blobs()
    await each_store.revisions.publish(first)
    await each_store.revisions.publish(with_blobs(version="2.0.0"))
    loaded = await each_store.revisions.bundle(1)
    assert loaded == first
    assert await each_store.revisions.publish(loaded, expected=2) == 3
    assert await each_store.revisions.live() == (3, first.revision.digest)
    (program,) = first.programs
    await each_store.call("DEL", keys.PROGRAM + program)
    with pytest.raises(NotFound, match="there is no program"):
        await each_store.revisions.bundle(1)


async def test_a_process_without_publish_key_keeps_the_signatures_of_programs(
    store: Store, redis_url: str
) -> None:
    private, public = generate_pair()
    publisher = Store(redis_url, client_name="test", keyring=Keyring(publish_key=private))
    await publisher.revisions.publish(with_blobs())
    (program,) = with_blobs().programs
    stored = await store.call("GET", keys.PROGRAM + program)
    assert stored.startswith(b"ed25519:")
    reader = Store(redis_url, client_name="test", keyring=Keyring(("k" * 40,), publishers=(public,)))
    loaded = await reader.revisions.bundle(1)
    await store.call("HDEL", keys.LIVE, keys.LIVE_SEAL)  # of another key
    await store.revisions.publish(loaded)
    await store.revisions.publish(with_blobs(version="2.0.0"))
    assert await store.call("GET", keys.PROGRAM + program) == stored
    await store.call("SET", keys.PROGRAM + program, b"{}")
    await store.revisions.publish(with_blobs(version="3.0.0"))
    assert await store.call("GET", keys.PROGRAM + program) == canonical(DEFINITION), "it was damaged"
    await publisher.close()
    await reader.close()
