"""Stores of earlier releases continue after their adoption; stores of newer releases are refused.

The golden file holds the commands that make the store of a project of the release before seals: a run
that waits, one that listens, one that waits for a child that listens, one that faulted, one with a large
value and one that no worker had taken.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iogate.compiler.revision import Bundle
from iogate.errors import WrongStore
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.integrity.adoption import adopt
from iogate.store.revisions.revisions import NotAuthentic
from iogate.store.store import open_store
from tests.keys import RING

if TYPE_CHECKING:
    from iogate.store.store import Store
    from tests.worker.site import Site

GOLDEN = Path(__file__).parent / "golden/store_of_form_1.json.gz"
OTHER = Keyring(("o" * 40,))


async def load(store: Store) -> dict[str, str]:
    """Create the store of the earlier release; return the uid of each run by name."""
    await store.call("FLUSHALL")
    stored = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    for name, key, *parts in stored["commands"]:
        arguments = [base64.b64decode(part) for part in parts]
        await store.call(name, base64.b64decode(key), *arguments)
    uids: dict[str, str] = stored["uids"]
    return uids


async def test_runs_of_an_earlier_release_continue_after_adoption(site: Site) -> None:
    uids = await load(site.store)
    assert await site.store.is_older()
    progress: list[tuple[int, int]] = []
    found = await adopt(site.store, lambda done, total: progress.append((done, total)))
    assert (found.revisions, found.runs, found.ended) == (1, 6, 1)
    assert await site.store.call("GET", keys.FORMAT) == b"2"
    assert not await site.store.is_older()
    worker = await site.worker()
    event = {"specversion": "1.0", "id": "1", "source": "/t", "type": "paid", "data": {"amount": 7}}
    await site.store.events.publish([json.dumps(event).encode()])
    outputs = {
        name: json.loads((await site.ended(uids[name])).output or b"null")
        for name in ("waits", "listens", "parent", "big", "noop")
    }
    assert outputs == {
        "waits": {"n": 2},
        "listens": {"amount": 7},
        "parent": {"from": 7},
        "big": {"n": 2},
        "noop": {"ok": True},
    }
    assert await site.store.runs.retry(uids["breaks"]) == "retried"
    again = await site.ended(uids["breaks"])
    assert (again.attempt, json.loads(again.error or b"")["title"]) == (2, "stop")
    assert "store.refused" not in worker.log_text()


async def test_an_interrupted_adoption_restarts(site: Site) -> None:
    uids = await load(site.store)
    await adopt(site.store)
    await site.store.call("DEL", keys.FORMAT)
    await adopt(site.store)
    await site.worker()
    assert (await site.ended(uids["waits"])).status == "completed"


async def test_a_store_that_is_not_adopted_is_not_executed(site: Site, redis_url: str) -> None:
    uids = await load(site.store)
    with pytest.raises(
        WrongStore, match="written by an earlier release, so its content is not signed"
    ) as old:
        await open_store(redis_url, keyring=RING)
    assert old.value.code == "IOG672"
    assert "iogate store adopt" in old.value.hint
    worker = await site.worker(ready=False)
    assert await worker.wait() == 6
    # A reader without a key may look.
    store = await open_store(redis_url)
    view = await store.runs.show(uids["noop"])
    assert view is not None
    assert view.status == "pending"
    await store.close()


async def test_a_store_of_a_newer_release_is_refused_also_for_reading(site: Site, redis_url: str) -> None:
    await site.store.call("SET", keys.FORMAT, keys.FORMAT_NUMBER + 1)
    for ring in (RING, Keyring()):
        with pytest.raises(WrongStore, match=r"has format 3, and this release .* up to 2") as new:
            await open_store(redis_url, keyring=ring)
        assert new.value.code == "IOG671"
        assert new.value.hint == "use the release that wrote it, or a newer one"


async def test_another_key_is_reported(site: Site, redis_url: str) -> None:
    await site.store.check(RING)
    with pytest.raises(WrongStore) as caught:
        await open_store(redis_url, keyring=OTHER)
    assert caught.value.code == "IOG670"
    assert caught.value.message == (
        f"this process has another link_key (named {OTHER.ids[0]}) than those that use the store at "
        f"{site.store.address} (named {RING.ids[0]})"
    )
    assert "set link_key to the same value on every machine" in caught.value.hint
    assert await (await site.worker(ready=False, link_key="o" * 40)).wait() == 6


async def test_keys_rotate_while_runs_wait(site: Site) -> None:
    """Old key, both keys with the new one first, then only the new key."""
    from tests.worker.site import NOOP, workflow

    await site.publish(NOOP, workflow("waits", {"pause": {"wait": {"seconds": 2}}}))
    old = await site.worker()
    waiting = await site.call("waits")
    rotated = await site.worker(link_key="o" * 40, previous_link_keys=("k" * 40,))
    assert (await site.ended(waiting)).status == "completed"
    assert (await site.ended(await site.call())).status == "completed"
    for worker in (old, rotated):
        assert "store.refused" not in worker.log_text()


async def test_the_same_apply_again_signs_the_live_revision_with_the_new_key(
    site: Site, redis_url: str
) -> None:
    from tests.worker.site import NOOP

    await site.publish(NOOP)
    bundle = Bundle(revision=await site.store.revisions.load(1), programs={})
    rotated = await open_store(redis_url, keyring=Keyring(("o" * 40, "k" * 40)))
    assert await rotated.revisions.publish(bundle) == 1
    await rotated.close()
    alone = await open_store(redis_url, keyring=OTHER)
    assert (await alone.revisions.load(1)).digest == bundle.revision.digest
    await alone.close()
    with pytest.raises(NotAuthentic, match=r"revision 1 in the store is refused: it is signed") as no:
        await site.store.revisions.load(1)
    assert no.value.code == "IOG673"
