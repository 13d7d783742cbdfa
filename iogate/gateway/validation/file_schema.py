"""Schemas of APIs that take files: a value with `format: binary` has to be a file of the call.

Used by `schema`. Pure. Invariant: the gateway has made each valid value at such a place, since
`call_input` refuses references of callers; no caller can send metadata, or a path, in place of a file. The
message about a place without a file names the part to send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from iogate import json_pointer
from iogate.file_references import MEMBER, PREFIX
from iogate.messages import quoted

if TYPE_CHECKING:
    import jsonschema_rs

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


def reason(schema: Any, error: jsonschema_rs.ValidationError) -> str | None:
    """Return the reason of an error of `schema`, of `require_files`, about a missing file; else None."""
    missing: object = getattr(error.kind, "property", None) if error.kind.name == "required" else None
    at = _at(schema, error.schema_path[:-1])
    steps = [each for each in error.instance_path if isinstance(each, str)]
    if isinstance(missing, str) and missing != MEMBER:
        # The whole object lacks the property: is that one a file, or a list of files?
        own = _at(at, ("properties", missing))
        if _is_file(_resolved(schema, own)) or _is_file(_resolved(schema, _at(own, ("items",)))):
            return f"the file {quoted(missing)} is missing; {_expected(missing)}"
        return None
    if at == _REFERENCE:
        steps = steps[:-1]  # the member of an object that a caller has made up
    elif not _is_file(at) or (error.kind.name != "type" and missing is None):
        return None
    return f"is not a file; {_expected(steps[-1] if steps else '')}"


def _expected(name: str) -> str:
    part = f"the part {quoted(name)}" if name else "a part"
    return f"send it as {part} of a multipart/form-data body, with a filename"


def _is_file(schema: Any) -> bool:
    """Tell whether `require_files` has made a schema demand a file."""
    if not isinstance(schema, dict) or schema.get("format") != "binary":
        return False
    reference = _at(schema, ("properties", MEMBER))
    return _REFERENCE in (reference, _at(reference, ("allOf", 1)))


def _resolved(whole: Any, schema: Any) -> Any:
    """Return the schema that the schema of a file refers to within the whole; else the given one."""
    named = schema.get("$ref") if isinstance(schema, dict) else None
    if not isinstance(named, str):
        return schema
    try:
        return json_pointer.resolve_fragment(whole, named)
    except LookupError:
        return schema


def _at(value: Any, path: Sequence[str | int]) -> Any:
    """Return the value that may be a file at a path; None if there is none."""
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value
