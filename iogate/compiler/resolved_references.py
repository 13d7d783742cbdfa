"""References of a workflow that the compiler resolved: they travel with the definition in its program.

Made by `resources.collector`, read by `program.load`. They are one member of the JSON of a program, with a
name that no workflow can have, so that a run pinned to its program is pinned to all of it, and that
`$workflow.definition` is still the document that was written.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from iogate.compiler.openapi import Operation
from iogate.compiler.variables import KEY
from iogate.json_values import JsonObject


@dataclass(slots=True, kw_only=True)
class References:
    """Resolved references by task, such as `/do/0/call`, and functions from other documents."""

    operations: dict[str, Operation] = field(default_factory=dict)
    """The OpenAPI operation that a task calls."""
    documents: dict[str, str] = field(default_factory=dict)
    """URI of the stored document that a task finds its operation in when it runs."""
    foreign: list[str] = field(default_factory=list)
    """The tasks with a stored document at a host that only a fetched document names."""
    calls: dict[str, str] = field(default_factory=dict)
    """The function that a task calls: a name in `functions`."""
    functions: dict[str, Any] = field(default_factory=dict)
    """Address of a function to its definition, a task."""
    variables: dict[str, Any] | None = None
    """Values of the variables that the workflow reads as `$runtime.vars`; None: it reads none."""


_NONE: Final = References()


def join(definition: JsonObject, references: References) -> dict[str, Any]:
    """Return the JSON of a program: the definition with its resolved references, if there are any."""
    if references == _NONE:  # quicker to tell than to copy
        return dict(definition)
    found = {name: value for name, value in asdict(references).items() if value}
    return {**definition, KEY: found} if found else dict(definition)


def split(program: JsonObject) -> tuple[JsonObject, References]:
    """Split the JSON of a program into the definition as it was written and its resolved references."""
    if KEY not in program:
        return program, References()
    definition = {name: value for name, value in program.items() if name != KEY}
    found = dict(program[KEY])
    operations = {name: Operation.load(each) for name, each in found.pop("operations", {}).items()}
    return definition, References(operations=operations, **found)
