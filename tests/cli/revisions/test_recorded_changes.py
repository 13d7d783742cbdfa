"""Commands that change the live system record who changed what and why, as the HTTP API does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iogate.cli.session import author
from iogate.operators import activity
from iogate.store.store import open_store
from tests.cli.conftest import Cli
from tests.keys import RING

API = """\
module: shop
methods:
  buy: {workflow: shop/buy, auth: none, enabled: true}
"""
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}
timeout: {after: PT1M}
schedule: {cron: '0 6 * * *'}
do:
  - done: {set: {x: 1}}
"""


async def flush(url: str) -> None:
    store = await open_store(url)
    await store.call("FLUSHALL")
    await store.close()


async def entries(url: str) -> list[dict[str, Any]]:
    store = await open_store(url, keyring=RING)
    try:
        found: list[dict[str, Any]] = (await activity.page(store))["activity"]
        return found
    finally:
        await store.close()


@pytest.fixture
def project(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    asyncio.run(flush(redis_url))
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    monkeypatch.setenv("IOGATE_LINK_KEY", "k" * 40)
    cli.write("apis.d/shop.yaml", API)
    cli.write("workflows.d/buy.yaml", WORKFLOW)
    return cli


def test_each_command_is_recorded_with_its_outcome(project: Cli, redis_url: str) -> None:
    project("apply", "--yes", "--message", "the first")
    project("apply", "--yes")  # nothing to do, and nothing recorded
    project("disable", "shop/buy", "--reason", "the shop is down", "--hold")
    project("enable", "--all", "--yes")
    project("disable", "shop/bye", code=8)
    project("disable", "shop/buy", "--ttl", "1h")
    project("override", "clear", "--all")
    project("schedule", "disable", "shop/buy", "--reason", "no")
    project("schedule", "run", "shop/buy")
    project("schedule", "enable", "shop/buy")
    project.write("apis.d/shop.yaml", API.replace("enabled: true", "enabled: false"))
    project("apply", "--yes", "--expect", "9", code=4)
    project("apply", "--yes")
    project("rollback", "--yes", "--message", "back")
    found = asyncio.run(entries(redis_url))[::-1]
    assert {(each["operator"], each["via"], each["from"], each["role"]) for each in found} == {
        (author(), "cli", author(), "admin")
    }
    assert [
        (each["action"], ",".join(each["target"]["ids"]), each["outcome"], each["reason"], each["revision"])
        for each in found
    ] == [
        ("revisions.publish", "default", "done", "the first", 1),
        ("apis.override", "shop/buy", "done", "the shop is down", None),
        ("apis.override", "shop/buy", "done", None, None),
        ("apis.override", "shop/buy", "done", None, None),
        ("apis.restore", "", "done", None, None),
        ("schedules.disable", "shop/buy", "done", "no", None),
        ("schedules.run", "shop/buy", "done", None, None),
        ("schedules.enable", "shop/buy", "done", None, None),
        ("revisions.publish", "default", "done", None, 2),
        ("revisions.rollback", "1", "done", "back", 3),
    ]
    assert [each["message"] for each in found[:5]] == [
        "1 API added; 1 workflow added; 1 schedule added",
        "enabled → held",
        "held → enabled",
        "enabled → disabled",
        None,
    ]
    assert found[4]["target"]["count"] == 1


def test_an_apply_that_only_ends_overrides_is_recorded(project: Cli, redis_url: str) -> None:
    project("apply", "--yes")
    project("disable", "shop/buy", "--reason", "the shop is down")
    project("apply", "--yes", "--clear-overrides", "--message", "it is up again")
    project("apply", "--yes", "--clear-overrides")  # none is left, and nothing recorded
    newest, *before = asyncio.run(entries(redis_url))
    assert [each["action"] for each in before] == ["apis.override", "revisions.publish"]
    assert (newest["action"], newest["outcome"], newest["reason"], newest["revision"]) == (
        "revisions.publish",
        "done",
        "it is up again",
        1,
    )
    assert newest["message"] == "no changes; 1 override ended"
