"""A gateway follows the live revision without a restart, and keeps the last good one on any failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from iogate.auth.model import EnvSecret, FileSecret, StoredAuth, TokenAuth
from iogate.gateway import revision_refresher, table_loader
from iogate.gateway.calls import routing_table
from iogate.gateway.revision_refresher import Refresher
from iogate.store.connection.connection import CommandFailed
from iogate.store.connection.failures import StoreUnavailable
from iogate.store.maintenance.process_presence import Presence, Process
from iogate.store.store import Store
from tests.gateway.driver import TOKEN, World, api, opened, publish, until
from tests.keys import RING

WITHIN_S = 3.5
"""A second, and what a busy machine adds."""


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Refresher]:
    """The refresher as a process runs it."""
    task = asyncio.create_task(world.refresher.run())
    try:
        yield world.refresher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def taken(world: World, number: int) -> None:
    """Wait until this gateway is known to have taken the revision."""

    async def announced() -> bool:
        return number in [process.revision for process in await world.store.presence.list("gateway")]

    await until(announced)
    assert (await world.store.convergence.wait(number, 60)).late == ()


async def test_a_new_revision_is_loaded_within_a_second_and_acknowledged(world: World) -> None:
    took_s = []
    async with running(world):
        for number, auth in ((1, None), (2, TOKEN), (3, None)):
            assert await publish(world.store, api("a/b", auth)) == number
            started = time.monotonic()
            await taken(world, number)
            if number > 1:
                took_s.append(time.monotonic() - started)
                assert (await world.call("a/b")).status == (401 if auth else 202)
        (process,) = await world.store.presence.list("gateway")
        assert (process.id, process.revision) == (world.refresher.id, 3)
    assert min(took_s) < WITHIN_S


async def test_a_revision_that_takes_longer_to_build_than_the_store_may_take_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine may keep the store waiting for longer than the limit: then the gateway tries again."""
    build = routing_table.build

    def slow(*given: Any, **more: Any) -> Any:
        time.sleep(1.0)
        return build(*given, **more)

    async def loaded() -> bool:
        with contextlib.suppress(TimeoutError):
            await world.refresher.reload()
        return world.live.table is not None

    await publish(world.store, api("a/b"))
    with monkeypatch.context() as patched:
        patched.setattr(routing_table, "build", slow)
        for module in (revision_refresher, table_loader):
            patched.setattr(module, "STORE_TIMEOUT_S", 0.25)
        await until(loaded)
    assert (await world.call("a/b")).status == 202


async def test_switching_is_seen_within_a_second(world: World) -> None:
    await publish(world.store, api("a/b", TOKEN, enabled=None))
    took_s = []
    async with running(world):

        async def status(expected: int) -> bool:
            return (await world.call("a/b")).status == expected

        await until(lambda: status(403))
        for enabled, expected in ((True, 401), (False, 403)):
            await world.store.gates.set_enabled(["a/b"], enabled, author="me")
            started = time.monotonic()
            await until(lambda wanted=expected: status(wanted))  # type: ignore[misc]  # a lambda has no types
            took_s.append(time.monotonic() - started)
    assert min(took_s) < WITHIN_S


async def test_call_of_an_api_that_a_newer_revision_removed_gets_404_at_once(world: World) -> None:
    """The gateway has not heard of the revision: acceptance finds no gate, and the gateway looks again."""
    await world.publish(api("a/b"), api("c/d"))
    assert (await world.call("a/b")).status == 202
    assert await publish(world.store, api("c/d")) == 2
    reply = await world.call("a/b")
    assert (reply.status, reply.code) == (404, "requestError.notFound")
    assert (await world.call("c/d")).headers["x-iogate-revision"] == "2"


async def test_call_of_a_disabled_api_reads_its_own_gate_and_no_other(world: World) -> None:
    """Whoever is not authenticated costs the store one answer, however many APIs there are."""
    apis = [api(f"a/b{number}", TOKEN, enabled=False) for number in range(30)]
    await publish(world.store, *apis)
    await world.refresher.reload()

    async def asked() -> dict[str, int]:
        stats = (await world.store.call("INFO", "commandstats")).decode().splitlines()
        calls = dict(line.removeprefix("cmdstat_").split(":calls=", 1) for line in stats if ":calls=" in line)
        return {name: int(calls.get(name, "0").split(",", 1)[0]) for name in ("hgetall", "hmget", "smembers")}

    before = await asked()
    assert (await world.call("a/b7")).status == 403
    after = await asked()
    assert {name: after[name] - before[name] for name in after} == {"hgetall": 0, "hmget": 1, "smembers": 0}
    await world.store.gates.set_enabled(["a/b7"], True, author="me")
    answers = await asyncio.gather(*(world.call(f"a/b{number}") for number in (7, 7, 8)))
    assert [response.status for response in answers] == [401, 401, 403]


