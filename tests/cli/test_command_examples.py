"""The end of each command's `--help`: examples that are command lines, and that the page of commands has."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main

from iogate.cli import last_run
from iogate.cli.app import make_app
from iogate.cli.command_examples import EXAMPLES
from iogate.cli.json_fields import with_empty_lists
from tests.cli.conftest import Cli
from tests.docs.test_commands import COMMANDS, PAGE


def test_every_command_has_examples() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_examples_are_command_lines_that_the_page_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_run, "_uid", lambda text: text.replace("@last", "1"))
    page = PAGE.read_text(encoding="utf-8")
    for line in EXAMPLES[name]:
        assert f"    {line}\n" in page
        words = shlex.split(line)[1:]
        if ">" in words or "<" in words:
            words = words[: next(at for at, word in enumerate(words) if word in "<>")]
        command = typer.main.get_command(make_app())
        parse(command, with_empty_lists(words, command), name)


def parse(command: Any, words: list[str], name: str) -> None:
    """Parse a command line as `iogate` does, without running it."""
    context = command.make_context("iogate", list(words))
    for _ in name.split():
        found, command, rest = context.command.resolve_command(
            context, context._protected_args + context.args
        )
        context = command.make_context(found, rest, parent=context)
    assert context.command_path == f"iogate {name}"


def test_the_help_ends_with_the_examples(cli: Cli) -> None:
    shown = cli("runs", "show", "--help").out
    lines = ("Examples:", *(f"  {line}" for line in EXAMPLES["runs show"]))
    assert [line[2:] for line in shown.splitlines()[-3:]] == list(lines)
