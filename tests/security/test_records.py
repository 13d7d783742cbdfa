"""An attacker who writes to the store cannot change the data of runs or stop processes."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from iogate.store import keys
from iogate.store.connection.packing import encode, flat
from iogate.store.integrity import seals
from iogate.store.runs.claims import decode_messages
from iogate.store.runs.compression import COMPRESSED_MOST, deflate, inflate
from iogate.store.runs.presentation import describe
from tests.keys import RING
from tests.security.test_forgeries import LISTENS, _flat, _folded_parts, _parked, refused
from tests.worker.site import NOOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.worker.site import Site

BOMB = zlib.compress(bytes(100 * 1024**2), 9)


def told(message: dict[str, Any]) -> dict[str, Any] | None:
    """What a parent gets of this end of its child; None for one that is refused."""
    (found,) = decode_messages(1, [b"3 child " + json.dumps(message).encode()], "77", RING)
    return None if found.forged else msgspec.json.decode(found.data)


@pytest.mark.parametrize("title", ["poisoned", "the child run is gone"])
def test_an_end_without_a_seal_carries_nothing_into_the_parent(title: str) -> None:
    error = {"title": title, "type": "evil", "status": 1, "detail": "evil", "instance": "/evil", "evil": 1}
    found = told({"status": "faulted", "output": None, "error": error})
    assert found is not None
    assert "evil" not in json.dumps(found)
    assert (found["status"], found["error"]["title"], found["error"]["status"]) == ("faulted", title, 500)
    assert told({"status": "cancelled", "output": None, "error": {"title": "evil"}}) == {
        "status": "cancelled"
    }


@pytest.mark.parametrize(
    "error", [None, 1, "poisoned", [], {}, {"title": ["poisoned"]}, {"title": {}}, {"title": "other"}]
)
def test_an_end_without_a_seal_that_no_script_makes_is_refused(error: Any) -> None:
    assert told({"status": "faulted", "output": None, "error": error}) is None
    poisoned = {"title": "poisoned"}
    assert told({"status": "completed", "output": None, "error": poisoned}) is None
    assert told({"status": "faulted", "output": 1, "error": poisoned}) is None


def test_values_that_no_frame_names_are_not_inflated() -> None:
    value = json.dumps("x" * 100_000).encode()
    name = hashlib.sha256(value).hexdigest()[:32]
    frames = {"1": b'{"input":1}', "2": json.dumps({"$values": {"output": name}}).encode()}
    other = name[::-1]
    assert seals.verified_values(frames, {name: deflate(value), other: BOMB}) == {name: value}
    assert seals.verified_values(frames, {name: BOMB}) is None
    assert seals.verified_values(frames, {}) == {}


def test_a_compressed_value_is_inflated_to_no_more_than_a_release_compressed() -> None:
    largest = b'"' + b"x" * (COMPRESSED_MOST - 2) + b'"'
    assert inflate(deflate(largest)) == largest
    with pytest.raises(ValueError, match="truncated or too large"):
        inflate(zlib.compress(largest + b" ", 1))


async def test_bombs_beside_the_values_of_a_run_change_nothing(site: Site) -> None:
    await site.publish(LISTENS)
    worker = await site.worker()
    uid, _ = await _parked(site, "listens")
    await site.store.call(
        "HSET", keys.VALUES + uid, *(part for n in range(4) for part in (f"{n:032x}", BOMB))
    )
    event = {"specversion": "1.0", "id": "1", "source": "/t", "type": "paid", "data": {"amount": 7}}
    await site.store.events.publish([json.dumps(event).encode()])
    run = await site.ended(uid)
    assert (run.status, json.loads(run.output or b"")) == ("completed", {"amount": 7})
    assert refused(worker.log_text()) == set()


PARTS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "no state": lambda run: {name: value for name, value in run.items() if name != "st"},
    "a state that is no text": lambda run: run | {"st": b"\xff"},
    "facts that are none": lambda run: run | {"f": b"[]"},
    "a moment that is no number": lambda run: run | {"crt": b"x"},
    "a compressed input that is none": lambda run: run | {"in": b"x!"},
}


async def test_a_record_that_cannot_be_read_is_no_run_and_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.publish(LISTENS, NOOP)
    await site.worker()
    uid, _ = await _parked(site, "listens")
    genuine = await site.store.call("GET", keys.PARKED + uid)
    run, tasks, journal, frames = await _folded_parts(site, uid)
    packed = {
        name: encode((flat(change(_flat(run))), tasks, journal, frames)) for name, change in PARTS.items()
    }
    for name, record in (packed | {"no record": b"evil", "half a record": genuine[:40]}).items():
        await site.store.call("SET", keys.PARKED + uid, record)
        assert await site.store.runs.show(uid) is None, name
    assert "its record cannot be read" in caplog.text
    late = encode((flat(_flat(run) | {"crt": b"9" * 30}), tasks, journal, frames))
    await site.store.call("SET", keys.PARKED + uid, late)
    found = await site.store.runs.show(uid)
    assert found is not None
    assert describe(found, limited=False)["createdAt"] is None
    await site.store.call("SET", keys.PARKED + uid, genuine)
    assert (await site.view(uid)).uid == uid