async def test_the_last_good_revision_stays_live_if_a_new_one_is_invalid(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await publish(world.store, api("a/b"))
    async with running(world):
        await taken(world, 1)
        await publish(world.store, api("a/b", input_schema={"type": "no such type"}), api("c/d"))

        async def complained() -> bool:
            return "revision 2 cannot be used, 1 stays live" in caplog.text

        await until(complained)
        (record,) = [each for each in caplog.records if "1 stays live" in each.getMessage()]
        assert vars(record)["action"] == "revision.refused"
        assert world.live.table is not None
        assert world.live.table.number == 1
        state = await world.store.convergence.wait(2, 60)
        assert state.describe_late() == (
            f"gateway {world.refresher.id} keeps revision 1: revision 2 cannot be used, 1 stays live: "
            "\"no such type\" is not valid under any of the schemas listed in the 'anyOf' keyword"
        )
        assert (await world.call("c/d")).status == 404
        assert (await world.call("a/b")).status in (202, 503)
        await publish(world.store, api("a/b"), api("c/d"))
        await taken(world, 3)
        assert (await world.call("c/d")).status == 202
        (process,) = await world.store.presence.list("gateway")
        assert (process.loaded, process.failed) == ({"default": 3}, {})


async def test_an_emptied_store_is_an_outage_and_deletes_no_api(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """After FLUSHALL calls get 503, not 403 or 404, until a revision is applied, also the same one again."""
    await publish(world.store, api("a/b"), api("off", enabled=False))
    async with running(world):
        await taken(world, 1)
        await world.store.call("FLUSHALL")
        seen: set[int] = set()

        async def ready(expected: int) -> bool:
            seen.add((await world.call("a/b")).status)
            return (await world.ask("/health/ready")).status == expected

        await until(lambda: ready(503))
        assert seen == {503}
        assert (await world.call("a/b")).message == "No revision is loaded yet"
        assert (await world.call("off")).status == 503
        (record,) = [each for each in caplog.records if getattr(each, "action", "") == "store.emptied"]
        assert record.levelname == "ERROR"
        assert record.getMessage() == (
            "the store has lost its revision: it was emptied, or started without its files; "
            "calls get 503 until a revision is applied"
        )
        await publish(world.store, api("a/b"), api("off", enabled=False))
        await until(lambda: ready(200))
        assert (await world.call("a/b")).status == 202


async def test_each_outage_of_the_store_and_its_end_are_logged_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iogate.gateway.refresh_log")
    monkeypatch.setattr(revision_refresher, "ANNOUNCE_S", 0.3)
    failures: list[Exception] = []
    announce = Presence.announce

    async def unreliable(presence: Presence, process: Process) -> None:
        if failures:
            raise failures.pop()
        await announce(presence, process)

    def logged() -> list[tuple[str, str]]:
        of_refresh = [each for each in caplog.records if each.name == "iogate.gateway.refresh_log"]
        return [(vars(each)["action"], each.getMessage()) for each in of_refresh]

    outage = [
        ("store.unreachable", "the store did not respond in time"),
        ("store.unreachable", "the store is out of reach: connection refused"),
        ("store.reachable", "the store is reachable again"),
    ]
    monkeypatch.setattr(Presence, "announce", unreliable)
    await publish(store, api("a/b"))
    async with opened(store) as world, running(world):
        await taken(world, 1)
        for number in (1, 2):
            failures[:] = [StoreUnavailable("connection refused"), TimeoutError()] * 2

            async def over(number: int = number) -> bool:
                return len(logged()) >= number * len(outage)

            await until(over)
            assert logged() == outage * number


async def test_a_full_store_ends_no_gateway_and_the_next_revision_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses the announcement: that is repeated, and until then the gateway judges as before."""
    refused: list[int] = []
    announce = Presence.announce

    async def full(presence: Presence, process: Process) -> None:
        if len(refused) < 3:
            refused.append(process.revision)
            raise CommandFailed("OOM command not allowed when used memory > 'maxmemory'.")
        await announce(presence, process)

    monkeypatch.setattr(Presence, "announce", full)
    async with running(world):
        await publish(world.store, api("a/b"))
        await taken(world, 1)
        assert len(refused) == 3
        await publish(world.store, api("a/b", TOKEN))
        await taken(world, 2)
        assert (await world.call("a/b")).status == 401


async def test_missing_secrets_of_an_api_are_announced_by_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORDERS_TOKEN", raising=False)
    lacking = TokenAuth(tokens={"token": (EnvSecret(name="ORDERS_TOKEN"),)})
    await publish(world.store, api("a/b", lacking))
    async with running(world):
        await taken(world, 1)
        (process,) = await world.store.presence.list("gateway")
        assert process.detail["unset:a/b"] == "environment variable ORDERS_TOKEN is not set"


async def test_a_secret_file_that_comes_later_opens_its_api(store: Store, tmp_path: Path) -> None:
    lacking = TokenAuth(tokens={"token": (FileSecret(path="token"),)})
    await publish(store, api("a/b", lacking))
    async with opened(store, root=tmp_path) as world, running(world):
        await taken(world, 1)
        assert (await world.call("a/b", token="s3cret")).status == 503
        (tmp_path / "token").write_text("s3cret\n")

        async def open_again() -> bool:
            return (await world.call("a/b", token="s3cret")).status == 202

        await until(open_again)


async def test_a_rotated_secret_file_is_read_without_a_restart(store: Store, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old\n")
    await publish(store, api("a/b", TokenAuth(tokens={"token": (FileSecret(path="token"),)})))
    async with opened(store, root=tmp_path) as world, running(world):
        await taken(world, 1)
        assert (await world.call("a/b", token="old")).status == 202
        (tmp_path / "token.new").write_text("new\n")
        (tmp_path / "token.new").replace(tmp_path / "token")

        async def rotated() -> bool:
            return (await world.call("a/b", token="new")).status == 202

        await until(rotated)
        assert (await world.call("a/b", token="old")).status == 401


async def test_a_fingerprint_of_each_secret_is_announced_and_changes_with_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", "from the environment")
    (tmp_path / "token").write_text("old\n")
    auth: StoredAuth = TokenAuth(
        tokens={"a": (FileSecret(path="token"),), "b": (EnvSecret(name="ORDERS_TOKEN"),)}
    )
    await publish(store, api("a/b", auth), api("c/d", TOKEN))
    senders: StoredAuth = TokenAuth(tokens={"shop": (EnvSecret(name="SHOP_TOKEN"),)})
    monkeypatch.setenv("SHOP_TOKEN", "of a sender")
    async with opened(store, root=tmp_path, senders=senders) as world, running(world):
        await taken(world, 1)
        (before,) = await store.presence.list("gateway")
        assert before.fingerprint_key == RING.ids[0]
        assert {name: each.value for name, each in before.fingerprints.items()} == {
            "file token": RING.fingerprint("file token", "old"),
            "env ORDERS_TOKEN": RING.fingerprint("env ORDERS_TOKEN", "from the environment"),
            "env SHOP_TOKEN": RING.fingerprint("env SHOP_TOKEN", "of a sender"),
        }
        (tmp_path / "token").write_text("new\n")

        async def rotated() -> bool:
            (process,) = await store.presence.list("gateway")
            return process.fingerprints["file token"].value == RING.fingerprint("file token", "new")

        await until(rotated)
        (after,) = await store.presence.list("gateway")
        assert after.fingerprints["env SHOP_TOKEN"] == before.fingerprints["env SHOP_TOKEN"]


async def test_routes_that_did_not_change_stay_as_they_are(world: World) -> None:
    await world.publish(api("a/b"), api("c/d"))
    assert world.live.table is not None
    before = world.live.table.routes
    await world.publish(api("a/b", TOKEN), api("c/d"))
    after = world.live.table.routes
    assert after["c/d"] is before["c/d"]
    assert after["a/b"] is not before["a/b"]
    assert after["a/b"].counts is before["a/b"].counts


async def test_a_defect_is_logged_and_does_not_end_the_refresh(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that no process of iogate wrote raises whatever it raises."""
    from iogate.store.revisions.gates import Gates

    await publish(world.store, api("a/b"))
    async with running(world):
        await taken(world, 1)
        with monkeypatch.context() as patched:
            for place, name in ((Gates, "states"), (Presence, "announce")):

                async def fails(*_: object, name: str = name) -> None:
                    raise KeyError(name)

                patched.setattr(place, name, fails)
            number = await publish(world.store, api("a/b", TOKEN))

            async def logged() -> bool:
                return any(
                    record.levelname == "ERROR" and record.exc_info and "KeyError" in record.getMessage()
                    for record in caplog.records
                )

            await until(logged)
        await taken(world, number)
        assert (await world.call("a/b")).status == 401
