"""The reference pages and the code say the same."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from iogate import settings
from iogate.settings import NAMES, Settings
from iogate.settings.table import SETTINGS
from iogate.store.embedded.server import start_embedded
from tests.cli.conftest import Cli

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = DOCS / "reference"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_meaning_starts_with_the_description_in_the_schema(name: str) -> None:
    description = settings.schema()["properties"][name]["description"]
    assert _plain(_row(name)[2]).startswith(description.rstrip("."))


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_type_is_that_of_the_schema(name: str) -> None:
    told = _plain(_row(name)[0])
    match settings.schema()["properties"][name]:
        case {"enum": words} if name != "error_types":
            assert told == ", ".join(words)
        case {"minimum": low, "maximum": high}:
            assert told.split("\N{EN DASH}") == [str(low), str(high)]
        case {"type": "array"}:
            assert told == "list"
        case {"type": "object"} if name != "publish_key":
            assert told == "map"


def test_the_settings_that_no_message_repeats_are_listed() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    listed = text.partition("iogate never prints a secret: messages omit")[2]
    assert set(re.findall(r"`(\w+)`", listed)) == {name for name, each in SETTINGS.items() if each.sensitive}


def _row(name: str) -> tuple[str, str, str]:
    """Return type, default and meaning of a setting on the reference page."""
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    found = re.search(rf"(?m)^\| `{name}` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text)
    assert found is not None
    return found[1], found[2], found[3]


def _plain(markdown: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")


def _read(name: str, text: str) -> object:
    """Return the value that a documented default such as `64MiB` stands for."""
    type_ = SETTINGS[name].type
    return type_.read(json.loads(text) if type_.form in {"number", "boolean"} else text)


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


def test_a_backup_can_be_opened_as_the_page_says(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "operations/backup.md").read_text(encoding="utf-8")
    backups, check = cli.root / "backups", cli.root / "check"
    back_up, opens = (
        block.replace("/backups", str(backups)).replace("/tmp/iogate-check", str(check))
        for block in BLOCK.findall(page)
    )
    cli("init")
    original = start_embedded(cli.root / ".iogate")
    try:
        cli("apply", "--yes")
        subprocess.run(["sh", "-ec", back_up], check=True)
    finally:
        original.stop()
    pasted, found, _ = opens.partition("iogate serve --port 8099")
    assert found
    ran = subprocess.run(
        ["sh", "-ec", pasted + "echo $IOGATE_DATA_DIR"], check=True, capture_output=True, text=True
    )
    assert ran.stdout == f"{check}\n"
    monkeypatch.setenv("IOGATE_DATA_DIR", str(check))
    copy = start_embedded(check)
    try:
        assert cli("runs", "list", "-o", "json").json["runs"] == []
        cli("disable", "hello/greet")  # it signs with the key of the copy
    finally:
        copy.stop()
