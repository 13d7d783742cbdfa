"""Every connected process counts until it has loaded a revision; a crashed one does not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from iogate.store import keys
from iogate.store.maintenance.process_presence import Failure, Kind, Observed, Process
from iogate.store.revisions import convergence
from iogate.store.revisions.convergence import Convergence, Late, compare
from iogate.store.store import Store, open_store
from tests.store.builders import until


def process(name: str, loaded: int | None, *, kind: Kind = "gateway", **more: Any) -> Process:
    return Process(
        kind=kind,
        id=name,
        pid=1,
        host="h",
        started_at_ms=0,
        revision=loaded or 0,
        loaded={} if loaded is None else {"default": loaded},
        **more,
    )


def observed(each: Process, *, connected: bool | None = True, age_s: float = 1.0) -> Observed:
    return Observed(process=each, age_s=age_s, connected=connected)


def test_both_kinds_acknowledge_or_say_why_not() -> None:
    state = compare(
        [
            observed(process("g1", 42)),
            observed(process("g2", 43)),
            observed(
                process("w1", 41, kind="worker", failed={"default": Failure(revision=42, reason="why")})
            ),
            observed(process("w2", None, kind="worker")),
            observed(process("w3", 40, failed={"default": Failure(revision=41, reason="of an older one")})),
        ],
        42,
    )
    assert str(state) == "2/5 on revision 42"
    assert state.describe_late() == (
        "worker w1 keeps revision 41: why; worker w2 has not answered; gateway w3 has not answered"
    )
    assert state.to_json()["late"][0] == {"kind": "worker", "id": "w1", "revision": 41, "reason": "why"}


def test_a_text_names_a_few_late_processes() -> None:
    late = tuple(Late(kind="worker", id=f"w{n}", revision=0, reason="no") for n in range(10))
    text = Convergence(number=1, total=10, late=late).describe_late()
    assert text.startswith("worker w0 has none: no; worker w1")
    assert text.endswith("worker w7 has none: no; and 2 more")


def test_processes_of_an_earlier_release_count_by_age_and_its_workers_not_at_all() -> None:
    old = Process(kind="gateway", id="g", pid=1, host="h", started_at_ms=0, revision=3)
    worker = Process(kind="worker", id="w", pid=1, host="h", started_at_ms=0)
    assert str(compare([observed(old, connected=False), observed(worker)], 3)) == "1/1 on revision 3"
    assert str(compare([observed(old, connected=False)], 4)) == "0/1 on revision 4"
    assert str(compare([observed(old, age_s=9.0)], 4)) == "0/0 on revision 4"


def test_without_permission_to_count_connections_the_announcement_decides() -> None:
    assert str(compare([observed(process("g", 1), connected=None)], 2)) == "0/1 on revision 2"
    assert str(compare([observed(process("g", 1), connected=None, age_s=9.0)], 2)) == "0/0 on revision 2"


async def test_a_wait_ends_when_the_last_process_has_loaded_it(each_store: Store) -> None:
    async with each_store.presence.connected("gateway", "g"), each_store.presence.connected("worker", "w"):
        await each_store.presence.announce(process("g", 2))
        await each_store.presence.announce(process("w", 1, kind="worker"))
        state = await each_store.convergence.wait(2, 0.05)
        assert [each.id for each in state.late] == ["w"]
        waiting = asyncio.create_task(each_store.convergence.wait(2, 20))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await each_store.presence.announce(process("w", 2, kind="worker"))
        state = await waiting
        assert (str(state), state.late) == ("2/2 on revision 2", ())
        assert 0.1 <= state.took_s < 20


async def test_a_wait_ends_early_if_the_late_processes_cannot_load_it(store: Store) -> None:
    async with store.presence.connected("gateway", "g"):
        await store.presence.announce(process("g", 1, failed={"default": Failure(revision=2, reason="why")}))
        began = time.monotonic()
        state = await store.convergence.wait(2, 60)
        assert convergence.FAILED_S <= time.monotonic() - began < 30
        assert state.describe_late() == "gateway g keeps revision 1: why"


async def test_a_crashed_process_is_waited_for_no_longer_than_needed(store: Store, redis_url: str) -> None:
    """Its announcement is left, and its connection is gone."""
    crashed = await open_store(redis_url, client_name="crashed", keyring=store.keyring)
    connected = crashed.presence.connected("gateway", "g")
    await connected.__aenter__()
    await crashed.presence.announce(process("g", 1))

    async def is_connected(wanted: str) -> bool:
        (seen,) = await store.presence.observe()
        return str(seen.connected) == wanted

    await until(lambda: is_connected("True"))
    assert str(await store.convergence.look(2)) == "0/1 on revision 2"
    await crashed.close()
    await until(lambda: is_connected("False"))
    began = time.monotonic()
    state = await store.convergence.wait(2, 60)
    assert (state.total, state.late) == (0, ())
    assert time.monotonic() - began < 30
    assert str(await store.convergence.look(2)) == "0/0 on revision 2"


async def test_a_user_who_may_not_count_subscribers_is_asked_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.presence.announce(process("g", 1))
    await store.call("ACL", "SETUSER", "limited", "on", "nopass", "~*", "&*", "+@all", "-pubsub")
    limited = await open_store(store.url.replace("unix://", "unix://limited:x@"), keyring=store.keyring)
    try:
        (seen,) = await limited.presence.observe()
        assert seen.connected is None
        assert seen.age_s < keys.PROCESS_S
        await limited.presence.observe()
        entries = await store.call("ACL", "LOG")
        assert len(entries) == 1
    finally:
        await limited.close()
        await store.call("ACL", "DELUSER", "limited")
        await store.call("ACL", "LOG", "RESET")
