"""Refused objects are reported to operators reliably; keys rotate while links stay valid."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.integrity import refusals
from iogate.store.store import Store
from tests.cli.conftest import Cli, cli
from tests.gateway.driver import World
from tests.keys import LINK_KEY, RING
from tests.security.test_forged_revisions import publish, served
from tests.worker.site import until

if TYPE_CHECKING:
    from tests.worker.site import Site

__all__ = ["cli"]

NEW = "n" * 40


def in_store(url: str, do: Callable[[Store], Awaitable[None]]) -> None:
    async def opened() -> None:
        store = Store(url, client_name="test", keyring=RING)
        try:
            await do(store)
        finally:
            await store.close()

    asyncio.run(opened())


def test_status_and_doctor_show_what_processes_have_refused(
    cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    monkeypatch.setenv("IOGATE_LINK_KEY", LINK_KEY)

    async def none(store: Store) -> None:
        await store.call("FLUSHALL")

    async def some(store: Store) -> None:
        for kind, name in (("run", "1"), ("run", "2"), ("run", "2"), ("queue entry", "x")):
            store.refusals.note(kind, name, "why")  # type: ignore[arg-type]
        store.refusals.note("gate", "a/b", "why")
        await store.refusals.flush()
        await store.refusals.flush()

    async def hostile(store: Store) -> None:
        await store.call("HSET", keys.REFUSED, "event", "9" * 5000, "state", "x", "\x1b[31mevil", 1)

    async def of_another_type(store: Store) -> None:
        await store.call("SET", keys.REFUSED, "x")

    in_store(redis_url, none)
    assert cli("status", "-o", "json").json["refused"] == {}
    assert "refused" not in cli("status").out
    in_store(redis_url, some)
    wanted = {"run": 2, "queue entry": 1, "gate": 1}
    told = "1 gate, 1 queue entry, 2 runs"
    for attack in (None, hostile):
        if attack is not None:
            in_store(redis_url, attack)
        assert cli("status", "-o", "json").json["refused"] == wanted
        assert f"refused   {told}: not signed with the key, see the logs" in cli("status").out
        ran = cli("doctor", "-o", "json", code=6)
        found = [each for each in ran.json["findings"] if "refused" in each["message"]]
        assert found == [
            {
                "about": "store",
                "verdict": "error",
                "message": f"processes have refused {told} without a valid signature",
                "hint": "find out which other programs can write to the store; the logs name each object",
            }
        ]
    in_store(redis_url, of_another_type)
    assert cli("status", "-o", "json").json["refused"] == {}


def test_doctor_tells_another_link_key(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def used(store: Store) -> None:
        await store.call("FLUSHALL")
        await store.check(RING)

    in_store(redis_url, used)
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    monkeypatch.setenv("IOGATE_LINK_KEY", NEW)
    found = cli("doctor", "-o", "json", code=None).json["findings"]
    (finding,) = [each for each in found if each["about"] == "link_key" and each["verdict"] == "error"]
    assert f"this process has another link_key (named {Keyring((NEW,)).ids[0]})" in finding["message"]
    assert LINK_KEY not in json.dumps(found)
    assert NEW not in json.dumps(found)


async def test_metrics_show_refusals_by_kind_and_nothing_of_a_strangers(world: World) -> None:
    for number in range(3):
        world.store.refusals.note("state", str(number), "why")
    await world.store.refusals.flush()
    await world.store.call("HSET", keys.REFUSED, 'x"} 1\nforged', 1, "run", "-1", "event", "9" * 400)
    text = (await world.ask("/metrics")).body.decode()
    counts = dict(re.findall(r'(?m)^iogate_store_refused_total\{kind="([\w ]+)"\} (\S+)$', text))
    # A zero for an invalid count would look like a reset of the counter.
    valid = [kind for kind in refusals.KINDS if kind not in ("run", "event")]
    assert counts == dict.fromkeys(valid, "0.0") | {"state": "3.0"}
    assert text.count("\niogate_store_refused_total") == len(valid)
    assert "forged" not in text
    await world.store.call("DEL", keys.REFUSED)
    await world.store.call("SET", keys.REFUSED, "x")
    reply = await world.ask("/metrics")
    assert reply.status == 200
    assert b"\niogate_store_refused_total" not in reply.body, "zeros would look like a reset of the counters"
    assert b"iogate_runs" in reply.body


async def test_a_refusal_is_logged_once_and_memory_is_bounded(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "REMEMBERED", 10)
    with caplog.at_level(logging.ERROR, logger="iogate.store.integrity.refusals"):
        for _ in range(3):
            store.refusals.note("event", "x\nerror: y" + "x" * 100_000, "no seal")
        (record,) = caplog.records
        assert len(record.getMessage()) < 200
        assert "\n" not in record.getMessage()
        assert (record.action, record.kind, len(record.object)) == (  # type: ignore[attr-defined]
            "store.refused",
            "event",
            80,
        )
        for number in range(100):
            store.refusals.note("event", str(number), "no seal")
    assert len(store.refusals._logged) <= 10
    assert store.refusals.total == 101
    await store.refusals.flush()
    assert await store.refusals.counts() == dict.fromkeys(refusals.KINDS, 0) | {"event": 101}


async def test_links_and_revisions_outlive_the_rotation_of_the_key(site: Site, tmp_path: Path) -> None:
    """The steps of docs/operations/security.md: both keys, the new one first, then the new one alone."""

    async def started(url: str) -> str:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            reply = await client.post(
                "/v1/api/test/guarded/async", content=b"{}", headers={"token": "123456"}
            )
            assert reply.status_code == 202, reply.text
            link: str = reply.headers["location"]
            assert "?sig=" in link
            return link

    async def opens(url: str, link: str) -> int:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            return (await client.get(link)).status_code

    await publish(site)
    previous = json.dumps([LINK_KEY])
    with (
        served(site, tmp_path) as before,
        served(site, tmp_path, link_key=NEW, previous_link_keys=previous) as both,
    ):
        for gateway in (before, both):
            log = gateway.log
            await until(lambda log=log: "revision.taken" in log.read_text(), name="the revision")  # type: ignore[misc]
        old = await started(before.url)
        assert await opens(both.url, old) == 200
        new = await started(both.url)
        assert await opens(both.url, new) == 200
        # It is signed with the new key: whoever has the old one alone does not know it.
        assert await opens(before.url, new) == 401
        assert "store.refused" not in both.log.read_text()
    assert await publish(site, Keyring((NEW, LINK_KEY))) == 1
    with served(site, tmp_path, link_key=NEW) as alone:
        await until(lambda: "revision.taken" in alone.log.read_text(), name="the revision")
        assert await opens(alone.url, new) == 200
        assert await opens(alone.url, old) == 401
