"""The record of the live revision is sealed: no writer to Redis makes an earlier revision live again."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.revisions.live_record import SET_BACK
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import Conflict, NotAuthentic
from iogate.store.store import Store
from tests.keys import RING
from tests.store.builders import ORDERS, api, bundle
from tests.store.live_records import SEAL, make_live, put_back, record

ANN = Origin(author="ann")


async def two(store: Store) -> list[bytes]:
    """Publish two revisions; return the record of the first."""
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    first = await record(store)
    await store.revisions.publish(bundle(ORDERS, api("a/b")), origin=ANN)
    return first


def fresh(store: Store, ring: Keyring = RING, project: str | None = None) -> Store:
    """Return a store as another process opens it: without memory of seals."""
    return Store(store.url, client_name="test", keyring=ring, project=project)


async def refusal(store: Store) -> str:
    with pytest.raises(NotAuthentic) as caught:
        await store.revisions.live()
    assert caught.value.code == "IOG673"
    return caught.value.message


async def test_a_moved_record_is_refused_by_every_process(each_store: Store) -> None:
    await two(each_store)
    first = bundle(ORDERS).revision.digest
    await each_store.call("HSET", keys.LIVE, "number", 1, "digest", first)
    other = fresh(each_store)
    for store in (each_store, other):
        assert await refusal(store) == (
            "the record of the live revision in the store is refused: its seal does not match it"
        )
        with pytest.raises(NotAuthentic):
            await store.revisions.publish(bundle(ORDERS))
    await other.close()


@pytest.mark.parametrize(
    ("seal", "why"),
    [
        ("", "its seal is not readable"),
        ("x y", "its seal is not readable"),
        ("1", "its seal does not match it"),
        (f"1 {RING.sign_revision(b'live', b'default', b'1', b'd', b'2')}", "its seal does not match it"),
        (f"1 {Keyring(('o' * 40,)).sign_revision(b'1')}", "its seal does not match it"),
        ("9" * 5000, "its seal is not readable"),
    ],
)
async def test_a_forged_seal_is_refused(store: Store, seal: str, why: str) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    await store.call("HSET", keys.LIVE, SEAL, seal)
    assert (await refusal(store)).endswith(why)
    found = await store.revisions.live_of_all()
    assert (found.live, found.invalid["default"].number) == ({}, 1)


async def test_an_earlier_record_with_its_seal_is_refused_by_a_process_that_has_seen_a_newer_one(
    each_store: Store,
) -> None:
    first = await two(each_store)
    assert await each_store.revisions.live() is not None
    await put_back(each_store, first)
    assert (await refusal(each_store)).endswith(SET_BACK)
    number = await each_store.revisions.repair(bundle(ORDERS), ANN)
    assert number == 3, "numbers go on"
    assert (await each_store.revisions.live() or (0,))[0] == 3


async def test_a_removed_seal_is_refused_as_long_as_anything_shows_that_there_was_one(store: Store) -> None:
    first = await two(store)
    await put_back(store, first, sealed=False)
    assert (await refusal(store)).endswith("it has no seal, and it had one before")
    other = fresh(store)
    assert (await refusal(other)).endswith("it has no seal, and revision 2 is newer")
    await store.call("DEL", keys.REVISIONS)
    assert (await refusal(other)).endswith("it has no seal, and revision 1 was published with one")
    await other.close()


async def test_a_store_of_an_earlier_release_is_read_until_its_next_publish(store: Store) -> None:
    await store.revisions.publish(bundle(ORDERS))
    await store.call("HDEL", keys.LIVE, SEAL)
    other = fresh(store)
    assert (await other.revisions.live() or (0,))[0] == 1
    assert await other.revisions.publish(bundle(ORDERS), 1) == 1, "the same content seals the record"
    assert (await other.revisions.live() or (0,))[0] == 1
    await store.call("HDEL", keys.LIVE, SEAL)
    assert (await refusal(other)).endswith("it had one before")
    await other.close()


async def test_each_project_has_its_own_seal(each_store: Store) -> None:
    shop = fresh(each_store, project="shop")
    await two(each_store)
    await shop.revisions.publish(bundle(api("s/a")), origin=ANN)
    before = await each_store.call("HGET", keys.LIVE, f"{SEAL}:shop")
    await shop.revisions.publish(bundle(api("s/b")), origin=ANN)
    assert set((await each_store.revisions.live_of_all()).live) == {"default", "shop"}
    await each_store.call("HSET", keys.LIVE, f"{SEAL}:shop", before)
    found = await each_store.revisions.live_of_all()
    assert (set(found.live), found.invalid["shop"].number) == ({"default"}, 4)
    assert (await refusal(shop)).startswith("the record of the live revision of project shop in the store")
    assert await each_store.revisions.live() is not None
    await shop.close()


async def test_concurrent_publishes_never_go_back(store: Store) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    others = [fresh(store) for _ in range(4)]

    async def publish(other: Store, turn: int) -> None:
        with contextlib.suppress(Conflict):
            await other.revisions.publish(bundle(ORDERS, api(f"a/b{turn % 3}")), origin=ANN)

    async def read(other: Store) -> None:
        for _ in range(50):
            assert (await other.revisions.live_of_all()).invalid == {}

    await asyncio.gather(
        *(publish(other, turn) for turn in range(10) for other in others), *(read(other) for other in others)
    )
    for other in others:
        await other.close()


async def test_a_repair_replaces_records_that_nothing_can_read(store: Store) -> None:
    first = await two(store)
    for forge in (
        ("HSET", keys.LIVE, "number", "x"),
        ("HSET", keys.LIVE, "last", "9" * 15),
        ("SET", keys.LIVE, "x"),
        ("DEL", keys.LIVE),
    ):
        await store.call(*forge)
        other = fresh(store)
        number = await other.revisions.repair(bundle(ORDERS), ANN, above=7)
        assert (await other.revisions.live() or (0,))[0] == number
        await other.close()
    assert number == 11, "above what processes have loaded, and once for each"
    assert first


async def test_a_rotated_key_and_a_publisher_seal_again(store: Store) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    rotated = fresh(store, Keyring(("n" * 40, "k" * 40)))
    assert await rotated.revisions.publish(bundle(ORDERS), 1, origin=ANN) == 1
    only_new = fresh(store, Keyring(("n" * 40,)))
    assert (await only_new.revisions.live() or (0,))[0] == 1
    assert (await refusal(store)).endswith("its seal does not match it")
    await rotated.close()
    await only_new.close()


async def test_a_process_without_a_key_reads_what_is_there(store: Store) -> None:
    await two(store)
    await store.call("HSET", keys.LIVE, SEAL, "forged")
    reader = fresh(store, Keyring())
    assert (await reader.revisions.live() or (0,))[0] == 2
    await reader.close()


async def test_a_sealed_record_of_a_lost_revision_is_no_reason_to_go_back(store: Store) -> None:
    await two(store)
    await make_live(store, 9, "d")
    assert (await store.revisions.live_of_all()).live["default"] == (9, "d")
    assert await store.revisions.publish(bundle(ORDERS), origin=ANN) == 10
