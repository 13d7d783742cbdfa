"""`iogate drift`: whether the live state is still what was applied."""

from __future__ import annotations

import pytest

from iogate.store import keys
from tests.cli.conftest import Cli
from tests.cli.place import API
from tests.cli.plans.conftest import raw

NIGHTLY = """\
document: {dsl: '1.0.3', namespace: shop, name: nightly, version: 1.0.0}
schedule: {cron: '0 6 * * *'}
timeout: {after: PT1M}
do: [{a: {set: {x: 1}}}]
"""


@pytest.fixture
def applied(project: Cli) -> Cli:
    """An applied project with a schedule."""
    project.write("workflows.d/nightly.yaml", NIGHTLY)
    project("apply", "--yes")
    return project


def texts(project: Cli) -> list[tuple[str, str, str]]:
    found = project("drift", "-o", "json", code=2).json
    assert found["drifted"] is True
    return [(each["kind"], each["id"], each["text"]) for each in found["store"]]


def test_after_an_apply_there_is_no_drift(applied: Cli) -> None:
    assert applied("drift").out == "revision 1: no drift\n"
    found = applied("drift", "-o", "json").json
    assert (found["schema"], found["drifted"], found["overrides"], found["store"]) == (
        "iogate.drift/v1", False, [], []
    )  # fmt: skip
    applied("enable", "shop/hashed")
    assert applied("drift").out == "revision 1: no drift\n", "git leaves it to the command"


def test_an_override_is_drift(applied: Cli) -> None:
    applied("disable", "shop/buy", "--reason", "incident 12")
    ran = applied("drift", code=2)
    assert ": incident 12\n" in ran.out
    assert "revision 1: 1 override, 0 changes of the store, files: no changes" in ran.out
    (override,) = applied("drift", "-o", "json", code=2).json["overrides"]
    assert (override["api"], override["reason"]) == ("shop/buy", "incident 12")
    applied("override", "clear", "--all")
    applied("drift")


def test_files_that_were_not_applied_are_drift(applied: Cli) -> None:
    applied.write("apis.d/shop.yaml", API.replace("auth: {token: {env: SHOP_TOKEN}}", "auth: none"))
    out = applied("drift", code=2).out
    assert "auth weakened (token → none)" in out
    assert "0 changes of the store, files: 0 to add, 1 to change, 0 to delete (1 weakening)\n" in out
    assert applied("drift", "--live-only").out == "revision 1: no drift\n"


def test_changes_of_the_store_are_drift(applied: Cli, redis_url: str) -> None:
    gate = f"{keys.GATE}shop/buy"
    for field, was in (("on", "1"), ("base", "1"), ("override", "")):
        raw(redis_url, "HSET", gate, field, "0")
        assert texts(applied) == [("gate", "shop/buy", "its gate has another state than the revision")], field
        raw(redis_url, "HSET", gate, field, was)
    raw(redis_url, "HSET", gate, "queued", "7", "git", "0")
    assert texts(applied) == [
        ("gate", "shop/buy", "its gate has another enabled and limits.queued than the revision")
    ]
    raw(redis_url, "HSET", gate, "queued", "10000", "git", "1")
    raw(redis_url, "HSET", keys.PRIORITIES, "shop/buy", "9")
    assert texts(applied) == [("gate", "shop/buy", "its gate has another limits.priority than the revision")]
    raw(redis_url, "DEL", keys.PRIORITIES)
    assert applied("drift").out == "revision 1: no drift\n"
    raw(redis_url, "DEL", gate)
    assert texts(applied) == [("gate", "shop/buy", "it has no gate: calls are refused")]
    raw(redis_url, "HSET", f"{keys.GATE}shop/evil", "on", "1", "digest", "x", "git", "1")
    raw(redis_url, "SADD", keys.GATES, "shop/evil")
    assert ("gate", "shop/evil", "it has a gate, and the revision has no such API") in texts(applied)


def test_a_lost_program_and_a_lost_schedule_are_drift(applied: Cli, redis_url: str) -> None:
    program = applied("show", "-o", "json").json["workflows"][0]["program"]
    raw(redis_url, "DEL", keys.PROGRAM + program)
    found = texts(applied)
    assert [each[:2] for each in found] == [("program", program[:12])]
    raw(redis_url, "HDEL", keys.SCHEDULES, "schedule:shop/nightly")
    assert texts(applied)[-1] == (
        "schedule",
        "shop/nightly",
        "the schedule (cron 0 6 * * *) is not in the store: it starts nothing",
    )


def test_a_disabled_schedule_that_follows_its_runs_is_no_drift_and_can_follow_the_clock(
    applied: Cli, redis_url: str
) -> None:
    applied.write("workflows.d/nightly.yaml", NIGHTLY.replace("cron: '0 6 * * *'", "after: PT1H"))
    applied("apply", "--yes")
    applied("schedule", "disable", "shop/nightly")
    # A worker has taken the tick, without a run.
    raw(redis_url, "ZADD", keys.TICKS, str(keys.HELD_MS), "schedule:shop/nightly")
    assert applied("drift").out == "revision 2: no drift\n"
    applied.write("workflows.d/nightly.yaml", NIGHTLY)
    changes = applied("plan", "-o", "json").json["changes"]
    said = [meaning["text"] for change in changes for meaning in change["meanings"]]
    begin = "schedule changed (1h after each run → cron 0 6 * * *): it stays disabled"
    assert begin in said
    applied("apply", "--yes")


def test_without_a_revision_there_is_nothing_to_compare(project: Cli) -> None:
    assert "no revision was applied yet" in project("drift", code=8).err
