"""Variables of a project that a workflow reads as `$runtime.vars`: found in its texts, kept in its program.

Called by compile, `schedules` and the checks. Pure. Invariant: a program holds each variable that one of its
expressions can read, so that a run is pinned to the values of its revision.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from iogate.json_values import JsonObject

KEY: Final = "$bound"
"""Member of a program with all that the compiler resolved. Part of the stored format."""
MEMBER: Final = "variables"
"""Member of the references of a program. Part of the stored format."""

_RUNTIME: Final = re.compile(r"\$\s*runtime\b")
_STEP: Final = re.compile(r'\.([A-Za-z_]\w*)|\.?\[\s*"([^"\\]*)"\s*\]|\."([^"\\]*)"', re.ASCII)


@dataclass(frozen=True, slots=True)
class Reads:
    """Variables that a text reads."""

    names: frozenset[str] = frozenset()
    vars_: bool = False
    """It reads `$runtime.vars` as a whole."""
    runtime: bool = False
    """It reads `$runtime` as a whole, or in a way that is not analysed."""

    def __or__(self, other: Reads) -> Reads:
        return Reads(self.names | other.names, self.vars_ or other.vars_, self.runtime or other.runtime)

    @property
    def explicit(self) -> bool:
        return self.vars_ or bool(self.names)


NOTHING: Final = Reads()


def reads(text: str) -> Reads:
    """Return the project's variables that an expression, or a text with expressions, may read."""
    if "runtime" not in text:
        return NOTHING
    found = NOTHING
    for mention in _RUNTIME.finditer(text):
        member = _STEP.match(text, mention.end())
        if member is None:
            found |= Reads(runtime=True)
        elif _name(member) == "vars":
            variable = _STEP.match(text, member.end())
            found |= Reads(vars_=True) if variable is None else Reads(frozenset({_name(variable)}))
    return found


def may_read(program: JsonObject) -> bool:
    """Tell whether a program may read variables of the project; most do not, and this is known at once."""
    value: Any = program  # whatever cannot be dumped raises
    try:
        return b"runtime" in marshal.dumps(value)  # it keeps texts as they are, and is quick
    except (ValueError, TypeError, RecursionError):  # another check reports such a value
        return True


def embed(program: JsonObject, declared: JsonObject) -> dict[str, Any]:
    """Return the program with the values of exactly the variables that it reads.

    External functions, which are in the references of the program, do not see the project's variables.
    """
    if not may_read(program):
        return dict(program)
    found = NOTHING
    for text in _texts({name: value for name, value in program.items() if name != KEY}):
        found |= reads(text)
    # A program that only might read variables stays the same in a project without any.
    if not found.explicit and not (found.runtime and declared):
        return dict(program)
    whole = found.vars_ or found.runtime
    values = {name: value for name, value in declared.items() if whole or name in found.names}
    return {**program, KEY: {**program.get(KEY, {}), MEMBER: values}}


def embedded(program: JsonObject) -> JsonObject:
    """Return the project's variables in a program."""
    found: JsonObject = program.get(KEY, {}).get(MEMBER, {})
    return found


def _name(step: re.Match[str]) -> str:
    return step[1] or step[2] or step[3] or ""


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for member in value.values():
                yield from _texts(member)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
