"""Errors of commands on stderr: text for people, and one more line of JSON for programs.

Used by `app` for every error that ends a command. Invariant: the line of JSON is the last one on stderr, so
that a program finds it behind warnings; stdout has the result of the command, or nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from iogate.cli.render import write_stderr
from iogate.errors import UNCODED, IogateError

SCHEMA: Final = "iogate.error/v1"
_OPTION: Final = re.compile(r"(?:-[a-zA-Z]*o|--output)(?:=?(json|yaml))?")


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for machine output, also if it is not valid otherwise."""
    for at, argument in enumerate(arguments):
        if argument == "--":
            return False
        found = _OPTION.fullmatch(argument)
        if found and (found[1] or arguments[at + 1 : at + 2] in (["json"], ["yaml"])):
            return True
    return False


def print_error(error: IogateError, *, as_json: bool = False) -> None:
    """Print an error and its hint on stderr; `as_json`: then also as a line of JSON."""
    code = "" if error.code == UNCODED else f" [{error.code}]"
    first, newline, rest = error.message.partition("\n")
    write_stderr(f"iogate: {first}{code}{newline}{rest}", style="red")
    if error.hint:
        write_stderr(f"  {error.hint}")
    if as_json:
        write_json(error.message, error.exit_code, code=error.code, hint=error.hint, where=error.where)


def write_json(
    message: str, exit_code: int, *, code: str = UNCODED, hint: str = "", where: Sequence[str] = ()
) -> None:
    """Print an error on stderr as one line of JSON."""
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "code": None if code == UNCODED else code,
        "message": message,
        "hint": hint or None,
        "where": list(where),
        "exit": exit_code,
    }
    write_stderr(json.dumps(value, ensure_ascii=False))
