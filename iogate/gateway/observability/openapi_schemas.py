"""Schemas of inputs in the OpenAPI document, and the parameters and bodies that follow from them.

Used by `openapi`. Pure. Invariant: a local reference in the schema of an API means the same in the document,
whose root is another one.
"""

from __future__ import annotations

from typing import Any, Final

from iogate.json_pointer import escape

Json = dict[str, Any]

_VALUES: Final = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose values are no schemas."""
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords with schemas by name, of which one may be `enum`."""
_COMPOSED: Final = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "const", "enum"})
"""Keywords by which a schema without a type may accept other values than objects."""
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_METADATA: Final = frozenset({"content_type", "filename", "sha256"})
"""Properties by which an object is recognised as a file."""
_PLACES: Final = "#/components/schemas/"


def name_of(api: str) -> str:
    """Return the name of the schema of an API's input among the shared OpenAPI schemas."""
    return f"{api.replace('/', '.')}.input"


def embedded(schema: Any, name: str) -> Any:
    """Return a schema for OpenAPI whose references to its own root are to the shared schema `name`.

    References below an `$id` stay, since that is their root.
    """
    return _rooted(schema, _PLACES + escape(name))


def _rooted(value: Any, root: str) -> Any:
    match value:
        case {"$id": _}:
            return value
        case dict():
            found: Json = {}
            for key, item in value.items():
                if (
                    key == "$ref"
                    and isinstance(item, str)
                    and item.startswith("#")
                    and item[1:2] in ("", "/")
                ):
                    found[key] = root + item[1:]
                elif key in _VALUES:
                    found[key] = item
                elif key in _NAMED and isinstance(item, dict):
                    found[key] = {each: _rooted(below, root) for each, below in item.items()}
                else:
                    found[key] = _rooted(item, root)
            return found
        case list():
            return [_rooted(item, root) for item in value]
        case _:
            return value


def query_parameters(schema: Any, examples: dict[str, Json]) -> list[Json]:
    """Return the OpenAPI parameters of a query with this schema; `examples` are queries by name."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return []
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    return [
        {
            "name": name,
            "in": "query",
            "required": name in needed,
            **_parameter(held),
            **_parameter_examples(name, examples),
        }
        for name, held in schema["properties"].items()
        if name
    ]


def _parameter_examples(name: str, examples: dict[str, Json]) -> Json:
    found = {title: {"value": query[name]} for title, query in examples.items() if name in query}
    return {"examples": found} if found else {}


def _parameter(schema: Any) -> Json:
    """Return the OpenAPI form of a parameter: objects are sent as JSON, lists by repetition."""
    kinds = schema.get("type") if isinstance(schema, dict) else None
    if kinds == "object":
        return {"content": {"application/json": {"schema": schema}}}
    return {"schema": schema}


def request_body(schema: Any, named: Any, examples: dict[str, Any]) -> Json:
    """Return the OpenAPI request body of an API with this schema; `examples` are bodies by name.

    `named` stands for the schema in the document: a reference to it, or the schema itself.
    """
    kinds: tuple[str, ...] = ("application/json",)
    if _is_object(schema) and not _is_nested(schema):
        kinds = (*kinds, *_FORMS)
    content: Json = {kind: {"schema": named} for kind in kinds}
    if examples:
        content["application/json"]["examples"] = {name: {"value": value} for name, value in examples.items()}
    body: Json = {"content": content}
    if isinstance(schema, dict) and (schema.get("required") or not _is_object(schema)):
        body["required"] = True
    return body


def needs_file(schema: Any) -> bool:
    """Tell, for OpenAPI, whether an input is valid only with a file, which JSON cannot have."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return False
    required = [properties.get(name) for name in schema.get("required", ())]
    return any(isinstance(each, dict) and each.get("format") == "binary" for each in required)


def form_with_files(schema: Any) -> Json:
    """Return the OpenAPI schema of a form with files: binary data instead of their metadata."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return {"type": "object", "additionalProperties": True}
    return {**schema, "properties": {name: _sent_field(held) for name, held in properties.items()}}


def _sent_field(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    inner = schema.get("properties")
    named = inner.keys() if isinstance(inner, dict) else ()
    if schema.get("format") == "binary" or _METADATA.intersection(named):
        described = {"description": schema["description"]} if "description" in schema else {}
        return {"type": "string", "format": "binary", **described}
    if isinstance(schema.get("items"), dict):
        return {**schema, "items": _sent_field(schema["items"])}
    return schema


def _is_object(schema: Any) -> bool:
    """Tell, for OpenAPI, whether a schema accepts a form, which is an object of texts."""
    if not isinstance(schema, dict):
        return schema is not False
    kinds = schema.get("type", "array" if _COMPOSED & schema.keys() else "object")
    return kinds == "object" or (isinstance(kinds, list) and "object" in kinds)


def _is_nested(schema: Any) -> bool:
    """Tell, for OpenAPI, whether a schema has lists of objects or lists, which a form cannot express."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for held in properties.values() if isinstance(properties, dict) else ():
        if isinstance(held, dict) and (held.get("type") == "array" or "items" in held):
            items = held.get("items")
            if not isinstance(items, dict) or items.get("type") not in (
                "string",
                "integer",
                "number",
                "boolean",
            ):
                return True
    return False


def part(schema: Any, name: str) -> Any:
    """Return the schema of one member of a whole request for OpenAPI; `{}` if it is not described."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties.get(name, {}) if isinstance(properties, dict) else {}
