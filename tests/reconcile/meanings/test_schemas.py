"""Comparison of JSON Schemas: what it calls equal or wider accepts all values that were accepted before."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.reconcile.meanings.schemas.comparison import compare

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
                "contains": inner,
                "minContains": st.integers(0, 2),
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


A = {"$ref": "#/$defs/A"}
LONG, SHORT = ({"A": {"maxLength": most}, "B": {"maxLength": most}} for most in (10, 5))
CLOSED: dict[str, Any] = {"$ref": "#/$defs/b", "unevaluatedProperties": False}


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        *(({**place, "$defs": SHORT}, {**place, "$defs": LONG}, "changed") for place in (
            {"not": A}, {"oneOf": [A, {}]}, {"if": A, "then": False}, {"contains": A, "maxContains": 1},
            {"not": {"items": {"$ref": "#"}}}, {"not": {"$dynamicRef": "#a"}},
        )),
        *(({"properties": {"a": {"maxLength": old}, "b": {"not": {"$ref": "#/properties/a"}}}},
           {"properties": {"a": {"maxLength": new}, "b": {"not": {"$ref": "#/properties/a"}}}}, direction)
          for old, new, direction in ((5, 9, "changed"), (9, 5, "narrowed"))),
        ({**A, "$defs": SHORT}, {**A, "$defs": LONG}, "widened"),
        ({**A, "$defs": LONG}, {**A, "$defs": SHORT}, "narrowed"),
        ({"not": {"$ref": "#/$defs/C"}, "$defs": {"C": A, "A": {"maxLength": 5}}},
         {"not": {"$ref": "#/$defs/C"}, "$defs": {"C": A, "A": {"maxLength": 9}}}, "changed"),
        ({"not": A, "$defs": {"A": {}, "B": {"maxLength": 5}}},
         {"not": A, "$defs": {"A": {}, "B": {"maxLength": 9}}}, "widened"),
    ],
)  # fmt: skip
def test_a_definition_that_may_be_reversed_has_no_certain_direction(
    before: Any, after: Any, direction: str
) -> None:
    assert compare(before, after).direction == direction


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        ({**CLOSED, "$defs": {"b": {"properties": {"a": {"type": "string"}}}}},
         {**CLOSED, "$defs": {"b": {}}}, "changed"),
        ({**CLOSED, "$defs": {"b": {"properties": {"a": True}}}}, {**CLOSED, "$defs": {"b": {}}}, "changed"),
        ({**CLOSED, "$defs": {"b": {"additionalProperties": True}}}, {**CLOSED, "$defs": {"b": {}}},
         "changed"),
        ({"allOf": [{"properties": {"a": {}}}, {}], "unevaluatedProperties": False},
         {"allOf": [{}], "unevaluatedProperties": False}, "changed"),
        ({"allOf": [{"items": {"minimum": 1}}], "unevaluatedItems": False},
         {"allOf": [{}], "unevaluatedItems": False}, "changed"),
        ({"properties": {"a": {}}, "unevaluatedProperties": False},
         {"properties": {"a": {}, "b": {}}, "unevaluatedProperties": False}, "widened"),
    ],
)  # fmt: skip
def test_a_part_that_no_schema_evaluates_any_more_may_be_refused(
    before: Any, after: Any, direction: str
) -> None:
    assert compare(before, after).direction == direction


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        ({"contains": {}, "minContains": 0}, {"contains": {}}, "narrowed"),
        ({"contains": {}}, {"contains": {}, "minContains": 0}, "widened"),
        ({"contains": {}}, {"contains": {}, "minContains": 1}, None),
        ({"maximum": 3, "exclusiveMaximum": False}, {"maximum": 3, "exclusiveMaximum": True}, "narrowed"),
        ({"maximum": 3, "exclusiveMaximum": True}, {"maximum": 3}, "widened"),
        ({"minimum": 3}, {"minimum": 3, "exclusiveMinimum": False}, None),
        ({"maximum": 3, "exclusiveMaximum": True}, {"exclusiveMaximum": 3}, "changed"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, {}, "changed"),
        ({"$id": "https://a.test/a"}, {"$id": "https://a.test/b"}, "changed"),
        ({"anyOf": [{"minimum": 1}, {"type": "string"}]}, {"anyOf": [{"type": "string"}, {"minimum": 1}]},
         None),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, {"allOf": [{"maximum": 2}, {"minimum": 1}]}, None),
    ],
)  # fmt: skip
def test_defaults_dialects_and_orders_have_their_direction(
    before: Any, after: Any, direction: str | None
) -> None:
    assert compare(before, after).direction == direction
    if direction == "narrowed":
        assert compare(after, before).direction == "widened"
