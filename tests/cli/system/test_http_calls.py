"""Calls, their files and debug cases from a machine that reaches the gateway only."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from tests.cli.conftest import OPERATORS, Ran, token
from tests.cli.place import ENVIRONMENT, until, up, write_project
from tests.cli.system.conftest import FORMATS, Machines, edit, refused
from tests.patient_http import fetched
from tests.ports import free_port

RECEIPTS = """\
module: receipts
auth: none
timeout: 1m
methods:
  add:
    workflow: shop/buy
    enabled: true
    input: {files: {size: 1MiB, count: 3}}
"""
SCAN, FIRST, SECOND = b"\x89PNG" + bytes(300_000), b"page one", b"page two"


@pytest.fixture
def uid(two: Machines) -> str:
    """A run whose call has sent three files."""
    (two.shop.root / "apis.d/receipts.yaml").write_text(RECEIPTS)
    two.here("apply", "--yes")
    two.here("enable", "receipts/add")
    options = []
    for name, file, content in (("scan", "a.png", SCAN), ("page", "1.txt", FIRST), ("page", "2.txt", SECOND)):
        (two.shop.root / file).write_bytes(content)
        options += ["--file", f"{name}={file}"]
    return two.here("api", "call", "receipts/add", "--input", '{"sku": "A-1"}', *options).out.strip()


@pytest.mark.parametrize("output", FORMATS)
def test_the_files_of_a_run_are_listed_and_read_alike(
    two: Machines, uid: str, output: tuple[str, ...]
) -> None:
    assert "a.png" in two.same("runs", "file", uid, *output).out
    two.same("runs", "file", uid, "scan", "--out", "copy.png", "--force", *output)
    for folder in (two.shop.root, two.elsewhere):
        assert (folder / "copy.png").read_bytes() == SCAN
    assert two.there("runs", "file", uid, "2.txt", "--out", "-").out == SECOND.decode()
    for wrong, code in (((uid, "photo"), 8), ((uid, "page"), 64), (("7",), 8), (("x",), 8)):
        two.same("runs", "file", *wrong, *output, code=code)
    two.there("runs", "file", uid, role="read")
    ran = two.there("runs", "file", uid, "scan", role="read", code=4)
    assert "This takes the role operate; operator reader has the role read [IOG818]" in ran.err


def without_uid(ran: Ran) -> str:
    return re.sub(r"[0-9]{15,}|[0-9.]+Z|[0-9.]+ m?s|[0-9]+\.[0-9]+", "N", ran.out)


@pytest.mark.parametrize("output", FORMATS)
def test_an_api_is_called_alike(two: Machines, output: tuple[str, ...]) -> None:
    """With the credentials that the caller has: the token of the operator is for the operators' routes."""
    given = ("--input", '{"sku": "A-1"}', *output)
    here = two.here("api", "call", "shop/buy", *given)
    there = two.there("api", "call", "shop/buy", *given)
    assert without_uid(there) == without_uid(here)
    assert there.err == f"server: {two.shop.url}\n"
    uid = two.there("api", "call", "shop/buy", "--input", '{"sku": "A-2"}').out.strip()
    again = two.there("api", "call", "shop/buy", "--from-run", uid, "--wait", "-o", "json").json
    assert (again["status"], again["input"], again["caller"]) == ("completed", {"sku": "A-2"}, None)
    two.there("api", "call", "shop/guarded", *given, SHOP_TOKEN=ENVIRONMENT["SHOP_TOKEN"])
    two.there("api", "call", "shop/guarded", "-H", f"token: {ENVIRONMENT['SHOP_TOKEN']}", *given)
    two.there("api", "call", "shop/fail", "--wait", *given, code=7)
    for command, code in (
        (("shop/lacking",), 3),
        (("shop/hashed",), 64),
        (("shop/bye",), 8),
        (("shop/guarded", "-H", "token: wrong"), 4),
        (("shop/buy", "--from-run", "7"), 8),
    ):
        two.same("api", "call", *command, *output, code=None)
        two.there("api", "call", *command, *output, code=code)


