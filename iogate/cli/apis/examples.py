"""Example calls of an API, from its debug cases or generated from its JSON Schema.

Used by the banner of `up` and `serve`. Performs no I/O.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from iogate import json_pointer

if TYPE_CHECKING:
    from iogate.compiler.revision import Api
    from iogate.documents.api import DebugCase

MAX_DEPTH = 20
MAX_BODY_LENGTH = 1000
"""Most characters of a body in a command line."""
FORMATS: Mapping[str, str] = {
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


@dataclass(frozen=True, kw_only=True)
class Example:
    """Example call with a body for POST, or a query for GET."""

    verb: str
    body: str | None = None
    body_file: str | None = None
    content_type: str | None = None
    query: str = ""


def example_for(api: Api, cases: Iterable[DebugCase] = ()) -> Example | None:
    """Return a call that the API accepts: its first debug case that expects a run, else one by its schema."""
    made = (_of_case(api, case) for case in cases)
    return next((example for example in made if example is not None), None) or _of_schema(api)


def _of_case(api: Api, case: DebugCase) -> Example | None:
    """Return the call of a debug case; None if it expects a rejection or sends headers of its own."""
    refused = case.expect is not None and case.expect.http not in (None, 202)
    headers = {name.lower(): value for name, value in (case.headers or {}).items()}
    content_type = headers.pop("content-type", None)
    if refused or headers or case.multipart is not None:
        return None
    has_body = case.has_body or case.body_file is not None
    verb = case.verb or ("POST" if (has_body or "GET" not in api.verbs) and "POST" in api.verbs else "GET")
    query = urlencode(
        {name: _query_values(value) for name, value in (case.query or {}).items()}, doseq=True, safe="/:,"
    )
    body = None
    if case.body_file is not None:
        content_type = content_type or mimetypes.guess_type(case.body_file)[0] or "application/octet-stream"
    if case.has_body:
        raw = isinstance(case.body, str) and content_type is not None and "json" not in content_type
        body = case.body if raw else json.dumps(case.body, ensure_ascii=False)
        if len(body) > MAX_BODY_LENGTH:
            return None
        # curl declares a body as a form. The gateway still parses it as JSON if it is an object or a list.
        if not raw and not isinstance(case.body, dict | list):
            content_type = "application/json"
    elif verb == "POST" and not has_body:
        body = "{}"
    return Example(verb=verb, body=body, body_file=case.body_file, content_type=content_type, query=query)


def _of_schema(api: Api) -> Example | None:
    schema = True if api.input_schema is None else api.input_schema
    if schema is not True and api.input_from == "request":
        return None  # the schema is one of headers, query and body together
    try:
        value = example_value(schema)
    except NoExample:
        return None
    if "POST" in api.verbs:
        body = json.dumps(value, ensure_ascii=False)
        return Example(verb="POST", body=body) if len(body) <= MAX_BODY_LENGTH else None
    if not isinstance(value, dict) or any(isinstance(each, dict) for each in value.values()):
        return None
    query = {name: _query_values(each) for name, each in value.items()}
    return Example(verb="GET", query=urlencode(query, doseq=True, safe="/:,"))


def example_value(schema: Any) -> Any:
    """Return a small value that the schema accepts.

    Raises:
        NoExample: the schema has constraints that this module cannot satisfy, such as a pattern.
    """
    import jsonschema_rs

    value = _make(schema, schema, 0)
    try:
        accepted = jsonschema_rs.validator_for(
            schema, validate_formats=True, retriever=_refuse_references
        ).is_valid(value)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise NoExample from error
    if not accepted:
        raise NoExample
    return value


def _refuse_references(uri: str) -> Any:
    raise ValueError(uri)


def _make(schema: Any, root: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
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
        return _make(_resolved(reference, root), root, depth + 1)
    for name in ("oneOf", "anyOf"):
        if isinstance(choices := schema.get(name), list) and choices and isinstance(choices[0], Mapping):
            rest = {key: value for key, value in schema.items() if key != name}
            return _make(_merged([rest, choices[0]]), root, depth + 1)
    if isinstance(parts := schema.get("allOf"), list):
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        return _make(_merged([rest, *parts]), root, depth + 1)
    return _make_typed(schema, root, depth)


def _make_typed(schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    kinds = schema.get("type", "object")
    kind = next((each for each in kinds if each != "null"), "null") if isinstance(kinds, list) else kinds
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {
                name: _make(properties.get(name, {"type": "string"}), root, depth + 1)
                for name in schema.get("required") or ()
            }
        case "array":
            first = [_make(each, root, depth + 1) for each in schema.get("prefixItems") or ()]
            more = min(int(schema.get("minItems", 0)), 10) - len(first)
            item = schema.get("items", {"type": "string"})
            return first + [_make(item, root, depth + 1) for _ in range(more)]
        case "string":
            text = FORMATS.get(schema.get("format", ""), "example")
            text = text.ljust(min(int(schema.get("minLength", 0)), MAX_BODY_LENGTH), "x")
            return text[: int(schema.get("maxLength", len(text)))]
        case "integer" | "number":
            return _make_number(schema)
        case "boolean":
            return True
        case _:
            return None


def _make_number(schema: Mapping[str, Any]) -> float:
    step = schema.get("multipleOf", 1)
    low = max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
    value = -(-low // step) * step
    if "maximum" in schema and value > schema["maximum"]:
        value = schema["maximum"] // step * step
    whole: float = int(value) if value == int(value) else value
    return whole


def _merged(schemas: list[Any]) -> dict[str, Any]:
    """Merge schemas that all apply, as far as objects are concerned."""
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
    """Return the part of the schema that a local reference points to."""
    try:
        return json_pointer.resolve_fragment(root, reference)
    except LookupError:
        raise NoExample from None


def _query_values(value: Any) -> list[str]:
    return [
        each if isinstance(each, str) else json.dumps(each)
        for each in (value if isinstance(value, list) else [value])
    ]
