"""`iogate runs stats` and `iogate runs errors`, against a real `iogate up`."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.cli.runs.statistics_commands import Rows, retry_lines, statistics_table
from iogate.cli.runs.statistics_display import recent_text
from tests.cli.conftest import Cli
from tests.cli.place import Place


def counts(live: Cli, api: str) -> dict[str, Any]:
    found = live("runs", "stats", "--api", api, "-o", "json").json
    assert found["schema"] == "iogate.runs.stats/v1"
    total: dict[str, Any] = found["total"]
    return total


def test_stats_count_the_runs_of_an_api_and_their_times(live: Cli, shop: Place) -> None:
    before = counts(live, "shop/buy")
    live("runs", "wait", shop.buy(), "-q")
    after = counts(live, "shop/buy")
    assert after["accepted"] - before["accepted"] == 1
    assert after["completed"] - before["completed"] == 1
    assert after["faulted"] == before["faulted"]
    assert 0 <= after["durationS"]["p50"] <= after["durationS"]["p95"] <= after["durationS"]["p99"]
    assert after["queueWaitS"]["p95"] >= 0
    heading, *rows = live("runs", "stats").out.splitlines()
    assert heading.split()[:5] == ["API", "ACCEPTED", "COMPLETED", "FAULTS", "CANCELLED"]
    (row,) = [row.split() for row in rows if row.startswith("shop/buy ")]
    assert int(row[2]) >= 1


def test_stats_have_rows_by_workflow_and_by_hour(live: Cli, shop: Place) -> None:
    live("runs", "wait", shop.buy(), "-q")
    assert any(
        row.startswith("shop/buy:1.0.0 ")
        for row in live("runs", "stats", "--by", "workflow").out.splitlines()
    )
    heading, *hours = live("runs", "stats", "--by", "hour", "--since", "2h").out.splitlines()
    assert heading.startswith("HOUR")
    assert 1 <= len(hours) <= 3
    by_hour = live("runs", "stats", "--since", "2h", "-o", "json").json["hours"]
    assert 3 <= len(by_hour) <= 4  # hours without runs, too
    of_workflow = live("runs", "stats", "--workflow", "shop/buy", "-o", "json").json
    assert [each["workflow"] for each in of_workflow["workflows"]] == ["shop/buy:1.0.0"]


def test_errors_are_grouped_and_name_their_last_run(live: Cli, shop: Place) -> None:
    def group() -> dict[str, Any] | None:
        found = live("runs", "errors", "--api", "shop/fail", "-o", "json").json
        assert found["schema"] == "iogate.runs.errors/v1"
        assert len(found["errors"]) <= 1
        return found["errors"][0] if found["errors"] else None

    before = group()
    uids = [shop.buy("fail") for _ in range(2)]
    for uid in uids:
        live("runs", "wait", uid, "-q", code=7)
    after = group()
    assert after is not None
    assert after["count"] - (before["count"] if before else 0) == 2
    assert after["lastRun"] in uids
    assert (after["message"], after["status"], after["code"]) == ("Sold out", 410, "sold-out")
    assert (after["workflow"], after["task"]) == ("shop/fail", "/do/0/stop")
    text = live("runs", "errors", "--since", "1h").out
    assert "410 sold-out" in text
    assert "iogate runs show UID" in text


def test_an_api_without_runs_or_errors_is_named(live: Cli) -> None:
    assert "no run has faulted since " in live("runs", "errors", "--api", "shop/lacking").err
    assert "no runs since " in live("runs", "stats", "--api", "shop/lacking").err
    for command in ("stats", "errors"):
        ran = live("runs", command, "--api", "shop/bye", code=8)
        assert 'no API shop/bye; did you mean "shop/buy"?' in ran.err
    ran = live("runs", "stats", "--workflow", "shop/fial", code=8)
    assert 'no live workflow shop/fial; did you mean "shop/fail"?' in ran.err


@pytest.mark.parametrize("command", ["stats", "errors"])
def test_a_wrong_time_states_the_expected_form(live: Cli, command: str) -> None:
    assert "--since soon: expected how long ago" in live("runs", command, "--since", "soon", code=64).err


def test_times_have_the_unit_that_fits() -> None:
    def row(**times: float) -> dict[str, Any]:
        names = ("accepted", "completed", "faulted", "cancelled")
        return {"api": "a/b", **dict.fromkeys(names, 1), "durationS": times, "queueWaitS": None}

    table = statistics_table({"apis": [row(p50=0.0123, p95=12.34), row(p50=90.0, p95=0.9996)]}, Rows.API)
    assert [list(cells)[-3:] for cells in table.rows] == [["12ms", "12.3s", None], ["1.5m", "1000ms", None]]


def test_a_table_with_retries_says_that_attempts_are_counted() -> None:
    text = "2 retries: the end of each attempt counts, not only that of the run"
    assert retry_lines([{"retried": 2}, {"retried": 0}]) == ["", text]
    assert retry_lines([{"retried": 0}]) == []


def test_status_and_api_show_have_the_last_day(live: Cli, shop: Place) -> None:
    uid = shop.buy("fail")
    live("runs", "wait", uid, "-q", code=7)
    live("runs", "wait", shop.buy(), "-q")
    apis = {each["api"]: each["lastDay"] for each in live("status", "-o", "json").json["apis"]}
    assert apis["shop/buy"]["completed"] >= 1
    assert apis["shop/fail"]["faulted"] >= 1
    assert (apis["shop/lacking"]["accepted"], apis["shop/lacking"]["durationS"]) == (0, None)
    (heading,) = [line for line in live("status").out.splitlines() if line.startswith("API ")]
    assert "24H COMPLETED  24H FAULTS  24H P95" in heading
    shown = live("api", "show", "shop/fail", "-o", "json").json
    assert shown["lastDay"]["faulted"] == apis["shop/fail"]["faulted"]
    (error,) = shown["errors"]
    text = live("api", "show", "shop/fail").out
    assert "\nlast day  " in text
    assert (
        f"\nerrors    {error['count']} x 410 sold-out at /do/0/stop: Sold out (last: {error['lastRun']})\n"
        in text
    )
    assert "last day" not in live("api", "show", "shop/lacking").out


def test_recent_runs_are_described_shortly() -> None:
    counts = {"completed": 12, "faulted": 1, "cancelled": 0, "durationS": {"p50": 0.08, "p95": 1.24}}
    assert recent_text(counts) == "12 completed, 1 fault; p50 80ms, p95 1.2s"
    assert recent_text(counts | {"completed": 0, "durationS": None}) == "1 fault"
    assert recent_text(dict.fromkeys(counts, 0)) is None