def test_a_call_goes_to_the_port_of_callers(tmp_path_factory: pytest.TempPathFactory, two: Machines) -> None:
    """The port of the operators takes no calls."""
    root, port = tmp_path_factory.mktemp("guarded"), free_port()
    write_project(root)
    (root / "iogate.yaml").write_text(
        f"vars: {{region: eu}}\nconsole_port: {port}\noperators: {json.dumps(OPERATORS)}\n"
    )
    server = f"http://127.0.0.1:{port}"
    with up(root) as place:
        call = ("api", "call", "shop/buy", "--input", '{"sku": "A-1"}', "--wait")
        assert "A-1" in two.there(*call, IOGATE_SERVER=server, role="read").out
        with_port = Machines(shop=place, elsewhere=two.elsewhere, capsys=two.capsys, patch=two.patch)
        assert "[IOG819]" in with_port.there("status", code=6).err


def test_an_input_that_the_server_redacts_is_not_sent_again(two: Machines) -> None:
    secretive = ("api", "call", "shop/buy", "--input", '{"sku": "A-1", "password": "x"}')
    uid = two.there(*secretive).out.strip()
    two.here("api", "call", "shop/buy", "--from-run", uid)
    assert refused(two.there("api", "call", "shop/buy", "--from-run", uid, code=4)) == (
        f"iogate: the input of run {uid} has values that look like secrets, and {two.shop.url} redacts them; "
        "give the input yourself, with --input"
    )


def test_a_call_of_an_api_with_a_file_is_made(two: Machines, uid: str) -> None:
    assert uid
    (two.elsewhere / "a.png").write_bytes(SCAN)
    sent = two.there("api", "call", "receipts/add", "--input", '{"sku": "A-1"}', "--file", "scan=a.png").out
    assert "a.png" in two.there("runs", "file", sent.strip()).out


def test_a_file_is_never_a_page_and_only_of_its_run(two: Machines, uid: str) -> None:
    digest = hashlib.sha256(SCAN).hexdigest()
    other = two.shop.buy()
    headers = {"Authorization": f"Bearer {token('operate')}"}
    response = fetched(f"{two.shop.url}/v1/runs/{uid}/files/{digest}", headers)
    assert (response.status_code, response.content) == (200, SCAN)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    response = fetched(f"{two.shop.url}/v1/runs/{other}/files/{digest}", headers)
    assert response.status_code == 404
    assert response.json()["response"]["error"]["message"] == f"run {other} has no file with this SHA-256"


DEBUG = ("--reason", "after the deploy")


def test_a_debug_case_is_replayed_alike(two: Machines) -> None:
    case = ("debug", "shop/buy", "--name", "one")
    for output in ("text", "junit"):
        here, there = two.here(*case, "-o", output), two.there(*case, *DEBUG, "-o", output)
        assert without_uid(there) == without_uid(here)
        assert there.err == (
            f"server: {two.shop.url}\n"
            "the operator calls, with the cases that the live revision keeps\n"
            "1 case passed\n"
        )
    (first,), (second,) = (
        ran.json["cases"] for ran in (two.here(*case, "-o", "json"), two.there(*case, *DEBUG, "-o", "json"))
    )
    for each in (first, second):
        del each["uid"], each["tookS"]
        each["expect"] = each["expect"]["output"]  # a revision keeps only the output
    assert second == first


def test_an_operator_needs_no_credentials_of_the_api(two: Machines) -> None:
    (found,) = two.there("debug", "shop/guarded", *DEBUG, "-o", "json", role="operate").json["cases"]
    assert (found["name"], found["passed"], found["http"]) == ("with its token", True, 202)
    run = two.there("runs", "show", found["uid"], "-o", "json").json
    assert run["caller"] == "operator:operateer"
    entry = two.here("activity", "--action", "apis.debug", "--limit", "1", "-o", "json").json["activity"][0]
    assert (entry["operator"], entry["reason"]) == ("operateer", "after the deploy")


