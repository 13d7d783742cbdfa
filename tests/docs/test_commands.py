"""The page of commands and the command line say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from iogate import errors
from iogate.cli.app import INTERRUPTED, make_app
from iogate.cli.session import CHANGES
from tests.docs.pages import DOCS, names, rows, sections

PAGE = DOCS / "reference" / "commands.md"
EVERYWHERE = {"-C", "-o", "--output", "-q", "--quiet", "--env", "--profile", "--json", "--jq", "-h", "--help"}
HEADING = re.compile(r"`iogate ([a-z]+(?: [a-z]+)?)(?: .*)?`")


def walk(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, by its name; groups are left out."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for each, found in below.items():
        yield from walk(found, f"{name} {each}".strip())


COMMANDS = dict(walk(typer.main.get_command(make_app())))


def options(command: Any) -> set[str]:
    """What stands before a value or for itself: --name, -f."""
    found = {option for each in command.params if each.param_type_name == "option" for option in each.opts}
    return found - EVERYWHERE


def documented() -> dict[str, str]:
    return {
        found[1]: section
        for heading, section in sections(PAGE).items()
        if (found := HEADING.fullmatch(heading)) is not None
    }


def listed(section: str) -> set[str]:
    """Options in the first column of a section's tables."""
    return {part.split()[0] for cells in rows(section) for part in names(cells[0]) if part.startswith("-")}


def test_every_command_has_a_section_and_no_other() -> None:
    assert documented().keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_section_has_the_options_that_the_command_has(name: str) -> None:
    assert listed(documented()[name]) == options(COMMANDS[name])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_section_has_an_example(name: str) -> None:
    assert re.search(rf"(?m)^    iogate (-C shop )?{name}\b", documented()[name])


def test_common_options_are_documented_once() -> None:
    assert listed(sections(PAGE)["Commands"]) == EVERYWHERE


def test_the_exit_codes_are_those_of_the_errors() -> None:
    told = {int(cells[0]) for cells in rows(sections(PAGE)["Exit codes"])}
    raised = {each.exit_code for each in subclasses(errors.IogateError)}
    assert told == raised | {0, errors.IogateError.exit_code, CHANGES, INTERRUPTED}


def subclasses(root: type[errors.IogateError]) -> Iterator[type[errors.IogateError]]:
    for each in root.__subclasses__():
        yield each
        yield from subclasses(each)
