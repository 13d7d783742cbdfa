"""Upper bound on the work of validating a value against a JSON Schema.

Computed by `schema` once for each API; decides whether a request is validated on the event loop or in
the validation process. Pure. Invariant: a schema whose cost cannot be bounded by the size of the value has no
cost, and is never used on the event loop.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from iogate import json_pointer

MAX_NODES: Final = 5_000
"""Limit of nodes of a schema with each `$ref` expanded; above it no cost is computed."""
MAX_PATTERN: Final = 200
MAX_REPEATS: Final = 100

_IN_PLACE: Final = ("not", "if", "then", "else")
_IN_PLACE_LISTS: Final = ("allOf", "anyOf", "oneOf")
_IN_PLACE_MAPS: Final = ("dependentSchemas", "dependencies")
_EACH: Final = ("additionalProperties", "additionalItems", "contains", "propertyNames")
_UNBOUNDED: Final = ("$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems")
_REPEATS = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_UNIQUE_WEIGHT: Final = 4
_PATTERN_WEIGHT: Final = 4
_MULTIPLE_WEIGHT: Final = 25
"""Weight of a whole divisor: the conversion of numbers to fractions takes 1 to 3 microseconds."""
_FRACTION_WEIGHT: Final = 100
_TINY_WEIGHT: Final = 800
_TINY: Final = 1e-9
"""Divisors below this produce long fractions: 1e-300 takes 100 microseconds."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Number of checks that a schema requires, by how often they apply."""

    once: int
    """Checks that apply at most once per value, such as those of `properties`."""
    each: int
    """Checks that apply to each element of a list or each member of a map."""
    depth: int

    def checks(self, size: int) -> int:
        """Return the maximum cost, in checks, of a value of `size` bytes; an element has two or more."""
        return self.once + self.each * (size // 2 + 1)

    def largest(self, checks: int) -> int:
        """Return the largest size in bytes at which a value never costs more checks; -1 if there is none."""
        left = checks - self.once
        if not self.each:
            return sys.maxsize if left >= 0 else -1
        return max(-1, (left // self.each) * 2 - 1)

    def copies(self, size: int) -> int:
        """Return the maximum cost, in bytes copied, of describing all errors: each error copies its value."""
        return (self.once + self.each * self.depth) * size


class _Unbounded(Exception):
    """The cost depends on more than the size of the value."""


def estimate(schema: Any) -> Cost | None:
    """Return the cost of a schema; None if it has no bound: recursion, backtracking, quadratic keywords."""
    walk = _Walk(schema)
    try:
        walk.visit(schema, each=False, depth=1, references=())
    except _Unbounded:
        return None
    return Cost(once=walk.once + walk.divisions_once, each=walk.each + walk.divisions_each, depth=walk.depth)


class _Walk:
    """Recursive traversal of a schema that counts the checks."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self.once = 0
        self.each = 0
        self.depth = 1
        self.divisions_once = 0
        self.divisions_each = 0

    def visit(self, schema: Any, *, each: bool, depth: int, references: tuple[str, ...]) -> None:
        """Count the cost of a schema and its subschemas; `references` are the `$ref` being expanded.

        Raises _Unbounded.
        """
        self.depth = max(self.depth, depth)
        self._count(1, each=each)
        if not isinstance(schema, dict):
            return
        if any(keyword in schema for keyword in _UNBOUNDED):
            raise _Unbounded
        if "$id" in schema and schema is not self._root:
            raise _Unbounded
        self._count(len(schema), each=each)
        self._count_values(schema, each=each)
        self._count_division(schema.get("multipleOf"), each=each)
        for below in self._in_place(schema):
            self.visit(below, each=each, depth=depth, references=references)
        for below in self._once(schema):
            self.visit(below, each=each, depth=depth + 1, references=references)
        for below in self._of_each(schema):
            self.visit(below, each=True, depth=depth + 1, references=references)
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in references:
                raise _Unbounded
            self.visit(self._at(reference), each=each, depth=depth, references=(*references, reference))

    def _count(self, number: int, *, each: bool) -> None:
        if each:
            self.each += number
        else:
            self.once += number
        if self.once + self.each > MAX_NODES:
            raise _Unbounded

    def _count_values(self, schema: dict[str, Any], *, each: bool) -> None:
        """Count the cost of comparisons of a schema, without those of its subschemas."""
        required = schema.get("required")
        if isinstance(required, list):
            self._count(len(required), each=each)
        for names in _mapped(schema.get("dependentRequired")).values():
            self._count(len(_listed(names)), each=each)
        choices = schema.get("enum")
        if isinstance(choices, list) and any(isinstance(choice, dict | list) for choice in choices):
            self._count(_nodes(choices), each=each)
        self._count(_nodes(schema.get("const")), each=each)
        if schema.get("uniqueItems"):
            self._count(_UNIQUE_WEIGHT, each=True)
        if schema.get("format") == "regex":
            raise _Unbounded
        patterns = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
        for pattern in (*patterns, *_mapped(schema.get("patternProperties"))):
            if not _is_linear(pattern):
                raise _Unbounded
            self._count(_PATTERN_WEIGHT, each=each)

    def _count_division(self, divisor: Any, *, each: bool) -> None:
        """Count the cost of a `multipleOf` separately from the nodes, which are limited in number."""
        if not isinstance(divisor, int | float):
            return
        weight = _MULTIPLE_WEIGHT if divisor == int(divisor) else _FRACTION_WEIGHT
        if divisor < _TINY:
            weight = _TINY_WEIGHT
        if each:
            self.divisions_each += weight
        else:
            self.divisions_once += weight

    @staticmethod
    def _in_place(schema: dict[str, Any]) -> list[Any]:
        found = [schema[keyword] for keyword in _IN_PLACE if keyword in schema]
        for keyword in _IN_PLACE_LISTS:
            found += _listed(schema.get(keyword))
        for keyword in _IN_PLACE_MAPS:
            found += [below for below in _mapped(schema.get(keyword)).values() if not isinstance(below, list)]
        return found

    @staticmethod
    def _once(schema: dict[str, Any]) -> list[Any]:
        items = schema.get("items")
        return [
            *_mapped(schema.get("properties")).values(),
            *_listed(schema.get("prefixItems")),
            *(items if isinstance(items, list) else ()),
        ]

    @staticmethod
    def _of_each(schema: dict[str, Any]) -> list[Any]:
        found = [schema[keyword] for keyword in _EACH if keyword in schema]
        if "items" in schema and not isinstance(schema["items"], list):
            found.append(schema["items"])
        return [*found, *_mapped(schema.get("patternProperties")).values()]

    def _at(self, reference: str) -> Any:
        """Return the schema at a reference, to count its cost: only by a JSON Pointer, without a registry."""
        try:
            return json_pointer.resolve_fragment(self._root, reference)
        except LookupError:
            raise _Unbounded from None


def _nodes(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_nodes, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_nodes, value))
    return 1


def _is_linear(pattern: str) -> bool:
    """Tell whether a pattern of a schema has a linear cost: no backtracking, and few states."""
    if len(pattern) > MAX_PATTERN:
        return False
    for low, high in _REPEATS.findall(pattern):
        if int(low) > MAX_REPEATS or (high and int(high) > MAX_REPEATS):
            return False
    try:
        jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions())
    except (ValueError, jsonschema_rs.ValidationError):
        return False
    return True


def _listed(value: Any) -> list[Any]:
    """Return a list in a schema whose cost is counted before it is validated; empty for other values."""
    return value if isinstance(value, list) else []


def _mapped(value: Any) -> dict[str, Any]:
    """Return an object in a schema whose cost is counted before it is validated; empty for other values."""
    return value if isinstance(value, dict) else {}
