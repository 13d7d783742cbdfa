"""Commands that change runs record who changed what and why, and `iogate activity` lists it."""

from __future__ import annotations

import asyncio

import pytest

from iogate.cli.session import author
from iogate.store.store import Store
from tests.cli.conftest import Cli, cli
from tests.keys import LINK_KEY, RING
from tests.store import builders

__all__ = ["cli"]


@pytest.fixture
def uids(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three pending runs."""
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    monkeypatch.setenv("IOGATE_LINK_KEY", LINK_KEY)

    async def accept() -> list[str]:
        store = Store(redis_url, client_name="test", keyring=RING)
        try:
            await store.call("FLUSHALL")
            await builders.publish(store, builders.ORDERS)
            return [await builders.accepted(store.intake()) for _ in range(3)]
        finally:
            await store.close()

    return asyncio.run(accept())


def test_changes_of_runs_are_recorded_with_author_and_reason(cli: Cli, uids: list[str]) -> None:
    assert cli("activity", "-o", "json").json["activity"] == []
    cli("runs", "suspend", uids[0], "--reason", "maintenance, password=hunter2")
    cli("runs", "cancel", uids[1], "7", "--reason", "stuck", code=8)
    cli("runs", "retry", uids[2], code=4)
    cli("runs", "redeliver", uids[2], code=4)
    cli("runs", "prune", "--before", "0s", "--yes", "--status", "cancelled")
    found = cli("activity", "-o", "json").json["activity"]
    assert [(e["action"], e["target"]["ids"], e["target"]["count"], e["outcome"]) for e in found] == [
        ("runs.prune", [uids[1]], 1, "done"),
        ("runs.redeliver", [uids[2]], 1, "refused"),
        ("runs.retry", [uids[2]], 0, "refused"),
        ("runs.cancel", [uids[1], "7"], 1, "done"),
        ("runs.suspend", [uids[0]], 1, "done"),
    ]
    assert {(e["operator"], e["from"], e["via"], e["role"]) for e in found} == {
        (author(), author(), "cli", "admin")
    }
    assert [e["reason"] for e in found] == [None, None, None, "stuck", "maintenance, password=[redacted]"]
    assert found[3]["message"] == "cancelled 1, left 1: no run 7"
    assert [e["action"] for e in cli("activity", "--target", uids[2], "-o", "json").json["activity"]] == [
        "runs.redeliver",
        "runs.retry",
    ]
    text = cli("activity", "--action", "runs.cancel").out
    assert f"run {uids[1]} and 1 more" not in text.splitlines()[0]
    assert f"run {uids[1]} and 1 more" in text
    assert "done: cancelled 1, left 1: no run 7" in text
    assert "no change is recorded" in cli("activity", "--operator", "nobody").err
