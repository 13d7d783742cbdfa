"""Check of literal inputs of child workflows against their input schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from iogate.compiler import outline
from iogate.compiler.checks.expressions import holds_expression, is_loose
from iogate.compiler.checks.schemas import first_fault
from iogate.compiler.faults import Placed, fault
from iogate.compiler.outline import Pointer
from iogate.documents.problems import Problem, listed


def check(document: Placed, pointer: Pointer, child: Placed) -> Iterator[Problem]:
    """Check the `run.workflow` at `pointer`; a schema of another file, or a wrong one, is not looked at."""
    schema = ((child.data.get("input") or {}).get("schema") or {}).get("document")
    if schema is None or first_fault(schema) is not None:
        return
    given: Mapping[str, Any] | str = outline.at(document.data, pointer).get("input") or {}
    at = (*pointer, "input") if given else (*pointer, "name")
    if isinstance(given, str):
        return  # an expression on the whole: what it gives is known to a run only
    if holds_expression(given, loose=is_loose(document.data)):
        wanted = schema.get("required") if isinstance(schema, Mapping) else None
        missing = [name for name in wanted or () if name not in given]
        why = f"it needs {listed(missing)}" if missing else None
    else:
        error = next(
            iter(jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(given)), None
        )
        why = None if error is None else error.message
        at = at if error is None or not given else (*at, *error.instance_path)
    if why is not None:
        head = child.data["document"]
        name = f"{head['namespace']}/{head['name']}:{head['version']}"
        yield fault(document, at, "IOG319", f"the input of workflow {name} does not fit its schema: {why}")
