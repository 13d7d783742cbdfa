"""Plan as text: one line for each meaning, with colours on a terminal only."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from iogate.cli.plans.plan_text import plan_lines
from iogate.cli.render import Screen
from iogate.operators.gates import override_json
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.plan import ObjectChange, Plan
from iogate.store.revisions.gate_states import Override
from tests.cli.test_terminal import Terminal, without_colours

CHANGE = ObjectChange(
    action="delete",
    type="api",
    id="a/b",
    meanings=(Meaning(kind="api.removed", text="gone\n+ api a/forged"),),
    source="apis.d/a\nb.yaml",
)
PLAN = Plan(changes=(CHANGE,))


def overridden(reason: str) -> list[dict[str, Any]]:
    override = Override(enabled=False, author="ada\n", reason=reason, set_at_ms=0, expires_at_ms=None)
    return [{"api": "a/b", **override_json(override)}]


def test_no_text_of_a_document_or_a_reason_forms_a_line() -> None:
    assert plan_lines(PLAN, overridden("x\n+ api a/forged")) == [
        r"- api a/b  (apis.d/a\nb.yaml)",
        r"    BREAKING   gone\n+ api a/forged",
        r"! override a/b: disabled by ada\n: x\n+ api a/forged",
        "",
        "Plan: 0 to add, 0 to change, 1 to delete (1 breaking)",
    ]


def test_a_terminal_shows_colours_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    for line in plan_lines(PLAN):
        Screen().show(line)
    assert "\x1b[31m- api a/b" in screen.getvalue()
    assert "\x1b[1;31m    BREAKING" in screen.getvalue()


def test_a_terminal_wraps_long_lines_below_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    text = "input schema narrowed: " + ", ".join(f"/member{number} is required" for number in range(9))
    long = ObjectChange(
        action="change", type="api", id="a/b", meanings=(Meaning(kind="input.narrowed", text=text),)
    )
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    for line in plan_lines(Plan(changes=(long,)), overridden("because " * 20)):
        Screen().show(line)
    lines = without_colours(screen.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()).count(text) == 1, "nothing is lost"
    assert all(line.startswith(" " * 15) for line in lines[2:4])
    monkeypatch.setattr(sys, "stdout", pipe := io.StringIO())
    for line in plan_lines(Plan(changes=(long,))):
        Screen().show(line)
    assert text in pipe.getvalue(), "a pipe gets one line for each meaning"
