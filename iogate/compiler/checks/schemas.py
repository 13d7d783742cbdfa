"""Check of JSON Schemas: they fit their own standard, their patterns compile, their references resolve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Never

import jsonschema_rs

from iogate import json_pointer
from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, Document, did_you_mean, problem_at, warning_at
from iogate.documents.fixes import RenameKey
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.messages import listed, nearest, quoted

_NO_DIALECT = "Unknown meta-schema"
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONES = (
    "items",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
)
_KEYWORDS = frozenset(
    (
        *_MAPS,
        *_LISTS,
        *_ONES,
        *("$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary", "$comment"),
        *("type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum"),
        *("exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems"),
        *("maxContains", "minContains", "maxProperties", "minProperties", "required"),
        *("dependentRequired", "title", "description", "default", "deprecated", "readOnly", "writeOnly"),
        *("examples", "format", "contentEncoding", "contentMediaType", "contentSchema"),
        *("nullable", "example", "discriminator", "xml", "externalDocs", "dependencies", "additionalItems"),
    )
)


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    """Check every inline schema of a workflow. External ones are checked where they are read."""
    del context
    for schema in definition.index.schemas:
        if schema.element.inline and schema.element.is_json:
            at = (*schema.pointer, "document")
            yield from problems(definition.document, at, schema.element.document)


def problems(document: Document, pointer: Pointer, schema: object) -> Iterator[Problem]:
    """Report the first error of the JSON Schema at `pointer`; without one, warn of misspelt keywords."""
    found = first_error(schema)
    if found is None:
        yield from _strangers(document, pointer, schema)
        return
    path, why = found
    value = json_pointer.value_at(schema, path)
    near = nearest(value, _TYPES) if path[-1:] == ("type",) and isinstance(value, str) else None
    yield problem_at(
        document, (*pointer, *path), "IOG304", f"not a JSON Schema: {why}", hint=did_you_mean(near)
    )


def first_error(schema: Any) -> tuple[Pointer, str] | None:
    """Check a JSON Schema by its standard; return where and why it is invalid, None if it is valid."""
    try:
        # By the dialect that `$schema` names, as the engine does; 2020-12 where it names none.
        jsonschema_rs.validator_for(schema, validate_formats=False, retriever=_nothing)
    except jsonschema_rs.ValidationError as error:
        return tuple(error.instance_path) or _place(schema, error.message), _readable(error)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return (), str(error).partition("\n")[0]
    return None


def _place(schema: object, message: str) -> Pointer:
    return ("$schema",) if message.startswith(_NO_DIALECT) else _reference(schema, message)


def _reference(schema: object, message: str) -> Pointer:
    """Return where a JSON Schema has the `$ref` that could not be resolved; the error does not say."""
    match schema:
        case Mapping():
            reference = schema.get("$ref")
            if isinstance(reference, str) and f"'{reference.removeprefix('#')}'" in message:
                return ("$ref",)
            steps = tuple(schema.items())
        case list():
            steps = tuple(enumerate(schema))
        case _:
            return ()
    for step, member in steps:
        below = _reference(member, message)
        if below:
            return (step, *below)
    return ()


def _readable(error: jsonschema_rs.ValidationError) -> str:
    message = error.message
    if error.instance_path[-1:] == ["type"] and "anyOf" in message:
        return f"{message.partition(' is not valid')[0]} is no type; types are {listed(_TYPES)}"
    if message.startswith(_NO_DIALECT):
        dialect = message.split("'")[1]
        return f"{quoted(dialect)} is no dialect that is known here; without $schema it is read as 2020-12"
    if "is not present in a registry" in message:
        reference = message.split("'")[1]
        return (
            f"{quoted(reference)} is outside the schema, and references are never fetched; put it under $defs"
        )
    return message


def _nothing(uri: str) -> Never:
    raise ValueError(f"references are not fetched: {uri}")


def _strangers(document: Document, pointer: Pointer, schema: object) -> Iterator[Problem]:
    """Warn of keywords that JSON Schema ignores in silence, and that look like ones it knows."""
    if not isinstance(schema, Mapping):
        return
    for key, value in schema.items():
        if key not in _KEYWORDS:
            near = nearest(key, _KEYWORDS)
            if near is not None and not key.startswith("x-"):
                yield warning_at(
                    document,
                    (*pointer, key),
                    "IOG505",
                    f"{quoted(key)} is no keyword of JSON Schema: it has no effect",
                    key=True,
                    hint=did_you_mean(near),
                    fix=RenameKey(pointer=(*pointer, key), name=near),
                )
        elif key in _MAPS and isinstance(value, Mapping):
            for name, member in value.items():
                yield from _strangers(document, (*pointer, key, name), member)
        elif key in _LISTS and isinstance(value, list):
            for index, member in enumerate(value):
                yield from _strangers(document, (*pointer, key, index), member)
        elif key in _ONES:
            yield from _strangers(document, (*pointer, key), value)
