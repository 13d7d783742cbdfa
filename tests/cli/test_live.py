"""Commands that show and change live state, against a real `iogate up`."""

from __future__ import annotations

import json

import pytest

from iogate.cli.processes import doctor_command
from iogate.cli.runs.bulk_changes import operation_id
from iogate.cli.system.system import interrupted
from iogate.operators.runs import filter_names
from iogate.store.connection.failures import StoreUnavailable
from iogate.store.embedded import binaries
from iogate.store.store import Store
from tests.cli.conftest import Cli
from tests.cli.place import Place, until
from tests.keys import RING


def test_commands_that_need_a_store_say_how_to_get_one(cli: Cli) -> None:
    for command in (["runs", "list"], ["status"], ["api", "list"], ["enable", "a/b"], ["override", "list"]):
        ran = cli(*command, code=6)
        assert ran.err == 'iogate: no store: set redis_url, or start one with "iogate up"\n', command
        assert ran.out == ""


def test_a_store_out_of_reach_exits_6_without_its_password(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOGATE_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    ran = cli("enable", "a/b", code=6)
    assert ran.err.startswith("store: redis://:[redacted]@127.0.0.1:1/0\n")
    assert "hunter2" not in ran.err


def test_up_prints_revision_store_url_a_row_per_api_and_a_curl_line(shop: Place) -> None:
    lines = shop.out.splitlines()
    assert "revision  1" in lines
    assert f"URL       {shop.url}" in lines
    rows = {line.split()[-1 if "set" not in line else 1]: line for line in lines if "/v1/api/" in line}
    assert any(
        "/v1/api/shop/hashed/async" in line and "iogate enable shop/hashed" in line for line in rows.values()
    )
    assert any("environment variable NOBODY_SETS_THIS is not set" in line for line in lines)
    curl = f'curl -d \'{{"sku": "A-1"}}\' 127.0.0.1:{shop.port}/v1/api/shop/buy/async'
    assert curl in lines


def test_the_link_key_is_for_its_owner_only(shop: Place) -> None:
    key = shop.root / ".iogate/link_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text().strip()) >= 32


def test_api_list_shows_enabled_apis(live: Cli) -> None:
    found = live("api", "list", "-o", "json").json
    assert found["schema"] == "iogate.api.list/v1"
    rows = {row["api"]: row for row in found["apis"]}
    assert rows["shop/buy"]["enabled"] is True
    assert rows["shop/hashed"]["enabled"] is False
    assert rows["shop/buy"]["verbs"] == ["GET", "POST"]
    assert rows["shop/guarded"]["auth"] == "token"


def test_api_show_tells_everything_but_secrets(live: Cli) -> None:
    shown = live("api", "show", "shop/guarded", "-o", "json").json
    assert shown["timeoutS"] == 60
    assert shown["limits"]["queued"] == 10_000
    assert "iog_shop" not in live("api", "show", "shop/guarded").out


def test_an_unknown_api_is_named_with_the_nearest(live: Cli) -> None:
    ran = live("api", "show", "shop/bye", code=8)
    assert ran.err.startswith('iogate: no live API shop/bye; did you mean "shop/buy"?\n')


def test_an_unknown_workflow_is_named_with_the_nearest(live: Cli) -> None:
    ran = live("workflow", "show", "shop/bye", code=8)
    assert ran.err.startswith('iogate: no live workflow shop/bye; did you mean "shop/buy"?\n')


def test_api_call_gives_a_uid_and_can_wait(live: Cli) -> None:
    uid = live("api", "call", "shop/buy", "--input", '{"sku": "X"}').out.strip()
    assert uid.isdigit()
    waited = live("api", "call", "shop/guarded", "--input", '{"sku": "Y"}', "--wait", "-o", "json").json
    assert waited["output"] == {"bought": "Y"}
    assert waited["caller"] == "token"
    again = live("api", "call", "shop/buy", "--from-run", uid, "--wait", "-o", "json").json
    assert again["output"] == {"bought": "X"}
    assert again["uid"] != uid


def test_commands_find_the_gateway_where_it_announced_itself(
    live: Cli, shop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IOGATE_PORT")
    assert live("api", "call", "shop/buy").out.strip().isdigit()
    ran = live("debug", "shop/buy", "--name", "one")
    assert f"gateway: {shop.url}\n" in ran.err


def test_the_path_that_is_shown_can_be_called(live: Cli, shop: Place) -> None:
    path = live("api", "show", "shop/buy", "-o", "json").json["path"]
    assert shop.call(path, {"sku": "A-1"})[0] == 202


def test_an_own_path_is_shown_and_can_be_called(live: Cli, shop: Place) -> None:
    shown = live("api", "show", "shop/buy", "-o", "json").json
    assert (shown["ownPath"], shown["ownPathMode"]) == ("/hooks/buy", "sync")
    assert shop.call("/hooks/buy", {"sku": "A-1"})[0] == 200
    heading, *rows = live("api", "list").out.splitlines()
    assert "PATH" in heading.split()
    assert "/hooks/buy" in next(row for row in rows if row.split()[:1] == ["shop/buy"])


def test_api_call_by_get_sends_a_query_string(live: Cli) -> None:
    called = live("api", "call", "shop/buy", "--get", "--input", '{"sku": "Q"}', "-w", "-o", "json").json
    assert called["output"] == {"bought": "Q"}


def test_api_call_exits_7_where_the_run_faults(live: Cli) -> None:
    ran = live("api", "call", "shop/fail", "--wait", code=7)
    assert "faulted" in ran.err


def test_a_hash_opens_no_door_but_a_header_does(live: Cli) -> None:
    live("enable", "shop/hashed")
    ran = live("api", "call", "shop/hashed", code=64)
    assert ran.err.splitlines()[1:] == [
        "iogate: shop/hashed: only a hash of the secret is available, which does not authenticate",
        "  pass the secret with --header token:… (or user:… and password:…)",
    ]
    assert live("api", "call", "shop/hashed", "-H", "token: x").out.strip().isdigit()
    live("disable", "shop/hashed")


def test_enable_and_disable_hold_once_they_return(live: Cli, shop: Place) -> None:
    ran = live("disable", "shop/buy", "shop/guarded", "--reason", "stocktaking", "--ttl", "10m")
    assert ran.err.startswith("store: unix://")
    assert ran.out == "disabled shop/buy for 10m\ndisabled shop/guarded for 10m\n"
    assert shop.call("/v1/api/shop/buy/async", {})[0] == 403
    (row, _) = live("override", "list", "-o", "json").json["overrides"]
    assert (row["api"], row["enabled"], row["reason"]) == ("shop/buy", False, "stocktaking")
    assert row["expiresAt"] > row["setAt"]
    ran = live("api", "call", "shop/buy", code=4)
    assert "403 requestError.notEnabled: The API is not enabled" in ran.err
    assert ran.err.endswith("  iogate enable shop/buy\n")
    assert live("override", "clear", "shop/buy", "shop/guarded").out == (
        "cleared shop/buy\ncleared shop/guarded\n"
    )
    assert shop.call("/v1/api/shop/buy/async", {})[0] == 202


def test_enable_switches_all_or_none(live: Cli) -> None:
    ran = live("enable", "shop/hashed", "shop/none", code=8)
    assert "no live API shop/none" in ran.err
    rows = {row["api"]: row for row in live("api", "list", "-o", "json").json["apis"]}
    assert rows["shop/hashed"]["enabled"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["enable", "shop/buy", "--ttl", "soon"], "--ttl soon: expected"),
        (["override", "clear"], "give either the ids of APIs, or --all"),
        (["runs", "list", "--status", "done"], "--status done: expected one of pending, running"),
        (["runs", "list", "--since", "later"], "--since later: expected"),
        (
            ["runs", "cancel"],
            "give either the ids of runs, or a filter such as --api, --workflow, --status or --since",
        ),
        (["api", "call", "shop/buy", "--input", "{"], "--input: not JSON:"),
        (["api", "call", "shop/buy", "-H", "x"], "--header: expected NAME:VALUE"),
        (
            ["api", "call", "shop/buy", "--input", "{}", "--from-run", "1"],
            "--from-run and --input cannot be combined",
        ),
    ],
)
def test_a_wrong_option_states_the_expected_form(live: Cli, arguments: list[str], message: str) -> None:
    assert f"iogate: {message}" in live(*arguments, code=64).err


