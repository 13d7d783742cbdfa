"""Inputs are validated by the API's schema; messages name the place and the expected value."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.gateway.http.decoding import File
from iogate.gateway.http.responses import HTTPError
from iogate.gateway.validation.schema import Schema, plain


def fault(schema: Any, value: Any) -> str:
    with pytest.raises(HTTPError) as caught:
        Schema(schema).check(value, size=0)
    assert caught.value.response.status == 400
    assert caught.value.response.code == "requestError.invalidParams"
    return caught.value.response.message


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"required": ["sku"]}, {}, 'The input is invalid at its root: "sku" is a required property'),
        (
            {"properties": {"qty": {"type": "integer"}}},
            {"qty": "x"},
            'The input is invalid at /qty: "x" is not of type "integer"',
        ),
        (
            {"properties": {"a/b": {"items": {"minimum": 1}}}},
            {"a/b": [1, 0]},
            "The input is invalid at /a~1b/1: 0 is less than the minimum of 1",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
            {"a": 1},
            'The input is invalid at its root: "b" is a required property; at /a: 1 is not of type "string"',
        ),
        (False, {}, "The input is invalid at its root: False schema does not allow {}"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]},
            ["x"],
            'The input is invalid at /0: "x" is not of type "integer"',
        ),
    ],
)
def test_a_message_names_the_place_and_the_expected_value(schema: Any, value: Any, message: str) -> None:
    assert fault(schema, value) == message


def test_a_message_is_bounded_in_errors_and_length() -> None:
    many = {"additionalProperties": {"type": "string"}}
    assert fault(many, {str(n): n for n in range(50)}).endswith("; at …")
    assert len(fault({"type": "object"}, "x" * 100_000)) < 500


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("date-time", "2026-01-31T09:30:00Z", "2026-01-31"),
        ("date", "2026-01-31", "2026-02-31"),
        ("email", "ada@example.com", "ada"),
        ("uri", "https://example.com/a", "example.com a"),
        ("uuid", "0190a7c2-5f0a-7c3e-8f2b-9d4d6e1a2b3c", "0190a7c2"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("x-of-our-own", "anything", None),
    ],
)
@pytest.mark.parametrize("dialect", [None, "http://json-schema.org/draft-07/schema#"])
def test_a_format_is_asserted_and_an_unknown_one_is_not(
    name: str, right: str, wrong: str | None, dialect: str | None
) -> None:
    schema = {"format": name} | ({"$schema": dialect} if dialect else {})
    if name == "uuid" and dialect:
        return  # a format of later drafts
    Schema(schema).check(right, size=0)
    if wrong is not None:
        assert fault(schema, wrong) == f'The input is invalid at its root: "{wrong}" is not a "{name}"'


SCHEMA = {
    "$defs": {"count": {"type": "integer"}},
    "properties": {
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "b": {"type": "boolean"},
        "s": {"type": "string"},
        "z": {"type": ["null", "integer"]},
        "l": {"type": "array", "items": {"type": "integer"}},
        "o": {"type": "object"},
        "e": {"enum": [1, 2]},
        "c": {"const": True},
        "r": {"$ref": "#/$defs/count"},
        "u": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
        "f": {"type": "string"},
    },
    "allOf": [{"properties": {"later": {"type": "integer"}}}],
}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n", "12", 12),
        ("n", "-0", 0),
        ("n", "12345678901234567890123", 12345678901234567890123),
        ("n", "012", "012"),
        ("n", "1.5", "1.5"),
        ("n", "\u0661", "\u0661"),
        ("n", " 1", " 1"),
        ("x", "1.5", 1.5),
        ("x", "3", 3),
        ("x", "1e3", 1000.0),
        ("x", "nan", "nan"),
        ("x", "1e999", "1e999"),
        ("b", "true", True),
        ("b", "False", "False"),
        ("s", "12", "12"),
        ("z", "", None),
        ("z", "null", None),
        ("l", "1", [1]),
        ("l", ["1", "x"], [1, "x"]),
        ("o", '{"a": 1}', {"a": 1}),
        ("o", '{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ("e", "2", 2),
        ("c", "true", True),
        ("r", "4", 4),
        ("u", "true", True),
        ("u", "5", 5),
        ("later", "6", 6),
        ("unknown", "7", "7"),
    ],
)
def test_strings_are_converted_by_the_schema_or_stay_strings(name: str, text: Any, value: Any) -> None:
    read = Schema(SCHEMA).read({name: text})[name]
    assert read == value
    assert type(read) is type(value)


def test_files_become_text_for_a_string_schema_and_objects_otherwise() -> None:
    file = File(filename="a.csv", content_type="text/csv", content=b"x")
    assert Schema(SCHEMA).read({"f": file}) == {"f": "x"}
    assert Schema(SCHEMA).read({"o": file})["o"]["content"] == "x"
    assert plain({"f": [file, "a"]})["f"][0]["filename"] == "a.csv"


def test_references_of_a_schema_are_never_fetched() -> None:
    with pytest.raises(Exception, match="does not fetch"):
        Schema({"$ref": "https://example.com/schema.json"})


def test_fields_below_a_property_are_read_by_its_schema() -> None:
    schema = {"properties": {"query": {"properties": {"n": {"type": "integer"}}}}}
    assert Schema(schema).read({"n": "1"}, "query") == {"n": 1}


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ({"maxItems": 2}, [{"a": "x" * 90}] * 3, "has 3 items; at most 2 are allowed"),
        ({"minItems": 2}, [1], "has 1 item; at least 2 are needed"),
        ({"maxLength": 1}, "é" * 500, "has 500 characters; at most 1 is allowed"),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, "has 2 properties; at most 1 is allowed"),
        ({"const": "image/png"}, "image/gif", '"image/gif" is not "image/png"'),
        ({"type": "integer"}, ["y" * 400], f'["{"y" * 77}… is not of type "integer"'),
        ({"enum": [1]}, {"a": "z" * 400}, f'{{"a":"{"z" * 73}… is not one of 1'),
    ],
)
def test_a_reason_says_what_is_wrong_and_shows_little_of_the_value(
    schema: Any, value: Any, reason: str
) -> None:
    (fault,) = Schema(schema).faults(value, size=100)
    assert fault.message == reason
