"""Schedules on the command line: changes by an apply, and the time of the next start."""

from __future__ import annotations

import asyncio
import re

import pytest

from iogate.store import keys
from iogate.store.store import open_store
from tests.cli.conftest import Cli
from tests.cli.place import started, until
from tests.ports import free_port

REPORT = """\
document: {dsl: '1.0.3', namespace: shop, name: report, version: 1.0.0}
timeout: {after: PT1M}
%s
do:
  - done: {set: {x: 1}}
"""
CRON = "schedule: {cron: '0 6 * * *'}"


async def _prepare(url: str, *command: str) -> None:
    # Without a key: the project generates its own, and an earlier test may have used the store with another.
    store = await open_store(url)
    await store.call(*command)
    await store.close()


@pytest.fixture
def project(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A project on a store of its own, with one workflow."""
    asyncio.run(_prepare(redis_url, "FLUSHALL"))
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    cli.write("workflows.d/report.yaml", REPORT % CRON)
    return cli


def test_an_apply_reports_added_and_removed_schedules(project: Cli) -> None:
    out = project("apply", "--yes").out
    assert (
        "+ schedule shop/report  (workflows.d/report.yaml)\n    caution    schedule added (cron 0 6 * * *)"
        in out
    )
    assert "\nrevision 1: 1 workflow added; 1 schedule added\n" in out
    project.write("workflows.d/report.yaml", REPORT % "schedule: {every: PT5M}")
    found = project("apply", "--yes", "-o", "json").json
    (planned,) = found["plan"]["changes"]
    assert (planned["action"], planned["type"], planned["id"]) == ("change", "schedule", "shop/report")
    assert planned["meanings"][0]["text"].startswith(
        "schedule changed (cron 0 6 * * * → every 5m): next tick moves to"
    )
    project.write("workflows.d/report.yaml", REPORT % "")
    out = project("apply", "--yes").out
    assert "- schedule shop/report\n    caution    schedule removed (every 5m)\n" in out
    assert "\nrevision 3: 1 schedule deleted\n" in out


def test_lists_show_the_next_tick(project: Cli, redis_url: str) -> None:
    project("apply", "--yes")
    asyncio.run(_prepare(redis_url, "ZADD", keys.TICKS, "1900000000000", "schedule:shop/report"))
    (row,) = project("workflow", "list", "-o", "json").json["workflows"]
    assert row["schedule"] == {
        "when": "cron 0 6 * * *",
        "missed": "once",
        "overlap": "allow",
        "jitterS": 0.0,
        "disabled": False,
        "nextAt": "2030-03-17T17:46:40.000Z",
        "run": None,
    }
    assert "2030-03-17T17:46:40" in project("workflow", "list").out
    shown = project("workflow", "show", "shop/report")
    assert "schedule:" in shown.out
    assert shown.err.endswith("cron 0 6 * * *; next: 2030-03-17T17:46:40.000Z\n")
    status = project("status", "-o", "json").json
    assert status["schedules"]["shop/report:1.0.0"]["nextAt"] == "2030-03-17T17:46:40.000Z"
    assert status["apis"] == []
    assert "cron 0 6 * * *" in project("status").out


@pytest.mark.parametrize("schedule", ["{after: PT5M}", "{on: {one: {with: {type: a}}}}"])
def test_a_schedule_without_a_clock_is_due_at_the_apply(project: Cli, schedule: str) -> None:
    project.write("workflows.d/report.yaml", REPORT % f"schedule: {schedule}")
    project("apply", "--yes")
    (row,) = project("workflow", "list", "-o", "json").json["workflows"]
    assert row["schedule"]["nextAt"] is not None
    assert ("when events arrive" in project("workflow", "list").out) == ("on" in schedule)


def test_a_schedule_that_cannot_be_kept_is_refused_with_its_place(project: Cli) -> None:
    project.write("workflows.d/report.yaml", REPORT % "schedule: {cron: '61 * * * *'}")
    ran = project("apply", "--yes", code=3)
    assert 'workflows.d/report.yaml:3:18: error IOG330: "61" is not a valid minute' in ran.err


def test_doctor_names_the_secrets_of_events_that_are_not_set(project: Cli) -> None:
    sinks = "{audit: {url: 'https://h', headers: {x-key: {env: NO_KEY}}}}"
    project.write("iogate.yaml", f"events: {{auth: {{token: {{env: NO_TOKEN}}}}, sinks: {sinks}}}\n")
    found = project("doctor", "-o", "json", code=None).json["findings"]
    assert [each["message"] for each in found if each["about"] == "secrets"] == [
        "events.sinks.audit: header x-key: environment variable NO_KEY is not set in this shell",
        "events: environment variable NO_TOKEN is not set in this shell",
    ]
    assert "a gateway started from this shell responds with 503" in [each["hint"] for each in found]


def test_doctor_warns_of_a_secret_of_events_in_clear(project: Cli) -> None:
    project.write("iogate.yaml", "events: {auth: {token: hunter2}}\n")
    ran = project("doctor", "-o", "json", code=None)
    messages = [each["message"] for each in ran.json["findings"] if each["about"] == "secrets"]
    assert "IOG501: the setting events has a secret in clear text" in messages
    assert "hunter2" not in ran.out + ran.err


def test_up_shows_the_next_tick_and_runs_it(project: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IOGATE_REDIS_URL")
    project.write("iogate.yaml", "events: {auth: {any: [none, {token: {env: NO_TOKEN}}]}}\n")
    project.write("workflows.d/report.yaml", REPORT % "schedule: {every: {milliseconds: 300}}")
    out = project.root / "up.out"
    with started(project.root, "up", "--port", str(free_port())):
        until(lambda: "every 300ms" in out.read_text())
        assert "shop/report:1.0.0" in out.read_text()
        assert "/v1/events (none or token; environment variable NO_TOKEN is not set)\n" in out.read_text()
        ran = until(lambda: project("runs", "list", "--status", "completed", "-o", "json").json["runs"])
        assert {run["api"] for run in ran} == {"schedule:shop/report"}


SKIPPING = REPORT.replace("version: 1.0.0}", "version: 1.0.0,\n  metadata: {iogate: {schedule: %s}}}")


def test_a_schedule_is_listed_disabled_enabled_and_run(project: Cli) -> None:
    project.write("workflows.d/report.yaml", SKIPPING % ("{overlap: skip, jitter: PT30S}", CRON))
    project("apply", "--yes")
    (row,) = project("schedule", "list", "-o", "json").json["schedules"]
    assert (row["schedule"], row["overlap"], row["jitterS"], row["skipped"]) == (
        "shop/report",
        "skip",
        30.0,
        0,
    )
    assert [each[11:] for each in row["nextTicks"]] == ["06:00:00.000Z"] * 3
    assert (row["lastRun"], row["disabled"]) == (None, None)
    assert project("schedule", "disable", "shop/report", "--ttl", "2h", "--reason", "audit").out == (
        "disabled shop/report for 2h\n"
    )
    found = project("schedule", "list", "-o", "json").json["schedules"][0]["disabled"]
    assert (found["reason"], "@" in found["author"], found["until"] > found["since"]) == ("audit", True, True)
    assert ": audit" in project("schedule", "list").out
    (row,) = project("schedule", "list", "-o", "json").json["schedules"]
    assert row["nextTicks"][0] > found["until"], "ticks until then start no runs"
    project("schedule", "disable", "shop/report")
    assert project("schedule", "list", "-o", "json").json["schedules"][0]["nextTicks"] == []
    assert re.search(r"  disabled by \S+  -  ", project("schedule", "list").out)
    project("schedule", "disable", "shop/report", "--ttl", "2h", "--reason", "audit")
    assert project("workflow", "list", "-o", "json").json["workflows"][0]["schedule"]["disabled"] is True
    assert "disabled" in project("workflow", "list").out
    (uid,) = project("schedule", "run", "shop/report", "-o", "json").json["runs"].values()
    run = project("runs", "show", uid, "-o", "json").json
    assert (run["api"], run["caller"]) == ("schedule:shop/report", found["author"])
    row = project("schedule", "list", "-o", "json").json["schedules"][0]
    assert (row["lastRun"], row["lastStatus"]) == (uid, "pending")
    assert project("schedule", "enable", "shop/report").out == "enabled shop/report\n"
    assert project("schedule", "list", "-o", "json").json["schedules"][0]["disabled"] is None
    project.write("workflows.d/report.yaml", SKIPPING % ("{overlap: queue}", CRON))
    texts = [each["text"] for each in project("plan", "-o", "json").json["changes"][0]["meanings"]]
    assert texts == ["overlapping runs: skip → queue", "runs start up to 0s after their tick, was 30s"]


def test_a_plan_says_that_a_disabled_schedule_stays_disabled(project: Cli) -> None:
    def planned() -> list[str]:
        changes = project("plan", "-o", "json").json["changes"]
        found = [meaning["text"] for change in changes for meaning in change["meanings"]]
        return [text for text in found if text.startswith("schedule ")]

    project("apply", "--yes")
    project("schedule", "disable", "shop/report")
    project.write("workflows.d/report.yaml", REPORT % "schedule: {every: PT5M}")
    assert planned() == ["schedule changed (cron 0 6 * * * → every 5m): it stays disabled"]
    project("schedule", "disable", "shop/report", "--ttl", "2h")
    (text,) = planned()
    assert re.search(r"every 5m\): it stays disabled until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", text)

    project.write("workflows.d/report.yaml", REPORT % "")
    project("apply", "--yes")
    project.write("workflows.d/report.yaml", REPORT % CRON)
    (text,) = planned()
    assert text.startswith("schedule added (cron 0 6 * * *): it stays disabled until ")
    project("schedule", "enable", "shop/report", code=8)
    project("apply", "--yes")
    project("schedule", "enable", "shop/report")
    project.write("workflows.d/report.yaml", REPORT % "schedule: {every: PT5M}")
    (text,) = planned()
    assert "): next tick moves to " in text


def test_a_plan_names_a_standing_run_only_if_there_is_one(project: Cli) -> None:
    on = "schedule: {on: {one: {with: {type: %s}}}}"
    project.write("workflows.d/report.yaml", REPORT % (on % "shop.paid"))
    project("apply", "--yes")
    project.write("workflows.d/report.yaml", REPORT % (on % "shop.sold"))
    changes = project("plan", "-o", "json").json["changes"]
    found = [meaning["text"] for change in changes for meaning in change["meanings"]]
    assert [text for text in found if text.startswith("schedule ")] == ["schedule changed (other events)"]


def test_a_schedule_that_cannot_be_switched_or_run_says_why(project: Cli) -> None:
    project.write("workflows.d/report.yaml", REPORT % "schedule: {on: {one: {with: {type: shop.paid}}}}")
    project("apply", "--yes")
    for verb in ("enable", "disable", "run"):
        refused = project("schedule", verb, "shop/other", code=8)
        assert "no live schedule of shop/other" in refused.err
        assert "`iogate schedule list` shows the schedules" in refused.err
    refused = project("schedule", "run", "shop/report", code=4)
    assert "shop/report starts on events, and not by a tick" in refused.err


def test_a_schedule_that_another_program_changed_is_not_run(project: Cli, redis_url: str) -> None:
    project("apply", "--yes")

    async def forge() -> None:
        store = await open_store(redis_url)
        entry = await store.call("HGET", keys.SCHEDULES, "schedule:shop/report")
        forged = entry.replace(b"0 6 * * *", b"0 7 * * *")
        assert forged != entry
        await store.call("HSET", keys.SCHEDULES, "schedule:shop/report", forged)
        await store.close()

    asyncio.run(forge())
    refused = project("schedule", "run", "shop/report", code=4)
    assert "its schedule in the store is not that of the live revision" in refused.err
    assert project("runs", "list", "-o", "json").json["runs"] == []
