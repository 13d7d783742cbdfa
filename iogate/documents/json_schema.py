"""Recognition of a JSON Schema in a place where a document of ours or of the DSL holds it one level deeper.

Used by the models of API documents and of workflows, to say where the schema belongs.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BeforeValidator

from iogate.documents.base_model import rule_error

_WORDS: Final = frozenset(
    {"$schema", "$ref", "$defs", "type", "properties", "required", "items", "enum", "const"}
    | {"oneOf", "anyOf", "allOf", "additionalProperties", "patternProperties"}
)


def is_json_schema(value: Any) -> bool:
    """Tell whether the value is a mapping with a keyword of JSON Schema."""
    return isinstance(value, dict) and bool(value.keys() & _WORDS)


def reject_bare_schema(name: str, *keys: str, write: str) -> BeforeValidator:
    """Return a check that refuses a JSON Schema where a mapping with `keys` belongs, with the right form."""

    def check(value: Any) -> Any:
        if is_json_schema(value) and not value.keys() & {*keys}:
            raise rule_error(f"a JSON Schema stands directly under {name}", code=6, hint=f"write {write}")
        return value

    return BeforeValidator(check)