def test_a_case_that_fails_is_shown_beside_its_expectation(two: Machines) -> None:
    ran = two.there("debug", "shop/buy", *DEBUG, "-o", "json", code=9)
    assert [(each["name"], each["failures"]) for each in ran.json["cases"]] == [
        ("one", []),
        ("wrong on purpose", ['output.bought: expected "B-2", got "A-1"']),
    ]
    assert "iogate: 1 case of 2 failed\n" in ran.said


def test_a_run_that_does_not_end_is_cancelled_unless_it_is_kept(two: Machines) -> None:
    edit(two, "  sleep:\n", "  sleep:\n    debug: [{name: a nap, body: {sku: A-1}}]\n")
    two.here("apply", "--yes")
    case = ("debug", "shop/sleep", "--timeout", "2s", *DEBUG, "-o", "json")
    (found,) = two.there(*case, code=9).json["cases"]
    # On a slow machine its time is over before it waits.
    assert re.match(rf"run {found['uid']} is still (pending|running|waiting) after 2s", found["failures"][0])
    assert found["failures"][1] == "debug has cancelled it; --keep leaves it"
    until(lambda: two.there("runs", "show", found["uid"], "-o", "json").json["status"] == "cancelled")
    (kept,) = two.there(*case, "--keep", code=9).json["cases"]
    assert kept["failures"][1] == f"cancel it with: iogate runs cancel {kept['uid']}"
    until(lambda: two.there("runs", "show", kept["uid"], "-o", "json").json["status"] == "waiting")
    two.there("runs", "cancel", kept["uid"], *DEBUG)


def test_a_run_that_stands_for_earlier_calls_is_not_cancelled(two: Machines) -> None:
    more = "    coalesce: {key: /sku, window: 1h}\n    debug: [{name: a nap, body: {sku: A-1}}]\n"
    edit(two, "  sleep:\n", f"  sleep:\n{more}")
    two.here("apply", "--yes")
    uid = two.shop.buy("sleep")
    (found,) = two.there("debug", "shop/sleep", "--timeout", "2s", *DEBUG, "-o", "json", code=9).json["cases"]
    assert (found["uid"], found["failures"][1]) == (uid, f"cancel it with: iogate runs cancel {uid}")
    assert two.there("runs", "show", uid, "-o", "json").json["status"] == "pending"
    two.there("runs", "cancel", uid, *DEBUG)


def test_cases_that_the_server_cannot_replay_are_named(two: Machines) -> None:
    two.here("disable", "shop/buy", "--reason", "stocktaking")
    for command, code, error in (
        (("shop/buy",), 4, "shop/buy is disabled; enable it, or replay the case with `iogate test`"),
        (("shop/bye",), 8, 'no live API shop/bye; did you mean "shop/buy"?'),
        (
            ("shop/fail",),
            8,
            "the live revision keeps no debug case of shop/fail; it keeps the first five that",
        ),
        (
            ("shop/buy", "--name", "on"),
            8,
            'the live revision keeps no debug case "on" of shop/buy; did you mean "one"? [IOG801]; it keeps',
        ),
        (
            ("shop/buy", "-H", "token: x"),
            64,
            f"IOGATE_SERVER chooses {two.shop.url}, which replays cases for an operator: --header and "
            "--jwt-key are for calls with the credentials of the API; leave them out, or use `iogate",
        ),
    ):
        assert f"iogate: {error}" in refused(two.there("debug", *command, *DEBUG, code=code))
    assert "no reason is given [IOG822]; add --reason TEXT" in refused(
        two.there("debug", "shop/buy", code=64)
    )
    assert "[IOG818]" in two.there("debug", "shop/buy", *DEBUG, role="read", code=4).err
    away = two.there("debug", "shop/buy", *DEBUG, IOGATE_SERVER="https://api.example", code=64)
    assert refused(away) == (
        "iogate: https://api.example is not on this machine: its runs may have real effects; "
        "select cases with --name, or add --all"
    )
