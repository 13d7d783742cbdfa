"""No data acts on the operator's terminal: control characters are escaped in everything that is written."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import iogate.cli
from iogate import logs
from iogate.cli import render
from iogate.cli.render import COMMON_FORMATS, Output, Screen, Table
from iogate.cli.runs.run_outcome import raise_for_outcome
from iogate.errors import RunFailed
from iogate.security.control_characters import escape, escape_line
from tests.cli.conftest import Cli
from tests.cli.place import Place

CONTROLS = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))),
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
]
HOSTILE = "[red]a:warning:" + "".join(each for each in CONTROLS if each != "\n") + "z[/red]"
"""All of the controls within rich markup and an emoji code."""


def acting(text: str) -> set[str]:
    """Characters of a text that a terminal would act on, other than line feeds and tabs."""
    return {char for char in text if char in CONTROLS and char not in "\n\t"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def without_colours(text: str) -> str:
    """Return the output of Rich without its own colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_an_escaped_text_shows_each_control_and_nothing_else_changes() -> None:
    assert escape("a\x1b]0;x\x07\x7f\x9b\u202e\ud800 é → 日本 👍🏽") == (
        r"a\u001b]0;x\u0007\u007f\u009b\u202e\ud800 é → 日本 👍🏽"
    )
    assert escape("a\n\tb\r") == "a\n\tb" + r"\u000d"
    assert escape_line("a\n\tb\r") == r"a\n\tb\u000d"
    assert all(escape_line(each).isprintable() for each in CONTROLS)
    every = "".join(map(chr, range(0x3000)))
    assert escape(escape(every)) == escape(every)
    kept = [each for each in escape(every) if unicodedata.category(each) == "Cc"]
    assert set(kept) == {"\n", "\t"}


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
@pytest.mark.parametrize("output", COMMON_FORMATS)
def test_a_result_never_acts_on_a_terminal(
    output: Output, kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = kind()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "2000")
    table = Table(columns=("it",), rows=[(HOSTILE,), ({"in": HOSTILE},), ([HOSTILE],)])
    Screen(output=output).data("x", {"it": HOSTILE, HOSTILE: [HOSTILE]}, [HOSTILE, table])
    written = without_colours(stream.getvalue())
    assert acting(written) == set()
    match output:
        case Output.TEXT:
            assert written.count("[red]a:warning:") == 4
            assert written.count("z[/red]") == 4
            assert written.count(r"\u001b") == 4
            assert written.count(r"\u202e") == 4
        case Output.JSON:
            assert json.loads(written)["it"] == HOSTILE
            assert json.loads(written)[HOSTILE] == [HOSTILE]
        case Output.YAML:
            assert yaml.safe_load(written)["it"] == HOSTILE


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_a_remark_never_acts_on_a_terminal(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = kind()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    screen.note(HOSTILE)
    screen.note(HOSTILE, style="green")
    screen.warn(HOSTILE)
    written = without_colours(stream.getvalue())
    assert acting(written) == set()
    assert written.count("[red]a:warning:") == 3


def test_a_live_display_never_acts_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = render.console(stream)
    shown.print(Group(Panel(Text("a\x9b31mb\u202e")), Text("\x1b[31mc")), "\x1b]0;title\x07")
    assert acting(without_colours(stream.getvalue())) == set()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_record_never_acts_on_a_terminal(form: Any) -> None:
    formatter = logs.TextFormatter() if form == "text" else logs.JsonFormatter()
    record = logging.makeLogRecord({"msg": "call %s", "args": (HOSTILE,), "fact": HOSTILE + "\n12:00 error"})
    written = formatter.format(record)
    assert acting(written) == set()
    assert written.count("\n") == 0, "a fact cannot begin a line of its own"
    if form == "json":
        assert json.loads(written)["fact"].startswith(HOSTILE)


def test_no_text_of_a_caller_looks_like_a_log_record_of_its_own() -> None:
    title = "x\n03:00:00 error   state 1 is refused  action=store.refused"
    exc_info = (ValueError, ValueError(title), None)
    record = logging.makeLogRecord({"msg": "run 1 faulted: %s", "args": (title,), "exc_info": exc_info})
    first, *others = logs.TextFormatter().format(record).split("\n")
    assert first.endswith("run 1 faulted: x")
    assert len(others) == 3
    assert all(each.startswith("  ") for each in others)


def test_only_one_module_of_the_command_line_writes_to_the_streams() -> None:
    """So that nothing bypasses its escaping."""
    wrong = []
    for file in sorted(Path(iogate.cli.__file__).parent.rglob("*.py")):
        if file.name == "render.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="print")) | ast.Call(func=ast.Name(id="Console")):
                    wrong.append((file.name, node.lineno))
                case ast.Attribute(attr="write" | "writelines" | "buffer", value=ast.Attribute(attr=stream)):
                    if stream in {"stdout", "stderr"}:
                        wrong.append((file.name, node.lineno))
                case ast.Attribute(attr="echo" | "secho" | "print_exc" | "print_exception"):
                    wrong.append((file.name, node.lineno))
    assert wrong == []


def test_data_of_a_caller_never_acts_on_the_terminal_of_an_operator(live: Cli, shop: Place) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J\u202egnp\r\x7f"
    status, response = shop.call("/v1/api/shop/echoing/async", {"title": hostile})
    assert status == 202
    uid = response["uid"]
    looks: list[Callable[[], Any]] = [
        lambda: live("runs", "wait", uid, code=7),
        lambda: live("runs", "show", uid),
        lambda: live("runs", "logs", uid),
        lambda: live("runs", "logs", "-f", uid),
        lambda: live("runs", "list", "--api", "shop/echoing"),
    ]
    for look in looks:
        ran = look()
        assert acting(ran.out + ran.err) == set()
    assert r"\u009b2J\u202egnp" in live("runs", "show", uid).out
    for form in ("json", "yaml"):
        shown = live("runs", "show", uid, "-o", form)
        assert acting(shown.out) == set()
    assert live("runs", "show", uid, "-o", "json").json["input"] == {"title": hostile}


def test_the_wait_of_a_run_that_coalesces_calls_is_described() -> None:
    from iogate.cli.runs.run_display import waiting_text

    waits = {"kind": "coalesce", "task": None, "until": "2026-11-29T12:00:00Z"}
    shown = waiting_text({"waitingFor": waits})
    assert shown == "waits for further calls to coalesce with until 2026-11-29T12:00:00Z"


def test_a_message_of_several_lines_cannot_pass_for_a_field_of_a_run() -> None:
    from iogate.cli.runs.run_display import format_error

    shown = format_error({"message": "a\noutput     fine", "status": 500, "type": "t"})
    assert shown.splitlines()[1] == f"{'':<11}output     fine"
    process = {"code": 3, "stderr": "Traceback\nstatus     fine", "stdout": "half"}
    refused = {"message": "it failed", "status": 500, "type": "t", "responseExcerpt": "no\nstatus     fine"}
    assert [line.strip() for line in format_error(refused).splitlines()][1:3] == [
        *("response | no", "response | status     fine"),
    ]
    shown = format_error({"message": "it failed", "status": 500, "type": "t", "process": process})
    assert [line.strip() for line in shown.splitlines()] == [
        *("error      it failed", "stderr | Traceback", "stderr | status     fine", "stdout | half", "500 t"),
    ]
    with pytest.raises(RunFailed, match=r"^run 1 faulted: it failed; its stderr ends: Traceback"):
        raise_for_outcome(
            {"uid": "1", "status": "faulted", "error": {"message": "it failed", "process": process}},
            None,
            output=True,
        )


def test_an_argument_is_escaped_where_it_is_refused(cli: Cli) -> None:
    ran = cli("explain", "IOG\x1b]0;x\x07", code=8)
    assert acting(ran.err) == set()
    assert r"IOG\u001b]0;x\u0007" in ran.err
