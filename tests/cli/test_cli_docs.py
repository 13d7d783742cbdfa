"""The reference pages and the code say the same."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

from iogate.settings import NAMES, Settings
from iogate.settings.table import KINDS
from tests.cli.conftest import Cli

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
ROW = re.compile(r"(?m)^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$")


def test_every_setting_is_documented_once() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    assert sorted(name for name, _, _ in ROW.findall(text)) == sorted(NAMES)


def test_documented_defaults_are_the_real_ones() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    documented = {name: default.strip("` ") for name, default, _ in ROW.findall(text)}
    for field in fields(Settings):
        if field.default is not MISSING and field.default not in {None, ()}:
            text = documented[field.name]
            assert text == str(field.default) or _read(field.name, text) == field.default, field.name


def _read(name: str, text: str) -> object:
    """Return the value that a documented default such as `64MiB` stands for."""
    kind = KINDS[name]
    return kind.read(json.loads(text) if kind.form in {"number", "boolean"} else text)


def test_every_command_is_documented(cli: Cli) -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    for name in command_names(cli):
        assert f"`iogate {name}" in text, name


def test_no_command_is_documented_that_does_not_exist(cli: Cli) -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    known = command_names(cli)
    for heading in re.findall(r"(?m)^### `iogate ([a-z ]+?)(?: [A-Z\[(-].*)?`$", text):
        assert heading in known, heading


def command_names(cli: Cli) -> set[str]:
    """All commands, those of groups as `group name`."""
    names: set[str] = set()
    for name in listed(cli("--help").out):
        under = listed(cli(name, "--help").out)
        names |= {f"{name} {each}" for each in under} if under else {name}
    return names


def listed(help_text: str) -> list[str]:
    _, found, commands = help_text.partition("Commands:\n")
    return re.findall(r"(?m)^  ([a-z]+)(?: |$)", commands) if found else []
