"""Schemas of APIs that take files: a value with `format: binary` has to be a file of the call.

Used by `schema`. Pure. Invariant: the gateway has made each valid value at such a place, since
`call_input` refuses references of callers; no caller can send metadata, or a path, in place of a file.
"""

from __future__ import annotations

from typing import Any, Final

from iogate.file_references import MEMBER, PREFIX

_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas by name."""
_DATA: Final = frozenset({"const", "enum", "default", "example", "examples"})
"""Keywords that hold data, which only looks like a schema."""
_REFERENCE: Final = {"type": "string", "pattern": f"^{PREFIX}[0-9a-f]{{64}}$"}


def require_files(schema: Any) -> Any:
    """Return a schema in which `format: binary` of an object demands the reference of a file."""
    if isinstance(schema, list):
        return [require_files(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {keyword: _inner(keyword, value) for keyword, value in schema.items()}
    types = schema.get("type", "object")
    if schema.get("format") != "binary" or "object" not in ([types] if isinstance(types, str) else types):
        return changed
    own = changed.get("properties", {})
    reference = {"allOf": [own[MEMBER], _REFERENCE]} if MEMBER in own else _REFERENCE
    return {
        "type": "object",
        **changed,
        "properties": {**own, MEMBER: reference},
        "required": [*(each for each in schema.get("required", ()) if each != MEMBER), MEMBER],
    }


def _inner(keyword: str, value: Any) -> Any:
    if keyword in _NAMED and isinstance(value, dict):
        return {name: require_files(each) for name, each in value.items()}
    return value if keyword in _DATA else require_files(value)
