"""Compression: large inputs, outputs and values are stored compressed and once, and read unchanged."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import zlib

import pytest

from iogate.security.keyring import digest
from iogate.store import keys
from iogate.store.integrity.adoption import adopt
from iogate.store.runs.compression import COMPRESSED_MOST, LARGE, deflate, inflate
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish
from tests.store.test_children import child, content_of, parent_of, taken

ORDER = json.dumps([{"sku": f"A-{n}", "quantity": n % 7} for n in range(20_000)]).encode()
NAMED = hashlib.sha256(ORDER).hexdigest()[:32]
"""Name of ORDER among the values of a state."""
FRAMES = {"1": b'{"$values":{"input":"%b"}}' % NAMED.encode()}
KEPT = {"1": digest(FRAMES["1"])}
NOISE = json.dumps(base64.b64encode(random.Random(7).randbytes(300_000)).decode()).encode()
"""No smaller than three quarters, however it is compressed."""


@pytest.mark.parametrize("value", [b"", b"1", ORDER, NOISE, b'"' + b"x" * LARGE + b'"'])
def test_deflated_values_are_restored(value: bytes) -> None:
    assert inflate(deflate(value)) == value
    assert inflate(value) == value  # as an earlier release stored it
    assert len(deflate(value)) <= len(value)


def test_small_and_very_large_values_stay_uncompressed() -> None:
    for size in (LARGE - 1, COMPRESSED_MOST + 1):
        value = b'"' + b"x" * (size - 2) + b'"'
        assert deflate(value) is value


@pytest.mark.parametrize("stored", [b"x", b"xyz", zlib.compress(ORDER)[:-9]])
def test_invalid_compressed_values_are_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="a compressed value is"):
        inflate(stored)


async def test_an_input_is_compressed_from_the_call_to_the_end(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), input=ORDER)
    assert await each_store.call("HSTRLEN", keys.RUN + uid, "in") < len(ORDER) / 5
    (claim,) = (await each_store.leases.take("w", 1)).claims
    assert claim.input == ORDER
    await each_store.leases.commit([commit(claim, "keep", head=b"h", frames=FRAMES, values={NAMED: ORDER})])
    assert await each_store.call("HSTRLEN", keys.VALUES + uid, "d") < len(ORDER) / 5
    live = await each_store.runs.show(uid)
    await each_store.leases.commit(
        [commit(claim, status="faulted", seq=2, error=b"{}", head=b"h", digests=KEPT)]
    )
    over = await each_store.runs.show(uid)
    assert live is not None
    assert over is not None
    assert (live.input, over.input) == (ORDER, ORDER)
    state = await each_store.runs.load_state(uid)
    assert state is not None
    assert (state.input, state.values) == (ORDER, {NAMED: ORDER})
    assert await each_store.runs.retry(uid, state) == "retried"
    (again,) = (await each_store.leases.take("w", 1)).claims
    assert (again.input, again.values) == (ORDER, {NAMED: ORDER})
    await each_store.leases.commit([commit(again, seq=again.seq + 1, output=ORDER[:-1] + b',"end"]')])
    over = await each_store.runs.show(uid)
    assert over is not None
    assert (over.input, over.output) == (ORDER, ORDER[:-1] + b',"end"]')


async def test_a_small_compressed_value_is_stored_beside_the_record(each_store: Store) -> None:
    await publish(each_store)
    blank = b'"' + b" " * LARGE + b'"'
    uid = await accepted(each_store.intake(), input=blank)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, "park", due_ms=claim.created_at_ms + 600_000)])
    parked = await each_store.runs.show(uid)
    assert parked is not None
    assert parked.input == blank
    await each_store.call("ZADD", keys.TIMERS, 1, uid)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, seq=2, output=blank[:-1] + b' "')])
    over = await each_store.runs.show(uid)
    assert over is not None
    assert (over.input, over.output) == (blank, blank[:-1] + b' "')
    assert [run.uid for run in await each_store.runs.list()] == [uid]


@pytest.mark.parametrize("value", [ORDER, NOISE])
async def test_an_output_that_is_the_input_is_stored_once(each_store: Store, value: bytes) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), input=value)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    await each_store.leases.commit([commit(claim, output=value)])
    view = await each_store.runs.show(uid)
    assert view is not None
    assert (view.input, view.output) == (value, value)
    kept = [
        int(await each_store.call("MEMORY", "USAGE", key, "SAMPLES", 0))
        for key in (keys.END + uid, keys.BIG + uid)
    ]
    assert sum(kept) < 1.3 * len(deflate(value)) + 2_000


async def test_an_output_for_a_parent_is_sent_as_json(each_store: Store) -> None:
    await publish(each_store)
    started = child(input=ORDER)
    parent = await parent_of(each_store, started)
    claim = await taken(each_store, started.uid)
    assert claim.input == ORDER
    await each_store.leases.commit([commit(claim, output=ORDER, has_parent=True)])
    (message,) = (await taken(each_store, parent.uid)).inbox
    assert content_of(message)["output"] == json.loads(ORDER)
    view = await each_store.runs.show(started.uid)
    assert view is not None
    assert view.output == ORDER


async def test_values_of_an_earlier_release_are_readable(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake())
    await each_store.call("HSET", keys.RUN + uid, "in", ORDER)
    await adopt(each_store)
    (claim,) = (await each_store.leases.take("w", 1)).claims
    assert claim.input == ORDER
    await each_store.leases.commit([commit(claim, "keep", head=b"h", frames=FRAMES)])
    await each_store.call("HSET", keys.VALUES + uid, NAMED, ORDER)
    await each_store.leases.commit(
        [commit(claim, status="faulted", seq=2, error=b"{}", head=b"h", digests=KEPT)]
    )
    state = await each_store.runs.load_state(uid)
    assert state is not None
    assert (state.input, state.values) == (ORDER, {NAMED: ORDER})
