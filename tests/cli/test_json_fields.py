"""`--json FIELDS` and `--jq EXPR` of commands that list or show."""

from __future__ import annotations

import json

import pytest

from iogate.cli import app
from iogate.cli.json_fields import FIELDS, with_empty_lists
from tests.cli.conftest import Cli
from tests.cli.place import Place
from tests.docs.pages import DOCS, names, rows, sections

OPTIONAL = {"traceId", "callback", "onFault", "recorded", "waitingFor"}
"""Fields that only some runs have."""


@pytest.fixture
def faulted(live: Cli, shop: Place) -> str:
    uid = shop.buy("fail")
    live("runs", "wait", uid, "-q", code=7)
    return uid


def test_the_fields_are_those_of_the_results(live: Cli, faulted: str) -> None:
    live("disable", "shop/nested", "--ttl", "1h")
    live("runs", "retry", "--api", "shop/fail", "--yes", "-q")
    (batch, *_) = live("batches", "list", "-o", "json").json["batches"]
    arguments = {
        "batches.show": (batch["id"],),
        "runs.show": (faulted,),
        "api.show": ("shop/buy",),
        "workflow.show": ("shop/buy",),
    }
    for schema, fields in FIELDS.items():
        found = live(*schema.split("."), *arguments.get(schema, ()), "-o", "json").json
        rows = found[fields.rows] if fields.rows else [found]
        assert rows, schema
        names = {name for row in rows for name in row} - {"schema"}
        assert names <= set(fields.names), schema
        assert set(fields.names) - names <= OPTIONAL, schema
    live("override", "clear", "--all")


def test_the_members_of_plan_and_status_are_documented(live: Cli) -> None:
    described = sections(DOCS / "reference" / "commands.md")
    for command, options in (("plan", {"replay"}), ("status", set())):
        told = {name for cells in rows(described[f"`iogate {command}`"]) for name in names(cells[0])}
        told = {name for name in told if not name.startswith("-")}
        found = live(command, "-o", "json").json
        assert told - options == found.keys() - {"schema"}


def test_the_chosen_fields_are_printed(live: Cli, faulted: str) -> None:
    ran = live("runs", "list", "--api", "shop/fail", "--json", "uid, status", "--limit", "1")
    assert json.loads(ran.out) == [{"uid": faulted, "status": "faulted"}]
    assert json.loads(live("runs", "show", faulted, "--json", "callback,api").out) == {
        "callback": None,
        "api": "shop/fail",
    }
    texts = live("runs", "list", "--api", "shop/fail", "--limit", "1", "--json", "uid", "--jq", ".[].uid")
    assert texts.out == f"{faulted}\n"
    whole = live("runs", "list", "--limit", "1", "--jq", ".schema, (.runs | length), {a: 1}")
    assert whole.out == 'iogate.runs.list/v1\n1\n{"a": 1}\n'
    assert live("runs", "list", "--limit", "1", "--jq", "empty").out == ""


def test_without_a_value_the_fields_are_listed(cli: Cli) -> None:
    for arguments in (("override", "list", "--json"), ("override", "list", "--json", "-q")):
        assert cli(*arguments, code=64).err == (
            "iogate: --json: name the fields [IOG826]\n"
            "  fields: api, enabled, held, author, reason, setAt, expiresAt\n"
        )
    root = app._parser("runs.run_commands")
    for line, expected in (
        ("--json uid -- --json", "--json uid -- --json"),
        ("-C --json runs list --json", "-C --json runs list --json EMPTY"),
        ("runs list --api --json --json -q", "runs list --api --json --json EMPTY -q"),
        ("runs list --watch --json", "runs list --watch --json EMPTY"),
        ("runs list --json runs --api --json", "runs list --json runs --api --json"),
    ):
        found = with_empty_lists(line.split(), root)
        assert " ".join(each or "EMPTY" for each in found) == expected


def test_wrong_fields_and_programs_are_told_before_anything_is_asked(cli: Cli) -> None:
    ran = cli("runs", "list", "--json", "uid,stauts", code=64)
    assert 'no field "stauts"; did you mean "status"? [IOG826]\n  fields: uid,' in ran.err
    ran = cli("runs", "list", "--jq", ".[", code=64)
    assert ran.err.startswith("iogate: --jq: syntax error, unexpected")
    assert "[IOG827]" in ran.err
    ran = cli("runs", "list", "--json", "uid", "-o", "yaml", code=64)
    assert ran.said == "iogate: --json and --jq print JSON; they cannot be combined with -o yaml\n"


def test_a_program_that_fails_says_why(live: Cli) -> None:
    ran = live("status", "--jq", ".apis | .x", code=64)
    assert ran.err == 'iogate: --jq: Cannot index array with string ("x") [IOG827]\n'
    assert live("status", "--json", "store", "--jq", "env | length").out == "0\n"
