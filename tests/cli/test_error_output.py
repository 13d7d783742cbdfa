"""Errors of commands with machine output: one line of JSON, the last one on stderr."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iogate.cli.error_output import wants_json
from tests.cli.conftest import Cli, Ran

INVALID = "module: m\nauth: none\nmethods:\n  a: {workflow: none/none, timeout: 1m}\n"


def fault(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.err.splitlines()[-1])
    assert found.pop("schema") == "iogate.error/v1"
    assert found.pop("exit") == ran.code
    return found


@pytest.mark.parametrize("option", [("-o", "json"), ("--output=json",), ("-o", "yaml"), ("-qo", "json")])
def test_an_error_is_one_line_of_json(cli: Cli, option: tuple[str, ...]) -> None:
    ran = cli("status", *option, code=6)
    assert fault(ran) == {
        "code": None,
        "message": 'no store: set redis_url, or start one with "iogate up"',
        "hint": None,
        "where": [],
    }
    assert ran.out == ""


def test_an_error_has_its_code_hint_and_places(cli: Cli) -> None:
    found = fault(cli("explain", "IOG999", "-o", "json", code=None))
    assert found["message"]
    cli.write("apis.d/m.yaml", INVALID)
    ran = cli("plan", "-o", "json", code=3)
    assert "error IOG303" in ran.err, "the problems come first, as text"
    found = fault(ran)
    assert found["where"] == ["apis.d/m.yaml:4:17"]
    assert found["hint"] == 'run "iogate explain CODE" for details'
    cli.write("iogate.yaml", "a: [\n")
    found = fault(cli("plan", "-o", "json", code=3))
    assert found["code"].startswith("IOG1")
    assert found["where"][0].startswith("iogate.yaml:")


def test_wrong_options_are_json_too(cli: Cli) -> None:
    found = fault(cli("plan", "--nonsense", "-o", "json", code=64))
    assert found["message"] == "No such option: --nonsense"
    assert found["hint"] == 'try "iogate plan --help"'
    assert cli("plan", "--nonsense", code=64).err.startswith("iogate: No such option: --nonsense\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "json", "plan"], True),
        (["plan", "-ojson"], True),
        (["plan", "-o"], False),
        (["plan", "-o", "text"], False),
        (["plan", "-o", "markdown"], False),
        (["run", "--", "-o", "json"], False),
        (["plan", "json"], False),
    ],
)
def test_the_format_is_found_in_any_command_line(arguments: list[str], expected: bool) -> None:  # noqa: FBT001
    assert wants_json(arguments) is expected
