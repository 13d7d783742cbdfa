"""Seals that a machine has seen are remembered in `data_dir`: no restart accepts an earlier live revision."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from iogate.store import keys
from iogate.store.integrity.newest_seals import FILE, MOST, Damaged, NewestSeals, damage, fault
from iogate.store.revisions.live_record import SET_BACK
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import NotAuthentic
from iogate.store.store import Store
from tests.keys import RING
from tests.store.builders import ORDERS, api, bundle
from tests.store.live_records import SEAL, put_back, record

ANN = Origin(author="ann")
URL = "redis://:secret@store.example.com:6379/0"


def restarted(store: Store, data_dir: Path, *, writes: bool = True, project: str | None = None) -> Store:
    """Return a store as a process opens it after a restart."""
    seals = NewestSeals(data_dir, store.url, writes=writes)
    return Store(store.url, client_name="test", keyring=RING, project=project, seals=seals)


async def live(store: Store) -> int:
    """Return the number of the live revision, as a process that ends afterwards sees it."""
    try:
        return (await store.revisions.live() or (0,))[0]
    finally:
        await store.close()


async def replayed(store: Store, data_dir: Path) -> None:
    """Publish two revisions, let a process see the second one, and put the record of the first one back."""
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    first = await record(store)
    await store.revisions.publish(bundle(ORDERS, api("a/b")), origin=ANN)
    assert await live(restarted(store, data_dir)) == 2
    await put_back(store, first)


async def test_a_process_that_starts_later_refuses_an_earlier_record(
    each_store: Store, tmp_path: Path
) -> None:
    await replayed(each_store, tmp_path)
    with pytest.raises(NotAuthentic) as caught:
        await live(restarted(each_store, tmp_path))
    assert caught.value.code == "IOG673"
    assert caught.value.message == (
        "the record of the live revision in the store is refused: it was set back: its seal is older than "
        "one that this machine has seen"
    )
    assert "apply --repair" in caught.value.hint


async def test_a_repair_accepts_it_on_purpose_and_every_machine_follows(store: Store, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    await replayed(store, tmp_path)
    repairing = restarted(store, tmp_path)
    assert await repairing.revisions.repair(bundle(ORDERS), ANN) == 3
    await repairing.close()
    for data_dir in (tmp_path, other):
        assert await live(restarted(store, data_dir)) == 3


async def test_a_repair_is_newer_than_what_was_seen_though_the_clock_is_behind(
    store: Store, tmp_path: Path
) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    ahead = await store.now_ms() + 3_600_000
    NewestSeals(tmp_path, store.url).remember("default", ahead)
    repairing = restarted(store, tmp_path)
    await repairing.revisions.repair(bundle(ORDERS), ANN)
    await repairing.close()
    assert await live(restarted(store, tmp_path)) == 2
    assert NewestSeals(tmp_path, store.url).counters() == {"default": ahead + 1}


async def test_a_removed_seal_is_refused_after_a_restart(store: Store, tmp_path: Path) -> None:
    await store.revisions.publish(bundle(ORDERS))
    assert await live(restarted(store, tmp_path)) == 1
    await store.call("HDEL", keys.LIVE, SEAL)
    with pytest.raises(NotAuthentic, match="it has no seal, and it had one before"):
        await live(restarted(store, tmp_path))


async def test_a_forged_seal_is_not_remembered(store: Store, tmp_path: Path) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    assert await live(restarted(store, tmp_path)) == 1
    before = NewestSeals(tmp_path, store.url).counters()
    genuine = await store.call("HGET", keys.LIVE, SEAL)
    _, _, signature = genuine.partition(b" ")
    await store.call("HSET", keys.LIVE, SEAL, b"999999999999999 " + signature)
    with pytest.raises(NotAuthentic):
        await live(restarted(store, tmp_path))
    assert NewestSeals(tmp_path, store.url).counters() == before
    await store.call("HSET", keys.LIVE, SEAL, genuine)
    assert await live(restarted(store, tmp_path)) == 1


async def test_projects_and_stores_have_their_own_counters(store: Store, tmp_path: Path) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    NewestSeals(tmp_path, store.url).remember("shop", 999_999_999_999_999)
    NewestSeals(tmp_path, URL).remember("default", 999_999_999_999_999)
    assert await live(restarted(store, tmp_path)) == 1
    shop = restarted(store, tmp_path, project="shop")
    assert await shop.revisions.publish(bundle(api("s/a")), origin=ANN) == 2
    await shop.close()
    text = (tmp_path / FILE).read_text()
    assert "secret" not in text
    assert f"999999999999999 default {URL.replace('secret', '***')}\n" in text


async def test_a_reader_writes_nothing_and_still_refuses(store: Store, tmp_path: Path) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    assert await live(restarted(store, tmp_path, writes=False)) == 1
    assert not (tmp_path / FILE).exists()
    await replayed(store, tmp_path)
    with pytest.raises(NotAuthentic):
        await live(restarted(store, tmp_path, writes=False))


@pytest.mark.parametrize("state", ["missing", "a file", "a folder in place of the file"])
async def test_a_folder_that_cannot_be_written_is_no_error(store: Store, tmp_path: Path, state: str) -> None:
    data_dir = tmp_path / "data"
    why = f"{data_dir} does not exist"
    if state == "a file":
        data_dir.write_text("")
        why = f"{data_dir} is not a folder that can be written"
    elif state != "missing":
        (data_dir / FILE).mkdir(parents=True)
        why = f"{data_dir / FILE} is not a file that can be read"
    assert fault(data_dir) == why
    with pytest.raises(AssertionError, match="refused"):
        await replayed_is_refused(store, data_dir)
    if state == "missing":
        assert not data_dir.exists()


async def replayed_is_refused(store: Store, data_dir: Path) -> None:
    """Fail if the process that starts later accepts the earlier record, as one without memory does."""
    first = await _first_of_two(store)
    running = restarted(store, data_dir)
    assert (await running.revisions.live() or (0,))[0] == 2
    await put_back(store, first)
    with pytest.raises(NotAuthentic, match=SET_BACK):
        await running.revisions.live()
    await running.close()
    assert await live(restarted(store, data_dir)) != 1, "refused by a process without memory"


async def _first_of_two(store: Store) -> list[bytes]:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    first = await record(store)
    await store.revisions.publish(bundle(ORDERS, api("a/b")), origin=ANN)
    return first


def test_writers_side_by_side_never_lose_a_newer_counter(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        for number in range(1, 40):
            NewestSeals(tmp_path, URL).remember(f"p{number % 3}", number * 8 + writer)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert NewestSeals(tmp_path, URL).counters() == {
        f"p{n}": last * 8 + 7 for n, last in ((0, 39), (1, 37), (2, 38))
    }
    NewestSeals(tmp_path, URL).remember("p0", 1)
    assert NewestSeals(tmp_path, URL).counters()["p0"] == 39 * 8 + 7
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_file_is_bounded(tmp_path: Path) -> None:
    for number in range(MOST + 10):
        NewestSeals(tmp_path, "a").remember(f"p{number}", number + 1)
    counters = NewestSeals(tmp_path, "a").counters()
    assert len(counters) == MOST
    assert counters[f"p{MOST + 9}"] == MOST + 10


DAMAGED = {
    "empty": (b"", "it is empty"),
    "zeros of a failed disk": (bytes(40), "its last line is incomplete"),
    "cut off": (b"7 default redis://a\n8 shop redi", "its last line is incomplete"),
    "not text": (b"7 default a\n\xff\xfe p a\n", "line 2 is not a counter, a project and a store"),
    "no counter": (b"x default a\n", "line 1 is not a counter, a project and a store"),
    "negative": (b"7 p a\n-1 default a\n", "line 2 is not a counter, a project and a store"),
    "no store": (b"7 default\n", "line 1 is not a counter, a project and a store"),
    "empty line": (b"7 p a\n\n", "line 2 is not a counter, a project and a store"),
    "huge counter": (b"9" * 400 + b" default a\n", "line 1 is not a counter, a project and a store"),
    "huge": (b"7 p a\n" * 50_000, "it has more than 262144 bytes"),
}


@pytest.mark.parametrize("content", DAMAGED)
async def test_a_damaged_file_is_refused_and_not_replaced(
    store: Store, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, why = DAMAGED[content]
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(Damaged) as caught:
        restarted(store, tmp_path)
    assert caught.value.code == "IOG850"
    assert caught.value.message == (
        f"{tmp_path / FILE} is damaged: {why}; it remembers the newest live revisions, so that nobody can "
        "make an earlier one live again"
    )
    assert "iogate history" in caught.value.hint
    assert "delete the file" in caught.value.hint
    assert str(damage(tmp_path)) == caught.value.message
    # A reader changes nothing by what it shows; a process that was running keeps its own memory.
    await restarted(store, tmp_path, writes=False).close()
    NewestSeals(tmp_path, URL).remember("default", 9)
    assert (tmp_path / FILE).read_bytes() == data
    assert why in caplog.text


async def test_a_running_process_refuses_an_earlier_record_though_the_file_was_damaged(
    store: Store, tmp_path: Path
) -> None:
    first = await _first_of_two(store)
    running = restarted(store, tmp_path)
    assert (await running.revisions.live() or (0,))[0] == 2
    (tmp_path / FILE).write_bytes(b"")
    await put_back(store, first)
    with pytest.raises(NotAuthentic, match=SET_BACK):
        await running.revisions.live()
    await running.close()