def test_a_run_is_listed_shown_and_waited_for(live: Cli, shop: Place) -> None:
    uid = shop.buy()
    waited = live("runs", "wait", uid, "-o", "json").json
    assert waited["schema"] == "iogate.runs.wait/v1"
    assert (waited["status"], waited["output"]) == ("completed", {"bought": "A-1"})
    assert [task["reference"] for task in waited["tasks"]] == ["/do/0/buy"]
    shown = live("runs", "show", uid, "-o", "json").json
    assert {**shown, "schema": ""} == {**waited, "schema": ""}
    listed = live("runs", "list", "--api", "shop/buy", "--since", "1h", "-o", "json").json["runs"]
    assert uid in [run["uid"] for run in listed]
    assert uid in live("runs", "list", "--status", "completed").out
    assert "/do/0/buy" in live("runs", "show", uid).out


def test_a_list_continues_at_its_cursor(live: Cli, shop: Place) -> None:
    for _ in range(3):
        live("runs", "wait", shop.buy(), "-q")
    listed = live("runs", "list", "--api", "shop/buy", "--limit", "1000", "-o", "json").json
    assert listed["nextCursor"] is None
    first = live("runs", "list", "--api", "shop/buy", "--limit", "2", "-o", "json")
    assert first.json["lookedBackTo"] is None
    rest = [*first.json["runs"]]
    cursor = first.json["nextCursor"]
    assert (
        f"for older runs, add --cursor {cursor}\n"
        in live("runs", "list", "--limit", "2", "--api", "shop/buy").err
    )
    while cursor is not None:
        page = live(
            "runs", "list", "--api", "shop/buy", "--limit", "2", "--cursor", cursor, "-o", "json"
        ).json
        rest, cursor = [*rest, *page["runs"]], page["nextCursor"]
    assert rest == listed["runs"]
    refused = live("runs", "list", "--cursor", "x", code=64)
    assert refused.err.startswith("iogate: the cursor is not one of a list of runs")


