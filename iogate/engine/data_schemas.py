"""JSON Schemas of the data flow, compiled once per program and cached as long as the program.

Called by `execution_context`. Invariants: validation reads only schema and value (references to the network
are refused), and its messages show no data.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import jsonschema_rs

from iogate.compiler.tasks import Schema
from iogate.errors import WorkflowError

_validators: WeakKeyDictionary[Schema, jsonschema_rs.Validator] = WeakKeyDictionary()


def require(schema: Schema, value: Any, label: str) -> None:
    """Validate data in the data flow of a run by its JSON Schema; messages call it `label`, as in `input`.

    Raises WorkflowError: `validation` if the value does not match, `configuration` if the schema is
    invalid or not in the program.
    """
    validator = _validators.get(schema)
    if validator is None:
        validator = _validators[schema] = _compile(schema, label)
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        where = "".join(f"/{part}" for part in error.instance_path)
        raise WorkflowError(
            "validation",
            detail=f"{label} does not match its schema: at {where or 'its root'}: {error.message}",
        ) from None


def _compile(schema: Schema, label: str) -> jsonschema_rs.Validator:
    if schema.missing:
        raise WorkflowError(
            "configuration", detail=f"the schema of the {label} is not in the revision: {schema.missing}"
        )
    try:
        return jsonschema_rs.validator_for(
            schema.document, mask="the value", retriever=_refuse, validate_formats=True
        )
    except (ValueError, jsonschema_rs.ValidationError) as error:
        reason = getattr(error, "message", None) or str(error).split("\n", 1)[0]
        raise WorkflowError(
            "configuration", detail=f"the schema of the {label} is not a valid JSON Schema: {reason}"
        ) from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"a schema may refer only to itself, not to {uri}")
