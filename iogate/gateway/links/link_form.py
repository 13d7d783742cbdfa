"""Form of a link: its fields, made from a JSON Schema, and the data in a form that was sent.

Used by `link_pages` and `validation.link_data`. Pure. Invariant: a form that a browser sends gives the JSON
that a program would send; what cannot be converted stays text, so that the schema names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from iogate import json_pointer
from iogate.gateway.http import decoding
from iogate.gateway.http.decoding import File
from iogate.gateway.http.responses import HTTPError
from iogate.json_values import to_json

Kind = Literal["text", "lines", "number", "integer", "flag", "choice", "json"]

LONG: Final = 200
"""A text that may be longer has a field of several lines."""
_INPUTS: Final = {"date": "date", "email": "email", "uri": "url"}
"""Kinds of inputs by the formats of texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a form: a property of the schema."""

    name: str
    kind: Kind
    label: str
    hint: str
    required: bool
    input: str = "text"
    """Type of the `input` element."""
    choices: tuple[tuple[str, str], ...] = ()
    """Value in the form, and text, of each choice."""
    default: str = ""
    lowest: str | None = None
    highest: str | None = None
    longest: int | None = None


def fields(schema: Mapping[str, Any] | None) -> list[Field]:
    """Return the fields of a link's form for the properties of an object, in their order."""
    properties = (schema or {}).get("properties")
    if schema is None or not isinstance(properties, dict):
        return []
    required = schema.get("required")
    named = required if isinstance(required, list) else []
    return [_field(name, _followed(schema, each), name in named) for name, each in properties.items()]


def read(schema: Mapping[str, Any] | None, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a link's form; an empty field is absent, and an unchecked box is false."""
    left = dict(sent)
    data: dict[str, Any] = {}
    for field in fields(schema):
        value = _without_files(left.pop(field.name, None), File.text)
        if field.kind == "flag":
            data[field.name] = value is not None and value != "false"
        elif isinstance(value, str) and value == "":
            continue
        elif value is not None:
            data[field.name] = _value(field, value) if isinstance(value, str) else value
    return data | {name: _without_files(value, File.to_json) for name, value in left.items()}


def _without_files(value: Any, convert: Callable[[File], Any]) -> Any:
    """Return the value of a name in a form, or the list of its values, with each file converted."""
    if isinstance(value, list):
        return [_without_files(item, convert) for item in value]
    return convert(value) if isinstance(value, File) else value


def shown(field: Field, data: Mapping[str, Any]) -> str:
    """Return the text of a field when the form of a link is shown again with the data that were sent."""
    if field.name not in data:
        return ""
    value = data[field.name]
    if field.kind == "choice":
        return to_json(value)
    return value if isinstance(value, str) else to_json(value)


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Field:  # noqa: FBT001 - a fact of the schema
    kind = _kind(schema)
    choices = tuple((to_json(each), _text(each)) for each in schema.get("enum") or ())
    default = schema.get("default")
    title, hint = schema.get("title"), schema.get("description")
    longest = schema.get("maxLength")
    return Field(
        name=name,
        kind=kind,
        label=title if isinstance(title, str) and title else name,
        hint=hint if isinstance(hint, str) else "",
        required=required,
        input=_INPUTS.get(str(schema.get("format")), "text"),
        choices=choices,
        default="" if default is None else to_json(default) if kind == "choice" else _text(default),
        lowest=_bound(schema.get("minimum")),
        highest=_bound(schema.get("maximum")),
        longest=longest if isinstance(longest, int) else None,
    )


def _kind(schema: Mapping[str, Any]) -> Kind:
    if isinstance(schema.get("enum"), list):
        return "choice"
    declared = schema.get("type")
    types = declared if isinstance(declared, list) else [declared]
    kind = next((each for each in types if each != "null"), None)
    match kind:
        case "boolean":
            return "flag"
        case "integer":
            return "integer"
        case "number":
            return "number"
        case "string":
            longest = schema.get("maxLength")
            return "lines" if isinstance(longest, int) and longest > LONG else "text"
        case _:
            return "json"


def _value(field: Field, text: str) -> Any:
    match field.kind:
        case "choice":
            known = {value for value, _ in field.choices}
            return decoding.json(text.encode()) if text in known else text
        case "integer" | "number" | "json":
            try:
                return decoding.json(text.encode("utf-8", "replace"))
            except HTTPError:
                return text
        case "lines":
            return text.replace("\r\n", "\n")
        case _:
            return text


def _followed(root: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    """Return the schema of a form's field, or the one that it refers to."""
    for _ in range(8):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str):
            break
        try:
            schema = json_pointer.resolve_fragment(root, reference)
        except LookupError:
            break
    return schema if isinstance(schema, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)


def _bound(value: Any) -> str | None:
    return to_json(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
