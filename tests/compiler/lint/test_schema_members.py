"""Members that a schema describes: what it leaves open is never absent."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.compiler.lint.schema_members import absent_member
from iogate.expressions.reads import EACH

A = {"properties": {"a": {"properties": {"b": True}}}}


@pytest.mark.parametrize(
    ("schema", "steps"),
    [
        (True, ("x",)),
        ({}, ("x",)),
        ({"type": "object"}, ("x",)),
        ({"$ref": "#/$defs/none"}, ("x",)),
        ({"$ref": 7, "properties": {"a": True}}, ("x",)),
        ({"$ref": "https://example.com/schema", "properties": {"a": True}}, ("x",)),
        ({**A, "additionalProperties": True}, ("x",)),
        ({**A, "additionalProperties": {"type": "string"}}, ("x",)),
        ({**A, "patternProperties": {"^x": True}}, ("x",)),
        ({**A, "anyOf": [True, {"properties": {"c": True}}]}, ("x",)),
        ({**A, "allOf": [{"type": "object"}]}, ("x",)),
        ({**A, "if": {"required": ["a"]}, "then": True}, ("x",)),
        (A, ("a", "b", "x")),
        (A, (EACH, "x")),
        ({"items": A, "prefixItems": [A]}, (EACH, "x")),
    ],
)
def test_a_schema_that_leaves_it_open(schema: Any, steps: tuple[str | int, ...]) -> None:
    assert absent_member(schema, steps) is None


@pytest.mark.parametrize(
    ("schema", "steps", "known"),
    [
        (A, ("x",), ("a",)),
        (A, ("a", "x"), ("b",)),
        ({**A, "additionalProperties": False}, ("x",), ("a",)),
        ({"items": A}, (EACH, "a", "x"), ("b",)),
        ({"$defs": {"it": A}, "$ref": "#/$defs/it"}, ("x",), ("a",)),
        ({**A, "anyOf": [{"properties": {"c": True}}, {"required": ["a"]}]}, ("x",), ("a", "c")),
        ({**A, "if": A, "then": {"properties": {"d": True}}}, ("x",), ("a", "d")),
        ({**A, "oneOf": [{"type": "object", "required": ["a"]}]}, ("x",), ("a",)),
    ],
)
def test_a_member_that_no_part_describes(
    schema: Any, steps: tuple[str | int, ...], known: tuple[str, ...]
) -> None:
    found = absent_member(schema, steps)
    assert found is not None
    assert (found.name, found.path, found.known) == (steps[-1], steps[:-1], known)


def test_references_in_alternatives_end() -> None:
    again = [{"$ref": "#"}] * 20
    assert absent_member({"properties": {"a": True}, "anyOf": again}, ("x",)) is None
