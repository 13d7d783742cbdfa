"""Check of literal inputs of child workflows against their input schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jsonschema_rs

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.schemas import first_error
from iogate.compiler.diagnostics import problem_at
from iogate.compiler.tasks import Child, Task
from iogate.documents.problems import Problem
from iogate.expressions.templates import Literal, names_of
from iogate.messages import listed


def check(definition: Definition, task: Task, body: Child, child: Definition) -> Iterator[Problem]:
    """Check the literal input of a task that runs `child`, unless the schema is invalid or elsewhere."""
    accepted = child.program.flow.input_schema
    if accepted is None or accepted.missing or first_error(accepted.document) is not None:
        return
    schema, names = accepted.document, names_of(body.input)
    at = (*task.location, "run", "workflow", "input" if names else "name")
    if isinstance(body.input, Literal) and isinstance(body.input.value, Mapping):
        errors = jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(body.input.value)
        error = next(iter(errors), None)
        why = None if error is None else error.message
        at = at if error is None or not names else (*at, *error.instance_path)
    elif names:
        wanted = schema.get("required") if isinstance(schema, Mapping) else None
        missing = [name for name in wanted or () if name not in names]
        why = f"it needs {listed(missing)}" if missing else None
    else:
        return  # an expression on the whole: only a run knows its result
    if why is not None:
        message = f"the input of workflow {child.program.name} does not fit its schema: {why}"
        yield problem_at(definition.document, at, "IOG319", message)
