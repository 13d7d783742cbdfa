"""Commands print the same over HTTP as on the store."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
import typer.main

from iogate.cli import completion
from iogate.cli.app import make_app
from tests.cli.conftest import Ran
from tests.cli.place import until
from tests.cli.system.conftest import Machines, refused
from tests.cli.system.proxy import Exchange, forwarding

FORMATS = (("-o", "text"), ("-o", "json"), ("-o", "yaml"))


def ended(machines: Machines, api: str) -> str:
    uid = machines.shop.buy(api)
    machines.here("runs", "wait", uid, "-q", code=7 if api == "fail" else 0)
    return uid


@pytest.mark.parametrize("output", FORMATS)
def test_runs_are_listed_and_shown_alike(machines: Machines, output: tuple[str, ...]) -> None:
    uid, failed = ended(machines, "buy"), ended(machines, "fail")
    assert uid in machines.same("runs", "list", "--until", "0", *output).out
    for filters in (
        ("--status", "faulted,completed", "--api", "shop/fail"),
        ("--workflow", "shop/buy", "--limit", "1"),
        ("--caller", "", "--since", "1h", "--revision", "1"),
        ("--where", "sku=A-1"),
        ("--caller", "nobody"),
    ):
        machines.same("runs", "list", *filters, *output)
    for each in (uid, failed):
        assert each in machines.same("runs", "show", each, *output).out
    machines.same("runs", "show", failed, "--task", "stop", *output)
    machines.same("runs", "wait", failed, *output, code=7)
    machines.same("runs", "logs", failed, *output)
    machines.same("runs", "logs", failed, "--follow", "--data", *output)


def test_a_list_of_more_runs_than_a_page_of_http_is_the_same(machines: Machines) -> None:
    for _ in range(110):
        last = machines.shop.buy()
    machines.here("runs", "wait", last, "-q")
    until(lambda: not machines.here("runs", "list", "--status", "running,pending", "-o", "json").json["runs"])
    found = machines.same("runs", "list", "--limit", "105", "--api", "shop/buy", "-o", "json").json
    assert len(found["runs"]) == 105
    rest = machines.same("runs", "list", "--cursor", found["nextCursor"], "--api", "shop/buy", "-o", "json")
    assert not {each["uid"] for each in found["runs"]} & {each["uid"] for each in rest.json["runs"]}


@pytest.mark.parametrize("output", FORMATS)
def test_status_statistics_errors_and_activity_are_alike(machines: Machines, output: tuple[str, ...]) -> None:
    ended(machines, "fail")

    def lines(status: Ran) -> list[str]:
        return [each for each in status.out.splitlines() if not each.strip().startswith(("queue", "oldest"))]

    # Runs and workers may change between the two, such as one beside a worker that is stalled.
    until(lambda: lines(machines.here("status", *output)) == lines(machines.there("status", *output)))
    for command in (
        ("runs", "errors", "--api", "shop/fail", "--since", "2026-01-01"),
        ("activity", "--limit", "3", "--since", "1h"),
        ("activity", "--action", "runs", "--operator", "nobody"),
    ):
        machines.same(*command, *output)
    machines.same("runs", "stats", "--by", "hour", "--until", "1h", *output)
    assert "shop/fail" in machines.there("runs", "stats", *output).out


def test_errors_are_alike(machines: Machines) -> None:
    for command, code in (
        (("runs", "show", "7"), 8),
        (("runs", "show", "a"), 8),
        (("runs", "logs", "7", "-f"), 8),
        (("runs", "list", "--api", "shop/bye"), 8),
        (("runs", "stats", "--api", "shop/bye"), 8),
        (("runs", "errors", "--api", "shop/bye"), 8),
        (("runs", "list", "--cursor", "x"), 64),
        (("runs", "cancel", "7", "--reason", "x"), 8),
        (("runs", "cancel", "--api", "shop/bye", "--reason", "x"), 8),
    ):
        ran = machines.same(*command, "-o", "json", code=code)
        assert json.loads(ran.err.splitlines()[-1])["exit"] == code
    completed = ended(machines, "buy")
    for verb in ("cancel", "retry", "suspend", "resume", "redeliver"):
        machines.same("runs", verb, completed, "--reason", "x", code=4)


def test_runs_are_changed_alike(machines: Machines) -> None:
    first, second = machines.shop.buy("sleep"), machines.shop.buy("sleep")
    until(lambda: machines.here("runs", "show", second, "-o", "json").json["status"] == "waiting")
    until(lambda: machines.here("runs", "show", first, "-o", "json").json["status"] == "waiting")
    reason = ("--reason", "the shop is closed")
    assert machines.there("runs", "suspend", first, second, *reason).out == (
        f"suspended {first}\nsuspended {second}\n"
    )
    machines.same("runs", "suspend", first, *reason)
    assert machines.there("runs", "resume", first, *reason).out == f"resumed {first}\n"
    again = machines.same("runs", "resume", first, *reason)
    assert f"{first} is not suspended" in again.err
    ran = machines.there("runs", "cancel", "--api", "shop/sleep", *reason, code=64)
    assert first in ran.err
    assert "add --yes to confirm" in ran.err
    machines.there("runs", "cancel", first, *reason)
    entry = machines.here("activity", "--target", first, "-o", "json").json["activity"][0]
    assert (entry["operator"], entry["via"], entry["reason"]) == ("adminer", "http", "the shop is closed")
    until(lambda: machines.there("runs", "show", first, "-o", "json").json["status"] == "cancelled")
    machines.there("runs", "cancel", "--api", "shop/sleep", "--yes", *reason)
    until(lambda: machines.there("runs", "show", second, "-o", "json").json["status"] == "cancelled")


def test_a_faulted_run_is_retried_once_per_id(machines: Machines) -> None:
    uid = ended(machines, "fail")
    for _ in range(2):
        assert (
            machines.there("runs", "retry", uid, "--reason", "x", "--id", f"one{uid}").out
            == f"retried {uid}\n"
        )
        machines.there("runs", "wait", uid, "-q", code=7)
    assert machines.there("runs", "show", uid, "-o", "json").json["attempt"] == 2


def test_a_change_over_http_needs_a_reason_and_a_role(machines: Machines) -> None:
    uid = machines.shop.buy("sleep")
    ran = machines.there("runs", "cancel", uid, code=64)
    assert ran.err.endswith("no reason is given [IOG822]\n  add --reason TEXT\n")
    ran = machines.there("runs", "cancel", uid, "--reason", "x", role="read", code=4)
    assert "This takes the role operate; operator reader has the role read [IOG818]" in ran.err
    assert ran.err.startswith(f"server: {machines.shop.url}\n")
    machines.there("runs", "cancel", uid, "--reason", "x", role="operate")


@pytest.mark.parametrize("where", ["here", "there"])
def test_ended_runs_are_deleted_alike(machines: Machines, where: str) -> None:
    run = machines.here if where == "here" else machines.there
    uids = [machines.shop.buy("fail") for _ in range(2)]
    for uid in uids:
        machines.here("runs", "wait", uid, "-q", code=7)
    find = ("runs", "prune", "--before", "0s", "--api", "shop/fail")
    asked = machines.same(*find, code=64)
    assert "no reason is given [IOG822]" in machines.there(*find, "--yes", code=64).err
    prune = (*find, "--reason", "a full store")
    assert all(uid in asked.err for uid in uids)
    count = re.search(r"this deletes ([0-9]+) runs", asked.err)
    assert count is not None
    assert run(*prune, "--yes").out == f"deleted {count[1]} runs\n"
    machines.same("runs", "show", uids[0], code=8)
    assert machines.same(*prune, "--yes").err.endswith("no run matches the filters\n")
    entry = machines.here("activity", "--action", "runs.prune", "-o", "json").json["activity"][0]
    assert (entry["target"]["count"], entry["reason"]) == (int(count[1]), "a full store")
    assert entry["message"].startswith(f"deleted {count[1]}: before=")
    assert uids[0] in entry["target"]["ids"]


def test_a_command_on_the_store_says_so(machines: Machines) -> None:
    ran = machines.there("store", "resume", code=64)
    assert f"works on the store only, and IOGATE_SERVER chooses {machines.shop.url} [IOG823]" in ran.err
    ran = machines.there("--profile", "prod", "doctor", code=64)
    assert '"iogate doctor" works on this machine and its store, and not over --profile prod' in ran.err


@pytest.mark.parametrize("output", FORMATS)
def test_apis_workflows_schedules_and_revisions_are_shown_alike(
    machines: Machines, output: tuple[str, ...]
) -> None:
    for command in (
        ("api", "list"),
        ("api", "show", "shop/guarded"),
        ("override", "list"),
        ("workflow", "list"),
        ("workflow", "show", "shop/buy"),
        ("workflow", "show", "shop/buy:1.0.0"),
        ("schedule", "list"),
        ("history", "--limit", "3"),
        ("show",),
        ("show", "1"),
    ):
        assert machines.same(*command, *output).out


def test_unknown_objects_are_named_alike(machines: Machines) -> None:
    for command in (
        ("api", "show", "shop/bye"),
        ("api", "show", "bye"),
        ("workflow", "show", "shop/bye"),
        ("workflow", "show", "by e"),
        ("schedule", "disable", "shop/yearli", "--reason", "x"),
        ("schedule", "run", "a b", "--reason", "x"),
        ("show", "999"),
        ("disable", "shop/bye", "--reason", "x"),
        ("disable", "--module", "shp", "--reason", "x"),
        ("enable", "--tag", "none", "--reason", "x"),
        ("override", "clear", "shop/bye", "--reason", "x"),
    ):
        machines.same(*command, code=8)


def test_apis_are_switched_alike(machines: Machines) -> None:
    api, reason = "shop/nested", ("--reason", "stocktaking")
    shown = machines.there("disable", api, *reason, "--ttl", "2h", "-o", "json").json
    assert (shown["enabled"], shown["ttlS"], shown["changes"][0]["after"]) == (False, 7200.0, "disabled")
    assert machines.same("disable", api, *reason, "--ttl", "2h").out.startswith(f"disabled {api} for 2h")
    machines.same("override", "list", "-o", "json")
    assert machines.same("override", "list").out.count("stocktaking") == 1
    assert machines.there("override", "clear", api, *reason).out == f"cleared {api}\n"
    assert "no overrides to clear" in machines.same("override", "clear", api, *reason).err
    machines.there("disable", api, "--hold", *reason)
    released = machines.there("enable", api, "--rate", "100/m", *reason, "-o", "json").json
    assert released["releasePerS"] == pytest.approx(100 / 60)
    assert machines.same("enable", api, *reason).out == f"enabled {api} (it was already)\n"
    machines.there("override", "clear", "--all", *reason)
    ran = machines.there("disable", "--all", *reason, code=64)
    assert "this would disable all " in ran.err
    assert "add --yes to confirm" in ran.err
    assert "no reason is given [IOG822]" in machines.there("enable", "--all", "--yes", code=64).err


def test_modules_are_switched_in_one_step(machines: Machines) -> None:
    reason = ("--reason", "maintenance")
    done = machines.there("disable", "--module", "tape", *reason, "-o", "json").json
    assert done["apis"] == ["tape/hello"]
    entry = machines.here("activity", "--limit", "1", "-o", "json").json["activity"][0]
    assert entry["message"] == "enabled → disabled: tape/hello"
    assert machines.there("override", "clear", "--all", *reason).out == "cleared tape/hello\n"


def test_schedules_are_switched_and_started_alike(machines: Machines) -> None:
    name, reason = "shop/yearly", ("--reason", "stocktaking")
    ran = machines.there("schedule", "disable", name, "--ttl", "2d", *reason)
    assert ran.out == f"disabled {name} for 2d\n"
    listed = machines.same("schedule", "list", "-o", "json").json["schedules"]
    disabled = next(each for each in listed if each["schedule"] == name)["disabled"]
    assert (disabled["author"], disabled["reason"]) == ("adminer", "stocktaking")
    assert machines.same("schedule", "enable", name, *reason).out == f"enabled {name}\n"
    uid, started = machines.there("schedule", "run", name, *reason).out.split()
    assert started == name
    assert machines.there("runs", "wait", uid, "-o", "json").json["caller"] == "adminer"


def test_a_change_of_schedules_that_fails_says_what_it_has_done(machines: Machines) -> None:
    """As if a publication removed the second schedule after the list."""
    names, reason = ("shop/yearly", "shop/gone"), ("--reason", "stocktaking")
    when: dict[str, str] = {}

    def with_another(found: Exchange) -> Exchange:
        if found.path != "/v1/schedules":
            return found
        listed = json.loads(found.content)
        rows = listed["response"]["schedules"]
        rows.append({**rows[0], "schedule": names[1], **when})
        return replace(found, content=json.dumps(listed).encode())

    def runs() -> list[str]:
        found = machines.here("runs", "list", "--workflow", names[0], "-o", "json").json["runs"]
        return [each["uid"] for each in found]

    with forwarding(machines.shop, with_another) as url:
        before = runs()
        ran = machines.there("schedule", "run", *names, names[0], *reason, IOGATE_SERVER=url, code=8)
        (uid,) = set(runs()) - set(before)
        assert f"no live schedule of shop/gone; before: shop/yearly → run {uid} [" in refused(ran)
        assert refused(ran).endswith("; then repeat the command for shop/gone")
        for verb in ("disable", "enable"):
            ran = machines.there("schedule", verb, *names, *reason, IOGATE_SERVER=url, code=8)
            assert f"no live schedule of shop/gone; before: {verb}d shop/yearly [" in refused(ran)
        when["when"] = "on events"
        before = runs()
        ran = machines.there("schedule", "run", *names, *reason, IOGATE_SERVER=url, code=4)
        assert "iogate: shop/gone starts on events, and not by a tick [IOG723]" in refused(ran)
        assert runs() == before


def test_names_and_ids_of_a_server_are_completed(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = machines.shop.buy()
    machines.there("status")  # enters the other machine
    monkeypatch.setattr(completion, "BUDGET_S", 30.0)
    context = typer.Context(typer.main.get_command(make_app()))
    assert uid in [value for value, _ in completion.uids(context, uid[:-2])]
    assert completion.apis(context, "shop/gu") == [("shop/guarded", "")]
    assert completion.workflows(context, "shop/ye") == [("shop/yearly", "")]
    assert "1" in [value for value, _ in completion.revisions(context, "")]
    assert completion.modules(context, "ta") == [("tape", "")]


def test_two_revisions_are_compared_alike(machines: Machines) -> None:
    for output in (*FORMATS, ("-o", "markdown")):
        machines.same("diff", "1", "live", *output)
    machines.same("diff", "1", "999", code=8)
    shutil.copytree(machines.shop.root / "apis.d", machines.elsewhere / "apis.d")
    shutil.copytree(machines.shop.root / "workflows.d", machines.elsewhere / "workflows.d")
    shutil.copy(machines.shop.root / "iogate.yaml", machines.elsewhere)
    for output in FORMATS:
        machines.same("diff", "files", "1", *output)
    assert "[IOG818]" in machines.there("diff", "live", "files", role="read", code=4).err
