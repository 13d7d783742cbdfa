"""The kinds of tasks and of calls: the one table of both.

Used by the models of the DSL, the reader of definitions, the checks and the console. Pure, so that a worker
loads programs, and a gateway shows them, without the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KINDS: Final[tuple[str, ...]] = (
    "call",
    "do",
    "emit",
    "for",
    "fork",
    "listen",
    "raise",
    "run",
    "set",
    "switch",
    "try",
    "wait",
)
"""Keywords that make a task."""
CALLS: Final = ("http", "openapi", "grpc", "asyncapi", "a2a", "mcp")
"""Values of `call` that are protocols; every other one names a function."""


def kinds_of(task: Mapping[str, object]) -> list[str]:
    """Return the kinds of a task by its keys; `do` counts unless it is part of a `for`."""
    found = [key for key in KINDS if key in task]
    if "for" in found and "do" in found:
        found.remove("do")
    return found


def kind_of(task: Mapping[str, object]) -> str:
    """Return the kind of a valid task by its keys; an empty text if it has none."""
    return next(iter(kinds_of(task)), "")


def extended_kinds(extend: str) -> tuple[str, ...]:
    """Return the kinds of tasks that the `extend` of an extension selects."""
    match extend:
        case "all":
            return KINDS
        case "composite":
            return ("do", "fork")
        case _:
            return (extend,)
