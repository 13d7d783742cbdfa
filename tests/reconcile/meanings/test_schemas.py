"""Comparison of JSON Schemas: what it calls equal or wider accepts all values that were accepted before."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.reconcile.meanings.schemas import compare

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "bb", "ccc"]) | st.just(0.5)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["null", "boolean", "object", "array", "number", "string", "integer"])
leaves = st.fixed_dictionaries(
    {},
    optional={
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(scalars, min_size=1, max_size=3, unique_by=repr),
        "const": scalars,
        "minimum": st.integers(-2, 2),
        "maximum": st.integers(-2, 2),
        "minLength": st.integers(0, 3),
        "maxItems": st.integers(0, 3),
        "uniqueItems": st.booleans(),
        "required": st.lists(st.sampled_from("abc"), max_size=3, unique=True),
        "additionalProperties": st.booleans(),
        "title": st.just("a title"),
    },
)
schemas = st.booleans() | st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda base, more: {**base, **more},
        leaves,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from("abc"), inner | st.booleans(), max_size=2),
                "items": inner | st.booleans(),
                "anyOf": st.lists(inner, min_size=1, max_size=2),
                "allOf": st.lists(inner, min_size=1, max_size=2),
                "oneOf": st.lists(inner, min_size=1, max_size=2),
                "not": inner,
                "propertyNames": inner,
                "additionalProperties": inner,
                "unevaluatedProperties": inner | st.booleans(),
                "patternProperties": st.fixed_dictionaries({"a": inner}),
            },
        ),
    ),
    max_leaves=4,
)


def accepts(schema: Any, value: Any) -> bool:
    return bool(jsonschema_rs.validator_for(schema).is_valid(value))


@given(schemas, schemas, values)
def test_the_direction_follows_from_the_keywords(before: Any, after: Any, value: Any) -> None:
    direction = compare(before, after).direction
    old, new = accepts(before, value), accepts(after, value)
    if direction in (None, "widened"):
        assert new or not old
    if direction is None:
        assert old == new
    if all(change.direction == "narrowed" for change in compare(before, after).changes):
        assert old or not new


@given(schemas, schemas)
def test_the_opposite_change_has_the_opposite_direction(before: Any, after: Any) -> None:
    forth = {change.direction for change in compare(before, after).changes}
    back = {change.direction for change in compare(after, before).changes}
    swapped = {"narrowed": "widened", "widened": "narrowed", "changed": "changed"}
    assert {swapped[each] for each in forth} == back


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, "value b not allowed any more"),
        ({}, {"enum": ["a"]}, 'only ["a"] allowed'),
        ({"const": 1}, {"const": 2}, "const 1 → 2"),
        ({}, {"const": None}, "const none → none"),
        ({"type": "number"}, {"type": ["number", "null"]}, 'type number → ["number","null"]'),
        ({"type": "number"}, {"type": "integer"}, "type number → integer"),
        ({"items": {"minLength": 1}}, {"items": {"minLength": 2}}, "items: minLength 1 → 2"),
        ({"properties": {"a": {}}}, {"additionalProperties": False}, "/a not allowed any more"),
        (
            {"additionalProperties": False},
            {"properties": {"a": {}}, "additionalProperties": False},
            "/a allowed",
        ),
        ({"not": {"type": "null"}}, {}, '"not" changed'),
        ({"type": "object"}, False, "no value is allowed any more"),
        (False, {"type": "object"}, "values are allowed"),
        ({}, {"unevaluatedProperties": False}, "unevaluatedProperties none → false"),
        ({"properties": {"a": {}}, "unevaluatedProperties": False},
         {"unevaluatedProperties": False}, "/a not allowed any more"),
        ({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
         {"additionalProperties": {"type": "integer"}}, "/a: type string → integer"),
        ({"$defs": {"x": {"minimum": 1}}}, {"$defs": {"x": {"minimum": 2}}}, "x: minimum 1 → 2"),
        ({"anyOf": [{"minimum": 1}]}, {"anyOf": [{"minimum": 3}]}, "anyOf: minimum 1 → 3"),
        ({"items": [{}]}, {"items": {"type": "null"}}, "items changed"),
    ],
)  # fmt: skip
def test_a_change_is_told_with_its_place(before: Any, after: Any, text: str) -> None:
    assert text in [change.text for change in compare(before, after).changes]


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        ({"type": "object"}, False, "narrowed"),
        (False, {}, "widened"),
        ({}, {"unevaluatedProperties": False}, "narrowed"),
        ({"unevaluatedItems": False}, {}, "widened"),
        ({"properties": {"a": {"minimum": 1}}, "unevaluatedProperties": False},
         {"unevaluatedProperties": False}, "narrowed"),
        ({"properties": {"a": {"minimum": 1}}, "patternProperties": {"a": False}},
         {"patternProperties": {"a": False}}, "changed"),
        ({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
         {"additionalProperties": {"type": "integer"}}, "narrowed"),
        ({"additionalProperties": {"type": "integer"}},
         {"properties": {"a": {"type": "number"}}, "additionalProperties": {"type": "integer"}}, "widened"),
        ({"properties": {"a": {"minimum": 1}}, "unevaluatedProperties": False, "$ref": "#/$defs/x"},
         {"unevaluatedProperties": False, "$ref": "#/$defs/x"}, "changed"),
    ],
)  # fmt: skip
def test_other_keywords_decide_about_unnamed_properties(before: Any, after: Any, direction: str) -> None:
    assert compare(before, after).direction == direction


def test_only_the_first_details_are_told() -> None:
    found = compare({}, {"required": ["a", "b", "c", "d", "e"], "title": "x"})
    assert found.details() == '"a" required, "b" required, "c" required, and 2 more'


def test_annotations_change_nothing() -> None:
    found = compare({"description": "a", "properties": {"x": {"title": "b"}}}, {"properties": {"x": {}}})
    assert (found.changes, found.direction) == ((), None)


def test_schemas_with_many_members_are_compared_without_comparing_all_pairs() -> None:
    many = range(40_000)
    before: dict[str, list[Any]] = {"enum": [], "required": [], "anyOf": []}
    after = {
        "enum": [*many],
        "required": [f"p{number}" for number in many],
        "anyOf": [{"const": number} for number in many],
        "properties": {f"p{number}": {"type": "string"} for number in many},
    }
    found = compare(before, after)
    assert (found.direction, len(found.changes)) == ("narrowed", 3 * len(many) + 1)
    assert found.details() == '"p0" required, "p1" required, "p2" required, and 119998 more'
