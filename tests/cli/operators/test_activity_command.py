"""Commands that change runs record who changed what and why, and `iogate activity` lists it."""

from __future__ import annotations

import asyncio

import pytest

from iogate.cli.session import author
from iogate.store.store import Store
from tests.cli.conftest import Cli, cli
from tests.cli.place import write_project
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
        ("runs.redeliver", [uids[2]], 0, "refused"),
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


def test_a_reason_is_redacted_wherever_it_is_shown(cli: Cli, uids: list[str]) -> None:
    why, shown = "maintenance,\n password=hunter2", "maintenance, password=[redacted]"
    cli("runs", "cancel", uids[0], "--reason", why)
    error = cli("runs", "show", uids[0], "-o", "json").json["error"]
    assert error["detail"] == f"{author()}: {shown}"
    cli("disable", "orders/submit", "--reason", why)
    (override,) = cli("override", "list", "-o", "json").json["overrides"]
    assert override["reason"] == shown


def changes(cli: Cli) -> list[tuple[str, list[str], int, int | None, str | None, str | None]]:
    """Action, objects, number, revision, reason and message of each recorded change, oldest first."""
    found = cli("activity", "-o", "json").json["activity"]
    assert {each["outcome"] for each in found} <= {"done", "refused"}
    return [
        (e["action"], e["target"]["ids"], e["target"]["count"], e["revision"], e["reason"], e["message"])
        for e in reversed(found)
    ]


def test_switches_of_apis_and_the_drain_of_the_store_are_recorded(cli: Cli, uids: list[str]) -> None:
    del uids
    cli("disable", "orders/submit", "--reason", "the shop is down")
    cli("enable", "orders/submit", "--hold")
    cli("disable", "orders/nothing", code=8)
    cli("override", "clear", "orders/submit", "--reason", "it is up")
    cli("store", "drain", code=4)
    cli("store", "resume", "--reason", "after the failover")
    found = changes(cli)
    assert str(found[1][5]).endswith("held")
    assert str(found[3][5]).endswith("has no replica that could take over")
    assert [*found[:3], *found[4:]] == [
        ("apis.override", ["orders/submit"], 1, None, "the shop is down", "enabled → disabled"),
        ("apis.override", ["orders/submit"], 1, None, None, found[1][5]),
        ("apis.restore", ["orders/submit"], 1, None, "it is up", None),
        ("store.resume", [], 0, None, "after the failover", None),
    ]


SCHEDULED = """\
document: {dsl: '1.0.3', namespace: shop, name: report, version: 1.0.0}
schedule: {every: {hours: 1}}
do: [{a: {set: {x: 1}}}]
"""


def test_publications_and_schedules_are_recorded_with_their_revision(cli: Cli, uids: list[str]) -> None:
    del uids
    write_project(cli.root)
    cli.write("workflows.d/report.yaml", SCHEDULED)
    forced = ("--yes", "--wait", "0", "--prune", "--max-deletes", "99", "--allow-empty")
    cli("apply", *forced, "-m", "first")
    number = cli("status", "-o", "json").json["revision"]
    cli("apply", "--yes", "--wait", "0")
    cli("rollback", *forced)
    cli("apply", *forced)
    cli("schedule", "disable", "shop/report", "--reason", "holidays")
    cli("schedule", "enable", "shop/report")
    cli("schedule", "run", "shop/report", "--reason", "now")
    assert [(action, revision, reason) for action, _, _, revision, reason, _ in changes(cli)] == [
        ("revisions.publish", number, "first"),
        ("revisions.rollback", number + 1, None),
        ("revisions.publish", number + 2, None),
        ("schedules.disable", None, "holidays"),
        ("schedules.enable", None, None),
        ("schedules.run", None, "now"),
    ], "an apply without changes is none"
