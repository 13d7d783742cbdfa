"""Results of the compiler that travel with a workflow's definition in its program.

Made by `resources`, read by `program.load`. It stands in the JSON of a program under one key that no
workflow can have, so that a run pinned to its program is pinned to all of it, and that
`$workflow.definition` is still the document that was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from iogate.compiler.openapi import Operation

KEY: Final = "$bound"


@dataclass(slots=True, kw_only=True)
class Bound:
    """Resolved references by task, such as `/do/0/call`, and functions from other documents."""

    operations: dict[str, Operation] = field(default_factory=dict)
    """The OpenAPI operation that a task calls."""
    documents: dict[str, str] = field(default_factory=dict)
    """URI of the stored document that a task finds its operation in when it runs."""
    calls: dict[str, str] = field(default_factory=dict)
    """The function that a task calls: a name in `functions`."""
    functions: dict[str, Any] = field(default_factory=dict)
    """Address of a function to its definition, a task."""


def join(definition: Mapping[str, Any], bound: Bound) -> dict[str, Any]:
    """Return the program: the definition with its resolved references, if there are any."""
    found = {name: value for name, value in asdict(bound).items() if value}
    return {**definition, KEY: found} if found else dict(definition)


def part(program: Mapping[str, Any]) -> tuple[Mapping[str, Any], Bound]:
    """Return the definition as it was written, and its resolved references."""
    if KEY not in program:
        return program, Bound()
    definition = {name: value for name, value in program.items() if name != KEY}
    found = dict(program[KEY])
    operations = {name: Operation.load(each) for name, each in found.pop("operations", {}).items()}
    return definition, Bound(operations=operations, **found)
