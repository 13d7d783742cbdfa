"""JSON values: strict parsing, and conversion to text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate import json_values

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(SCALARS, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=10)


@given(VALUES)
def test_json_is_parsed_back_as_it_was(value: Any) -> None:
    text = json_values.to_json(value)
    assert json_values.parse(text) == json_values.parse(text.encode()) == value
    assert json_values.is_same(json_values.parse(text), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "NaN is not a JSON number"),
        ('{"a": [-Infinity]}', "-Infinity is not a JSON number"),
        ("1e999", "a number is out of range"),
        (r'"\ud800"', "a text holds half a surrogate pair, which UTF-8 cannot encode"),
        ('{"a": 1,}', "line 1, column"),
        ("[" * 300 + "]" * 300, "it is nested deeper than 256 levels"),
        (b"\xff\xfe\xfa", "it is not valid UTF-8"),
    ],
)
def test_what_is_not_strict_json_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        json_values.parse(text)
    assert isinstance(caught.value, json_values.InvalidNumber) == ("number" in message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "nan is not a JSON number"),
        ({1: 2}, "an object's key is int, not text"),
        ([{"a": b"x"}], "bytes is not a JSON type"),
    ],
)
def test_values_that_are_not_json_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        json_values.check(value)


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (None, "null", ""),
        (True, "boolean", "true"),
        (7, "number", "7"),
        (7.5, "number", "7.5"),
        (1e20, "number", "1e+20"),
        ("ä", "string", "ä"),
        ([1, "ä"], "array", None),
        ({"a": 1}, "object", None),
    ],
)
def test_types_have_names_and_scalars_a_text(value: Any, name: str, text: str | None) -> None:
    assert json_values.type_name(value) == name
    assert json_values.scalar_to_text(value) == text


def test_text_stays_and_other_values_become_compact_json() -> None:
    assert json_values.to_text('a "b"') == 'a "b"'
    assert json_values.to_text({"a": [1, "ä"], "b": None}) == '{"a":[1,"ä"],"b":null}'


def test_true_is_not_one_and_the_order_of_members_does_not_matter() -> None:
    assert not json_values.is_same(True, 1)
    assert not json_values.is_same([1], [1.0])
    assert json_values.is_same({"a": 1, "b": 2}, json.loads('{"b": 2, "a": 1}'))
