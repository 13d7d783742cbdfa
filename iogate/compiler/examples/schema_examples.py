"""Example values of JSON Schemas, for calls that no debug case describes.

Used by the documentation of APIs and by the banner of `up`. Pure. Invariant: a returned value is valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from iogate import json_pointer
from iogate.json_values import JsonObject

MAX_DEPTH: Final = 20
MAX_LENGTH: Final = 1000
"""Most characters of a text."""
MAX_VALUES: Final = 1000
"""Most values that an example consists of."""
FORMATS: Final[Mapping[str, str]] = {
    "date": "2030-01-31",
    "date-time": "2030-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT5M",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/example",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/example",
}


class NoExample(Exception):
    """Error: no example value can be generated for a schema."""


def example_value(schema: Any) -> Any:
    """Return a small example value that the schema accepts.

    Raises NoExample if the schema has constraints that this module cannot satisfy, such as a pattern, or
    needs more than MAX_VALUES values.
    """
    import jsonschema_rs  # noqa: PLC0415 - it takes time, and few commands need it

    value = _Maker(schema).make(schema)
    try:
        accepted = jsonschema_rs.validator_for(
            schema, validate_formats=True, retriever=_refuse_references
        ).is_valid(value)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise NoExample from error
    if not accepted:
        raise NoExample
    return value


def _refuse_references(uri: str) -> NoReturn:
    raise ValueError(uri)


class _Maker:
    """Maker of one example value, with a count of its parts: repeated items of repeated items multiply."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._made = 0

    def make(self, schema: Any, depth: int = 0) -> Any:
        """Return an example value of a part of the schema, `depth` steps below its root.

        Raises NoExample if the part is too deep, or the value has too many parts.
        """
        self._made += 1
        if depth > MAX_DEPTH or self._made > MAX_VALUES:
            raise NoExample
        if not isinstance(schema, Mapping):
            return {}
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        for name in ("examples", "enum"):
            if isinstance(choices := schema.get(name), list) and choices:
                return choices[0]
        if isinstance(reference := schema.get("$ref"), str):
            return self.make(_resolved(reference, self._root), depth + 1)
        for name in ("oneOf", "anyOf"):
            if isinstance(choices := schema.get(name), list) and choices and isinstance(choices[0], Mapping):
                rest = {key: value for key, value in schema.items() if key != name}
                return self.make(_merged([rest, choices[0]]), depth + 1)
        if isinstance(parts := schema.get("allOf"), list):
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self.make(_merged([rest, *parts]), depth + 1)
        return self._make_typed(schema, depth)

    def _make_typed(self, schema: JsonObject, depth: int) -> Any:
        kinds = schema.get("type", "object")
        kind = next((each for each in kinds if each != "null"), "null") if isinstance(kinds, list) else kinds
        match kind:
            case "object":
                properties = schema.get("properties") or {}
                return {
                    name: self.make(properties.get(name, {"type": "string"}), depth + 1)
                    for name in schema.get("required") or ()
                }
            case "array":
                first = [self.make(each, depth + 1) for each in schema.get("prefixItems") or ()]
                more = min(int(schema.get("minItems", 0)), 10) - len(first)
                item = schema.get("items", {"type": "string"})
                items = [self.make(item, depth + 1) for _ in range(more)]
                if schema.get("uniqueItems") and more > 1:
                    items = self._different(items, item)
                return first + items
            case "string":
                text = FORMATS.get(schema.get("format", ""), "example")
                text = text.ljust(min(int(schema.get("minLength", 0)), MAX_LENGTH), "x")
                return text[: int(schema.get("maxLength", len(text)))]
            case "integer" | "number":
                return _make_number(schema)
            case "boolean":
                return True
            case _:
                return None

    def _different(self, items: list[Any], schema: Any) -> list[Any]:
        """Return the items of a list without duplicates: other choices, numbers, texts or booleans.

        `schema` is that of each item, from which the values were made.
        """
        while isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
            schema = _resolved(reference, self._root)
        if not isinstance(schema, Mapping) or schema.keys() & {"const", "default", "examples"}:
            return items
        if isinstance(choices := schema.get("enum"), list):
            return choices[: len(items)]
        step = schema.get("multipleOf", 1)
        return [_varied(value, number, step) for number, value in enumerate(items)]


def _varied(value: Any, number: int, step: float) -> Any:
    """Return the value of an example for an item of a list by its number, from 0: the first one stays."""
    match value:
        case bool():
            return value if number % 2 == 0 else not value
        case int() | float():
            return value + number * step
        case str() if number:
            return f"{value}{number + 1}"
        case _:
            return value


def _make_number(schema: JsonObject) -> float:
    step = schema.get("multipleOf", 1)
    low = max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
    try:
        value = -(-low // step) * step
        if "maximum" in schema and value > schema["maximum"]:
            value = schema["maximum"] // step * step
        whole: float = int(value) if value == int(value) else value
    except (OverflowError, ValueError):  # beyond the range of floats, or their infinity
        raise NoExample from None
    return whole


def _merged(schemas: list[Any]) -> JsonObject:
    """Merge the schemas of one example value that all apply, as far as objects are concerned."""
    merged: dict[str, Any] = {}
    for schema in schemas:
        if not isinstance(schema, Mapping):
            continue
        for name, value in schema.items():
            if name == "properties":
                merged[name] = {**merged.get(name, {}), **value}
            elif name == "required":
                merged[name] = [*merged.get(name, []), *value]
            else:
                merged[name] = value
    return merged


def _resolved(reference: str, root: Any) -> Any:
    """Return the part of the example's schema that a local reference points to."""
    try:
        return json_pointer.resolve_fragment(root, reference)
    except LookupError:
        raise NoExample from None
