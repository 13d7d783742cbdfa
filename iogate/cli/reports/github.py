"""GitHub Actions annotations: one workflow command per problem, which GitHub shows in the changed files.

Escaping: a message must not contain a line break or a raw `%`, a property no `:` or `,` either; otherwise
text from a file could end the command and start another one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.security.control_characters import escape

if TYPE_CHECKING:
    from iogate.documents.problems import Problem

_COMMANDS = {"error": "error", "warning": "warning", "advice": "notice"}


def render(problems: Iterable[Problem]) -> str:
    """Return one line per problem, in the form of GitHub annotations."""
    folder = _folder_in_repository()
    return "\n".join(_line(problem, folder) for problem in problems)


def _folder_in_repository() -> str:
    """Return the folder of the project within the checkout, which annotations need in their paths."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    here = Path.cwd().resolve()
    if not workspace or not here.is_relative_to(Path(workspace).resolve()):
        return ""
    return here.relative_to(Path(workspace).resolve()).as_posix().removeprefix(".")


def _line(problem: Problem, folder: str) -> str:
    properties = {
        "file": f"{folder}/{problem.path}" if folder else problem.path,
        "line": str(problem.line),
        "col": str(problem.column),
        "endColumn": str(problem.column + max(problem.length, 1)),
        "title": f"iogate {problem.code}",
    }
    shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    text = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
    return f"::{_COMMANDS[problem.severity]} {shown}::{_data(text)}"


def _data(text: str) -> str:
    return escape(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
