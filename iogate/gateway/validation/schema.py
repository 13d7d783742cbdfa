"""Validation of inputs by an API's JSON Schema, and typing of the strings in queries and forms.

Built once per API when a revision is loaded, and in the validation process. Invariants: references in a
schema are never fetched; the description of errors is bounded in work and memory, since the validator copies
the value for each of its errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jsonschema_rs

from iogate import json_pointer
from iogate.file_references import FileMetadata
from iogate.gateway.http import decoding
from iogate.gateway.http.decoding import File
from iogate.gateway.http.responses import HTTPError, invalid
from iogate.gateway.validation import file_schema, schema_cost, schema_messages
from iogate.json_values import type_name

MAX_ERRORS = 5
BACKTRACKS = 100_000
CHECKS_ON_LOOP = 40_000
"""About 5 ms: a validator makes 8 checks per microsecond."""


@dataclass(frozen=True, kw_only=True)
class Describing:
    """Bounds on the work of describing all errors; beyond them only the first error is described."""

    checks: int
    copies: int


ON_LOOP = Describing(checks=400, copies=60_000)
"""About 5 ms."""
IN_PROCESS = Describing(checks=10_000, copies=1_000_000)
"""About 100 ms and 30 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error of a value."""

    place: str
    """JSON Pointer; empty: the value itself."""
    field: str
    """First step of the place; of an object without a required property: that property."""
    message: str


MAX_FAULTS = 50


class Undescribed(Exception):
    """The value is invalid, and describing the errors would exceed the bounds."""


_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,4000})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


class Schema:
    """Compiled JSON Schema of one API."""

    def __init__(self, schema: Any, *, files: bool = False) -> None:
        """With `files`, for an API that takes files, `format: binary` demands one of them."""
        if files:
            schema = file_schema.require_files(schema)
        self._schema = schema
        self._files = files
        self._cost = schema_cost.estimate(schema)
        self.quick_size = -1 if self._cost is None else self._cost.largest(CHECKS_ON_LOOP)
        """Size in bytes up to which any value is validated within a few milliseconds."""
        self._validator = jsonschema_rs.validator_for(
            schema,
            validate_formats=True,
            retriever=_refuse,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS),
        )

    def check(self, value: Any, *, size: int, describing: Describing = IN_PROCESS) -> None:
        """Validate an input of `size` bytes by the JSON Schema.

        Raises HTTPError, a 400 that names the places of the errors, or Undescribed instead if `describing` is
        ON_LOOP and its bounds do not suffice.
        """
        if self._validator.is_valid(value):
            return
        errors: list[str] = []
        if self._can_describe_all(size, describing):
            for error in self._validator.iter_errors(value):
                if len(errors) == MAX_ERRORS:
                    errors.append("…")
                    break
                errors.append(self._described(error))
        elif describing is ON_LOOP:
            raise Undescribed
        else:
            try:
                self._validator.validate(value)
            except jsonschema_rs.ValidationError as error:
                errors.append(self._described(error))
        raise invalid("The input is invalid at " + "; at ".join(errors))

    def _described(self, error: jsonschema_rs.ValidationError) -> str:
        where = json_pointer.join(error.instance_path) or "its root"
        missing = file_schema.reason(self._schema, error) if self._files else None
        return f"{where}: {missing or schema_messages.reason(error)}"

    def _can_describe_all(self, size: int, describing: Describing) -> bool:
        """Tell whether the bounds suffice to describe all errors of any value of `size` bytes."""
        cost = self._cost
        return (
            cost is not None
            and cost.checks(size) <= describing.checks
            and cost.copies(size) <= describing.copies
        )

    def faults(self, value: Any, *, size: int, describing: Describing = IN_PROCESS) -> list[Fault]:
        """Return the errors of an input of `size` bytes by the JSON Schema, at most MAX_FAULTS.

        It is only the first one if the bounds do not suffice for all; if `describing` is ON_LOOP, it raises
        Undescribed instead.
        """
        if self._validator.is_valid(value):
            return []
        most = MAX_FAULTS
        if not self._can_describe_all(size, describing):
            if describing is ON_LOOP:
                raise Undescribed
            most = 1
        found: list[Fault] = []
        for error in islice(self._validator.iter_errors(value), most):
            path = error.instance_path
            missing = getattr(error.kind, "property", "") if not path else ""
            found.append(
                Fault(
                    place=json_pointer.join(path),
                    field=str(path[0]) if path else missing,
                    message=schema_messages.reason(error),
                )
            )
        return found

    def read(self, fields: Mapping[str, Any], within: str | None = None) -> dict[str, Any]:
        """Convert the strings of a query or form to the types that the schema declares.

        A string that cannot be converted stays a string, which `check` reports. `within` is the property of
        the schema that describes the fields.
        """
        schema = self._schema
        if within is not None:
            schema = self._property(schema, within)
        return {name: self._value(value, self._property(schema, name)) for name, value in fields.items()}

    def _value(self, value: Any, schema: Any) -> Any:
        types = self._types(schema)
        if isinstance(value, list) or "array" in types:
            items = value if isinstance(value, list) else [value]
            inner = self._follow(schema)
            inner = inner.get("items") if isinstance(inner, dict) else None
            if isinstance(value, list) or "string" not in types:
                return [self._value(item, inner) for item in items]
        if isinstance(value, FileMetadata):
            return value.to_json()
        if isinstance(value, File):
            text = value.text() if "string" in types else None
            return value.to_json() if text is None else text
        return value if "string" in types or not isinstance(value, str) else _scalar(value, types)

    def _property(self, schema: Any, name: str) -> Any:
        for part in self._parts(schema):
            properties = part.get("properties")
            if isinstance(properties, dict) and name in properties:
                return properties[name]
        for part in self._parts(schema):
            more = part.get("additionalProperties")
            if isinstance(more, dict):
                return more
        return None

    def _parts(self, schema: Any, depth: int = 0) -> list[dict[str, Any]]:
        """Return a JSON Schema and those that it is composed of, for the types of strings."""
        schema = self._follow(schema)
        if not isinstance(schema, dict) or depth > 8:
            return []
        parts = [schema]
        for keyword in ("allOf", "anyOf", "oneOf"):
            for inner in schema.get(keyword) or ():
                parts += self._parts(inner, depth + 1)
        for keyword in ("then", "else"):
            parts += self._parts(schema.get(keyword), depth + 1)
        return parts

    def _types(self, schema: Any) -> set[str]:
        types: set[str] = set()
        for part in self._parts(schema):
            named = part.get("type")
            types.update([named] if isinstance(named, str) else named or ())
            for constant in [part["const"]] if "const" in part else part.get("enum") or ():
                types.add(_type_of(constant))
        return types

    def _follow(self, schema: Any) -> Any:
        for _ in range(8):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str):
                break
            try:
                schema = json_pointer.resolve_fragment(self._schema, reference)
            except LookupError:
                break
        return schema


def _refuse(uri: str) -> Any:
    raise ValueError(f"the schema refers to {uri}, which a gateway does not fetch")


def _type_of(value: Any) -> str:
    return "integer" if type(value) is int else type_name(value)


def _scalar(text: str, types: set[str]) -> Any:
    if ("integer" in types or "number" in types) and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in types and _NUMBER.fullmatch(text):
        number = float(text)
        if number - number == 0:  # neither infinite nor NaN
            return number
    if "boolean" in types and text in ("true", "false"):
        return text == "true"
    if "null" in types and text in ("", "null"):
        return None
    if "object" in types and text.lstrip().startswith("{"):
        try:
            return decoding.json(text.encode())
        except HTTPError:
            return text
    return text


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the fields of a form or query without a schema: strings stay strings, files become objects."""
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.to_json() if isinstance(value, File | FileMetadata) else value