def test_runs_are_filtered_by_workflow_caller_and_revision(live: Cli, shop: Place) -> None:
    uid = shop.buy()
    live("runs", "wait", uid, "-q")
    run = live("runs", "show", uid, "-o", "json").json
    caller = run["caller"] or ""
    for options in (
        ["--workflow", "shop/buy"],
        ["--workflow", run["workflow"], "--caller", caller],
        ["--revision", str(run["revision"]), "--project", "default", "--workflow", "shop/buy"],
    ):
        found = live("runs", "list", *options, "--limit", "1000", "-o", "json").json["runs"]
        assert uid in [each["uid"] for each in found]
        assert {each["workflow"].partition(":")[0] for each in found} == {"shop/buy"}
    nothing = "no run matches the filters\n"
    for options in (["--caller", "nobody"], ["--revision", "999"]):
        assert live("runs", "list", *options).err == nothing
    assert live("runs", "cancel", "--caller", "nobody", "--yes").err.endswith(nothing)


@pytest.mark.parametrize(
    "command", [["list"], ["prune", "--before", "1s", "--yes"], ["cancel", "--yes"]], ids=lambda each: each[0]
)
def test_an_unknown_workflow_or_project_is_no_filter_without_runs(
    live: Cli, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may stall the search among all runs of this shop for longer than a quarter of a second.
    monkeypatch.setattr(filter_names, "SEARCHED_S", 60.0)
    ran = live("runs", *command, "--workflow", "shop/bu", code=8)
    assert 'no live workflow shop/bu; did you mean "shop/buy"?\n' in ran.err
    ran = live("runs", *command, "--project", "defualt", code=8)
    assert 'no project "defualt" has a live revision; did you mean "default"? [IOG802]\n' in ran.err


def test_runs_are_found_and_shown_by_their_attributes(live: Cli, shop: Place) -> None:
    uid = shop.buy("echoing")
    live("runs", "wait", uid, "-q", code=7)
    found = live("runs", "list", "--where", "sku=A-1", "-o", "json").json["runs"]
    assert uid in [each["uid"] for each in found]
    assert {tuple(each["attributes"].items()) for each in found} == {(("sku", "A-1"),)}
    heading, *_ = live("runs", "list", "--where", "sku=A-1").out.splitlines()
    assert "ATTRIBUTES" in heading
    assert "sku=A-1" in live("runs", "list", "--where", "sku=A-1").out
    assert live("runs", "list", "--where", "sku=A-2").err == "no run matches the filters\n"
    for command in (["list"], ["cancel", "--yes"], ["prune", "--before", "1s", "--yes"]):
        ran = live("runs", *command, "--where", "skus=A-1", code=64)
        message = 'iogate: no live API declares the attribute "skus"; did you mean "sku"?\n  declared: sku\n'
        assert ran.err.endswith(message)
    ran = live("runs", "list", "--api", "shop/buy", "--where", "customer=mira", code=64)
    assert ran.err.startswith('iogate: API shop/buy does not declare the attribute "customer"\n  declare it')
    assert live("runs", "list", "--where", "sku", code=64).err == "iogate: --where: expected NAME=VALUE\n"
    assert '\nattribute  sku="A-1"\n' in live("runs", "show", uid).out
    assert live("runs", "show", uid, "-o", "json").json["attributes"] == {"sku": "A-1"}
    assert "ATTRIBUTES" not in live("runs", "list", "--api", "shop/buy").out


def test_waiting_exits_by_the_end_of_the_run(live: Cli, shop: Place) -> None:
    assert "Sold out" in live("runs", "wait", shop.buy("fail"), code=7).err
    uid = shop.buy("sleep")
    until(lambda: live("runs", "show", uid, "-o", "json").json["status"] == "waiting")
    ran = live("runs", "wait", uid, "--timeout", "1", code=124)
    assert ran.err == f"iogate: run {uid} is still waiting after 1s\n"
    assert live("runs", "cancel", uid, "--reason", "enough").out == f"cancelled {uid}\n"
    ran = live("runs", "wait", uid, "-o", "json", code=7)
    assert ran.json["error"]["code"] == "cancelled"
    assert ran.json["error"]["detail"].endswith(": enough")
    assert ran.said == f"iogate: run {uid} was cancelled: {ran.json['error']['detail']}\n"
    assert live("runs", "cancel", uid).err.endswith(f"{uid} has ended already\n")


def test_a_child_is_distinguished_from_its_parent(live: Cli, shop: Place) -> None:
    parent = shop.buy("nested")
    (child,) = until(lambda: live("runs", "list", "--parent", parent, "-o", "json").json["runs"])
    assert (child["parent"], child["workflow"], child["api"]) == (parent, "shop/sleep:1.0.0", "shop/nested")
    until(lambda: live("runs", "show", parent, "-o", "json").json["children"] == [child["uid"]])
    text = live("runs", "show", parent).out
    assert text.startswith(f"{parent}  waiting  waits for a child run at /do/0/inner\n")
    assert f"\nchildren   {child['uid']}\n" in text
    assert f"\nparent     {parent}\n" in live("runs", "show", child["uid"]).out
    heading, *rows = live("runs", "list", "--api", "shop/nested").out.splitlines()
    assert heading.split() == ["UID", "API", "WORKFLOW", "STATUS", "CREATED", "TOOK", "PARENT"]
    cells = {row.split()[0]: row.split() for row in rows}
    assert (cells[child["uid"]][2], cells[child["uid"]][-1]) == ("shop/sleep:1.0.0", parent)
    assert (cells[parent][2], cells[parent][-1]) == ("shop/nested:1.0.0", "-")
    live("runs", "cancel", parent, "-q")
    assert live("runs", "wait", child["uid"], "-o", "json", code=7).json["parent"] == parent
    assert live("runs", "list", "--parent", "1").err == "no run matches the filters\n"


def test_a_run_shows_the_cause_and_location_of_its_fault(live: Cli, shop: Place) -> None:
    uid = shop.buy("fail")
    live("runs", "wait", uid, "-q", code=7)
    text = live("runs", "show", uid).out
    assert (
        "\nerror      Sold out\n           410 https://shop.example/errors/sold-out at /do/0/stop\n\nTASK"
        in text
    )
    heading, row, _, task, given = text.splitlines()[-5:]
    assert heading.split() == ["TASK", "REFERENCE", "STATUS", "TIMES", "TOOK"]
    assert row.split()[:4] == ["stop", "/do/0/stop", "faulted", "1"]
    assert (task, given) == ("/do/0/stop", '  input  | {"sku": "A-1"}')
    (row,) = live("runs", "show", uid, "-o", "json").json["tasks"]
    assert (row["input"], row["output"], row["recorded"]) == ({"sku": "A-1"}, None, 1)
    assert row["error"]["status"] == 410


def test_a_run_that_is_not_there_exits_8(live: Cli) -> None:
    for command in ("show", "wait", "logs", "cancel", "suspend", "resume"):
        ran = live("runs", command, "12345", code=8)
        assert "iogate: no run 12345\n  ended runs are deleted after the retention of their API\n" in ran.err
    for command in ("show", "cancel", "suspend", "resume"):
        assert "no run x" in live("runs", command, "x", code=8).err


def test_changed_runs_are_printed_even_if_others_do_not_exist(live: Cli, shop: Place) -> None:
    uid = shop.buy("sleep")
    until(lambda: live("runs", "show", uid, "-o", "json").json["status"] == "waiting")
    bought = shop.buy()
    live("runs", "wait", bought, "-q")
    for command, done in (("suspend", "suspended"), ("resume", "resumed"), ("cancel", "cancelled")):
        ran = live("runs", command, bought, "12345", uid, "x", "-o", "json", code=8)
        assert ran.json[done] == [uid]
        assert "no run 12345 (and 2 more)\n" in ran.err
        ran = live("runs", command, bought, code=4)
        assert ran.err.endswith(f"iogate: run {bought} has ended already: it completed\n")


def test_logs_are_the_journal_and_can_be_followed(live: Cli, shop: Place) -> None:
    uid = shop.buy()
    followed = live("runs", "logs", uid, "--follow").out
    assert followed.splitlines()[-1].endswith("workflow.completed")
    entries = live("runs", "logs", uid, "-o", "json").json["entries"]
    assert entries[0]["kind"] == "workflow.started"
    assert entries[0]["at"].endswith("Z")


def test_a_followed_journal_is_documents_that_a_program_can_read(live: Cli, shop: Place) -> None:
    uid = shop.buy()
    lines = [json.loads(line) for line in live("runs", "logs", uid, "-f", "-o", "json").out.splitlines()]
    assert [line["kind"] for line in lines][0::4] == ["workflow.started", "workflow.completed"]
    documents = live("runs", "logs", uid, "-f", "-o", "yaml").out.split("---\n")
    assert documents[1].splitlines()[1] == "kind: workflow.started"
    asleep = shop.buy("sleep")
    until(lambda: live("runs", "show", asleep, "-o", "json").json["status"] == "waiting")
    entries = live("runs", "logs", asleep, "-o", "json").json["entries"]
    (waiting,) = (line for line in entries if line["kind"] == "task.waiting")
    assert waiting["detail"]["until"].endswith("Z")
    live("runs", "cancel", asleep, "-q")


def test_recorded_input_and_output_are_shown_with_data(live: Cli) -> None:
    uid = live("api", "call", "tape/hello", "--wait", "-o", "json").json["uid"]
    assert "task.recorded" not in live("runs", "logs", uid).out + live("runs", "logs", uid, "-f").out
    lines = live("runs", "logs", uid, "--data").out.splitlines()
    (at,) = [number for number, line in enumerate(lines) if "task.recorded" in line]
    assert lines[at].endswith("/do/0/hello")
    assert lines[at + 1 : at + 3] == [
        '  input  | {"run": "shell", "code": "echo hello", "environment": {"API_TOKEN": "[redacted]"}}',
        '  output | "hello\\n"',
    ]
    assert "\n  output | " in live("runs", "logs", uid, "-f", "--data").out
    shown = live("runs", "show", uid, "--data")
    assert shown.out.splitlines()[-1] == lines[at + 2]
    (task,) = live("runs", "show", uid, "--data", "-o", "json").json["recorded"]
    assert (task["reference"], task["output"]) == ("/do/0/hello", "hello\n")
    assert "recorded" not in live("runs", "show", uid, "-o", "json").json
    assert live("api", "show", "tape/hello", "-o", "json").json["record"] == "all"
    assert "no input or output of a task was recorded" in live("runs", "show", live_uid(live), "--data").out


def live_uid(live: Cli) -> str:
    return str(live("api", "call", "shop/buy", "--wait", "-o", "json").json["uid"])


def test_an_empty_list_is_noted(live: Cli) -> None:
    assert live("runs", "list", "--api", "shop/lacking").err == "no run matches the filters\n"


@pytest.mark.parametrize("command", ["list", "cancel", "retry"])
def test_a_filter_by_an_unknown_api_is_an_error(live: Cli, command: str) -> None:
    ran = live("runs", command, "--api", "shop/bye", code=8)
    assert 'iogate: no API shop/bye; did you mean "shop/buy"?\n' in ran.err


def test_a_list_shows_errors_and_takes_an_end(live: Cli, shop: Place) -> None:
    uid = shop.buy("fail")
    live("runs", "wait", uid, "-q", code=7)
    (listed,) = [
        run
        for run in live("runs", "list", "--api", "shop/fail", "-o", "json").json["runs"]
        if run["uid"] == uid
    ]
    shown = live("runs", "show", uid, "-o", "json").json
    assert listed["error"] == shown["error"]
    heading, *rows = live("runs", "list", "--status", "faulted").out.splitlines()
    assert heading.split()[-1] == "ERROR"
    assert next(row for row in rows if row.startswith(uid)).endswith("  Sold out")
    bought = shop.buy()
    assert "ERROR" not in live("runs", "list", "--api", "shop/buy").out
    made = live("runs", "wait", bought, "-o", "json").json["createdAt"]
    ran = live("runs", "list", "--until", made, "--since", shown["createdAt"], "-o", "json").json["runs"]
    assert {uid, bought} <= {run["uid"] for run in ran}
    ran = live("runs", "list", "--until", shown["createdAt"], "-o", "json").json["runs"]
    assert uid in [run["uid"] for run in ran]
    assert bought not in [run["uid"] for run in ran]


def test_a_large_error_is_in_the_list_too(live: Cli, shop: Place) -> None:
    status, response = shop.call("/v1/api/shop/echoing/async", {"title": "x" * 100_000})
    assert status == 202
    uid = response["uid"]
    live("runs", "wait", uid, "-q", code=7)
    rows = live("runs", "list", "--api", "shop/echoing", "-o", "json").json["runs"]
    (message,) = [run["error"]["message"] for run in rows if run["uid"] == uid]
    assert len(message.encode()) == 8 * 1024
    assert message == "x" * message.count("x") + "… [shortened from 100000 bytes]"
    (row,) = [row for row in live("runs", "list", "--api", "shop/echoing").out.splitlines() if uid in row]
    assert row.endswith("  " + "x" * 99 + "…")


def test_many_runs_are_cancelled_only_with_yes(live: Cli, shop: Place) -> None:
    filters = ("--api", "shop/sleep", "--since", "1h")
    # Other tests of this shop leave sleeping runs behind.
    live("runs", "cancel", *filters, "--yes")
    until(lambda: live("runs", "cancel", *filters, code=None).err.endswith("no run matches the filters\n"))
    uids = [shop.buy("sleep")]
    told = live("runs", "cancel", *filters, code=64).err
    assert "this cancels 1 run [IOG785]\n" in told
    assert f"\n{uids[0]}  shop/sleep" in told
    uids += [shop.buy("sleep") for _ in range(2)]
    assert (
        "this cancels 3 runs [IOG785]\n  add --yes to confirm"
        in live("runs", "cancel", *filters, code=64).err
    )
    assert live("runs", "cancel", *filters, "--yes", "-o", "json").json["batch"]["changed"] == 3
    assert {live("runs", "show", uid, "-o", "json").json["status"] for uid in uids} <= {
        "running",
        "cancelled",
    }
    # A run that a worker has under lease ends with the next commit of that worker.
    until(lambda: live("runs", "cancel", *filters, code=None).err.endswith("no run matches the filters\n"))


def test_a_command_repeated_by_its_id_does_nothing_twice(live: Cli, shop: Place) -> None:
    uid = shop.buy("fail")
    for _ in range(2):
        live("runs", "wait", uid, "-q", code=7)
        assert live("runs", "retry", uid, "--id", "one").out == f"retried {uid}\n"
    live("runs", "wait", uid, "-q", code=7)
    assert live("runs", "show", uid, "-o", "json").json["attempt"] == 2


def test_a_lost_response_hints_how_to_repeat_the_command() -> None:
    error = interrupted(StoreUnavailable("connection lost").message, operation_id("one"))
    assert (error.code, error.exit_code) == ("IOG655", 6)
    assert error.message == "the store is out of reach: connection lost: some runs may have been changed"
    assert error.hint == "repeat the command with --id one, which changes no run twice"
    assert operation_id(None) != operation_id(None)


def test_ended_runs_are_deleted_only_with_yes(live: Cli, shop: Place) -> None:
    uids = [shop.buy("fail") for _ in range(2)]
    for uid in uids:
        live("runs", "wait", uid, "-q", code=7)
    asleep = shop.buy("sleep")
    filters = ("--before", "0", "--api", "shop/fail")
    told = live("runs", "prune", *filters, "--status", "faulted", code=64).err
    assert all(uid in told for uid in uids)
    assert "runs\n  add --yes to confirm" in told
    assert live("runs", "prune", "--before", "1d").err.endswith("no run matches the filters\n")
    assert live("runs", "prune", *filters, "--yes", "-o", "json").json["pruned"] >= 2
    for uid in uids:
        live("runs", "show", uid, code=8)
    live("runs", "show", asleep)
    refused = live("runs", "prune", "--before", "1h", "--status", "waiting", code=64).err
    assert "only runs that have ended can be deleted; expected cancelled, completed or faulted" in refused
    live("runs", "prune", "--before", "1h", "--api", "shop/no", code=8)
    live("runs", "cancel", asleep, "-q")


def test_the_first_runs_of_a_filter_are_listed_and_the_rest_counted(
    live: Cli, shop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iogate.cli.batches.filter_batches.SHOWN", 2)
    uids = [shop.buy("fail") for _ in range(4)]
    for uid in uids:
        live("runs", "wait", uid, "-q", code=7)
    filters = ("--api", "shop/fail", "--since", live("runs", "show", uids[0], "-o", "json").json["createdAt"])
    told = live("runs", "retry", *filters, code=64).err
    assert [uid in told for uid in uids] == [False, False, True, True], "newest first"
    assert told.endswith("… and 2 more\niogate: this retries 4 runs [IOG785]\n  add --yes to confirm\n")


def test_a_terminal_is_not_flooded_by_a_large_value_and_a_pipe_gets_all(
    live: Cli, shop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from iogate.cli.runs.run_display import shorten

    status, response = shop.call("/v1/api/shop/buy/async", {"sku": "x" * 70_000})
    assert status == 202
    uid = response["uid"]
    live("runs", "wait", uid, "-q")
    assert live("runs", "show", uid).out.count("x" * 70_000) == 2
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    shown = live("runs", "show", uid).out
    assert len(shown) < 140_000
    assert shown.count(" characters more: -o json shows all)") == 2
    assert len(live("runs", "show", uid, "-o", "json").out) > 140_000
    assert shorten("x" * 65_536) == "x" * 65_536


def test_a_suspended_run_stays_where_it_is_until_it_is_resumed(live: Cli, shop: Place) -> None:
    uid = shop.buy("sleep")
    until(lambda: live("runs", "show", uid, "-o", "json").json["status"] == "waiting")
    assert live("runs", "resume", uid).err.endswith(f"{uid} is not suspended\n")
    assert live("runs", "suspend", uid).out == f"suspended {uid}\n"
    assert live("runs", "show", uid, "-o", "json").json["status"] == "suspended"
    assert live("runs", "list", "--status", "suspended", "-o", "json").json["runs"][0]["uid"] == uid
    assert live("runs", "resume", uid, "-o", "json").json["resumed"] == [uid]
    assert live("runs", "show", uid, "-o", "json").json["status"] == "waiting"
    kinds = [line["kind"] for line in live("runs", "logs", uid, "-o", "json").json["entries"]]
    assert kinds[-4:] == ["task.suspended", "workflow.suspended", "workflow.resumed", "task.resumed"]
    live("runs", "cancel", uid, "-q")
    live("runs", "wait", uid, "-q", code=7)
    for command in ("suspend", "resume"):
        ran = live("runs", command, uid, code=4)
        assert ran.err.endswith(f"iogate: run {uid} has ended already: it was cancelled\n")


def test_status_names_missing_secrets_of_an_api(live: Cli) -> None:
    # Beside a worker that a busy machine has stalled, another one runs for half a minute.
    found = until(lambda: len((read := live("status", "-o", "json").json)["workers"]) == 1 and read)
    assert found["schema"] == "iogate.status/v1"
    assert {"revision", "runs", "queue", "apis", "gateways", "workers"} <= set(found)
    assert set(found["queue"]) == {"depth", "oldestS"}
    assert len(found["gateways"]) == 1
    lacking = {api["api"]: api["missing"] for api in found["apis"] if api["missing"]}
    assert lacking == {
        "shop/lacking": [
            "environment variable NOBODY_SETS_THIS is not set",
            "callback: environment variable NOBODY_SIGNS_WITH_THIS is not set",
        ]
    }
    reason = "secret nobody_has: environment variable NOBODY_HAS_THIS is not set"
    assert found["workflows"] == [{"workflow": "shop/secretive:1.0.0", "apis": [], "missing": [reason]}]
    assert not {"secrets", "unset", "callback"} & {name.partition(":")[0] for name in found["workers"][0]}
    text = live("status").out
    assert "NOBODY_SETS_THIS" in text
    assert reason in text


def test_plan_and_apply_name_missing_secrets(live: Cli) -> None:
    of_api = "api shop/lacking: environment variable NOBODY_SETS_THIS is not set"
    of_callback = (
        "callbacks of shop/lacking wait, at most 24 hours: "
        "environment variable NOBODY_SIGNS_WITH_THIS is not set"
    )
    reason = "secret nobody_has: environment variable NOBODY_HAS_THIS is not set"
    of_workflow = f"workflow shop/secretive:1.0.0: {reason}"
    noted = live("plan").err.splitlines()
    assert {of_api, of_callback, of_workflow} <= set(noted)
    told = live("apply").err.splitlines()
    assert {f"warning: {each}" for each in (of_api, of_callback, of_workflow)} <= set(told)
    assert [(each["type"], each["id"]) for each in live("plan", "-o", "json").json["missing"]] == [
        ("api", "shop/lacking"),
        ("workflow", "shop/secretive:1.0.0"),
    ]


def test_doctor_finds_problems(live: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stall between two readings of a clock looks like a difference of the clocks.
    monkeypatch.setattr(doctor_command, "MAX_DRIFT_S", 60.0)
    findings = live("doctor", "-o", "json").json["findings"]
    by_verdict = {(each["about"], each["verdict"]) for each in findings}
    assert {("store", "ok"), ("clock", "ok"), ("gateways", "ok"), ("workers", "ok")} <= by_verdict
    about_store = [each["message"] for each in findings if each["about"] == "store"]
    assert any(message.endswith(f", {binaries.choose()}") for message in about_store), "by its own version"
    assert any("shop/lacking" in each["message"] for each in findings if each["about"] == "secrets")
    of_workers = [each["message"] for each in findings if each["about"] == "workers"]
    assert any("secret nobody_has" in each for each in of_workers)
    unset = "environment variable NOBODY_SIGNS_WITH_THIS is not set"
    assert f"callbacks of shop/lacking wait, at most 24 hours: {unset}" in of_workers
    of_shell = [each["message"] for each in findings if each["about"] == "secrets"]
    assert f"shop/lacking: callback: {unset} in this shell" in of_shell


def test_the_store_has_one_spelling(live: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `status`, `doctor` and the line of a command that changes it."""
    (line,) = (each for each in live("enable", "shop/buy").err.splitlines() if each.startswith("store: "))
    url = line.removeprefix("store: ")
    monkeypatch.setattr(Store, "address", "another spelling")
    assert live("status", "-o", "json").json["store"] == url
    findings = live("doctor", "-o", "json").json["findings"]
    assert any(each["about"] == "store" and each["message"].startswith(f"{url}, ") for each in findings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://gateway:hush@store:6379/1", "redis://gateway:[redacted]@store:6379/1"),
        ("unix:///run/store.sock", "unix:///run/store.sock"),
        ("redis+sentinel://s1,s2/orders", "redis+sentinel://s1,s2/orders ("),
    ],
)
def test_the_url_of_a_store_is_shown_without_its_passwords(url: str, shown: str) -> None:
    assert Store(url, client_name="test", keyring=RING).shown_url.startswith(shown)


def test_doctor_without_a_store_exits_6(cli: Cli) -> None:
    cli("init")
    ran = cli("doctor", code=6)
    assert 'no store: set redis_url, or start one with "iogate up"' in ran.out


def test_workflows_are_listed_and_shown(live: Cli) -> None:
    rows = {row["workflow"]: row for row in live("workflow", "list", "-o", "json").json["workflows"]}
    assert rows["shop/fail:1.0.0"]["apis"] == ["shop/fail"]
    assert rows["shop/buy:1.0.0"]["apis"] == [
        "shop/buy",
        "shop/guarded",
        "shop/hashed",
        "shop/lacking",
    ]
    definition = live("workflow", "show", "shop/buy", "-o", "json").json["definition"]
    assert definition["do"] == [{"buy": {"set": {"bought": "${ .sku }"}}}]
    # Its program has a variable beside the document that its author wrote.
    definition = live("workflow", "show", "shop/secretive", "-o", "json").json["definition"]
    assert definition.keys() == {"document", "use", "do"}
    assert live("workflow", "show", "nothing", code=8).err.startswith("iogate: no live workflow nothing\n")


def test_debug_shows_each_result_beside_its_expect(live: Cli) -> None:
    names = ("--name", "one", "--name", "wrong on purpose")
    ran = live("debug", "shop/buy", *names, "-o", "json", code=9)
    assert ran.err.startswith("gateway: http://127.0.0.1:")
    first, second = ran.json["cases"]
    assert (first["name"], first["passed"], first["http"], first["status"]) == ("one", True, 202, "completed")
    assert second["failures"] == [
        'output.bought: expected "B-2", got "A-1"',
        'not used here: its events, which are for "iogate test" only',
    ]
    assert ran.said.endswith("iogate: 1 case of 2 failed\n")
    text = live("debug", "shop/buy", "--name", "one").out
    assert 'shop/buy: one  passed   202 completed {"bought": "A-1"}  202 completed {"bought": "A-1"}' in text


def test_debug_uses_the_apis_own_credentials(live: Cli) -> None:
    assert live("debug", "shop/guarded", "-o", "json").json["passed"] == 1


def test_debug_sends_headers_given_by_hand_instead_of_credentials(live: Cli) -> None:
    """Of the API itself, or of the case: one kind of credentials in a request."""
    (case,) = live("debug", "shop/guarded", "-H", "Token: wrong", "-o", "json", code=9).json["cases"]
    assert (case["http"], case["message"]) == (401, "Token is invalid")


def test_debug_of_a_disabled_api_names_test(live: Cli) -> None:
    live("disable", "shop/buy")
    ran = live("debug", "shop/buy", code=4)
    assert ran.err.splitlines()[2:] == [
        "iogate: shop/buy is disabled on the gateway",
        '  use "iogate enable shop/buy", or replay it offline: "iogate test shop/buy"',
    ]
    live("override", "clear", "--all")


def test_debug_off_this_machine_needs_a_choice(live: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOGATE_PUBLIC_URL", "https://api.example")
    ran = live("debug", "shop/buy", code=64)
    assert ran.err == (
        "iogate: https://api.example is not on this machine: its runs may have real effects\n"
        "  select cases with --name, or add --all\n"
    )


def test_debug_names_cases_and_apis_that_are_not_there(live: Cli) -> None:
    assert (
        "no debug case named 'two'\n  available: one, wrong on purpose"
        in live("debug", "shop/buy", "--name", "two", code=8).err
    )
    assert 'no API shop/bu in the files; did you mean "shop/buy"?' in live("debug", "shop/bu", code=8).err
    assert "shop/fail: no debug cases" in live("debug", "shop/fail", code=8).err


def test_debug_without_a_gateway_exits_6(live: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOGATE_PUBLIC_URL", "http://127.0.0.1:1")
    assert "cannot reach the gateway at http://127.0.0.1:1" in live("debug", "shop/buy", code=6).err
