"""YAML by the rules of the 1.2 core schema, with positions, in bounded time for any file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.documents import Span, load_text, read_file, read_text, read_yaml, render_all
from iogate.documents.yaml.reader import MAX_BYTES, Reading, read_bytes


def codes(reading: Reading) -> list[str]:
    return [problem.code for problem in reading.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nULL", "nULL"),
        ("42", 42),
        ("-7", -7),
        ("+1", 1),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("1_000", "1_000"),
        ("0b101", "0b101"),
        ("12:30:45", "12:30:45"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T00:00:00Z", "2024-01-31T00:00:00Z"),
        ("18446744073709551615", 2**64 - 1),
        ("'42'", "42"),
        ('"true"', "true"),
        ("!!str 42", "42"),
        ("! 42", "42"),
        ("!!int '42'", 42),
        ("!!float 1", 1.0),
        ("!!null ''", None),
        ("=", "="),
        ("++", "++"),
        (".", "."),
        ("-", [None]),
    ],
)
def test_plain_scalars_resolve_by_the_core_schema(text: str, value: Any) -> None:
    reading = read_text(f"k: {text}" if text != "-" else "k:\n- ", "f.yaml")
    assert reading.problems == []
    assert reading.data == {"k": value}
    assert type(reading.data["k"]) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "18446744073709551616", "9" * 5000])
def test_a_number_that_json_cannot_carry_is_refused(text: str) -> None:
    assert codes(read_text(f"k: {text}", "f.yaml")) == ["IOG133"]


def test_whole_numbers_are_keys_as_written_and_other_values_are_refused() -> None:
    reading = read_text("200: a\n0x1: b\n", "f.yaml")
    assert reading.data == {"200": "a", "0x1": "b"}
    assert codes(read_text("true: a\n1.5: b\n? [a]\n: c\n", "f.yaml")) == ["IOG132"] * 3


def test_a_merge_key_is_refused_and_a_quoted_one_is_a_key() -> None:
    assert codes(read_text("<<: {a: 1}", "f.yaml")) == ["IOG131"]
    assert read_text("'<<': 1", "f.yaml").data == {"<<": 1}


def test_every_key_and_value_has_its_position() -> None:
    reading = read_text("a: 1\nbé: [x, {c: 'd e'}]\nf:\n  g:\n\n  h: |\n    text\n", "f.yaml")
    root = reading.root
    assert root is not None
    assert root.place(("a",)) == Span(1, 4, 1)
    assert root.place(("a",), key=True) == Span(1, 1, 1)
    assert root.place(("bé", 1, "c")) == Span(2, 13, 5)
    assert root.place(("bé", 1, "c"), key=True) == Span(2, 10, 1)
    assert root.place(("f",)) == Span(3, 1, 1), "a block is pointed at by its key"
    assert root.place(("f", "g")) == Span(4, 3, 1), "so is a value left out"
    assert root.place(("f", "gone")) == Span(3, 1, 1), "and what is missing, by what lacks it"


def test_an_alias_shares_its_anchor_and_points_there() -> None:
    reading = read_text("a: &x {b: 1}\nc: *x\n", "f.yaml")
    assert reading.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert reading.root is not None
    assert reading.root.place(("c", "b")).line == 1


HOSTILE = {
    "an alias bomb": "a0: &a0 [x,x]\n"
    + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)),
    "a bomb of mappings": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{a: *a{i - 1}, b: *a{i - 1}}}\n" for i in range(1, 40)),
    "a deep alias": "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 400)),
    "a cycle": "a: &a [*a]",
    "a cycle of mappings": "&a {b: *a}",
    "deep lists": "[" * 2_000_000,
    "deep mappings": "{a: " * 1_000_000,
    "deep keys": "? " * 2_000_000,
    "deep dashes": "- " * 2_000_000,
    "two megabytes of items": "- a\n" * 500_000,
    "two megabytes of keys": "".join(f"k{i}: 1\n" for i in range(180_000)),
    "two megabytes of one key": "a: 1\n" * 400_000,
    "two megabytes of documents": "a: 1\n---\n" * 200_000,
    "two megabytes of anchors": "".join(f"- &a{i} x\n" for i in range(140_000)),
    "two megabytes of tag directives": "".join(f"%TAG !a{i}! x\n" for i in range(120_000)) + "--- a",
    "two megabytes of text": "a: " + "x" * 2_000_000,
    "an open quote": 'a: "' + "\\n" * 2_000_000,
    "colons": ":" * 2_000_000,
    "commas": "[" + "," * 2_000_000,
    "bangs": "!" * 2_000_000,
    "comments": "# x\n" * 500_000,
    "blank lines": "\n" * 2_000_000,
    "ampersands": "&a " * 640_000,
    "a long key": '"' + "a" * 2_000_000 + '": 1',
    "unknown tags": "- !x a\n" * 280_000,
    "control characters": "a: \x00\x01",
    "unpaired surrogates": '"\\ud800": "\\udfff"',
    "a python tag": "!!python/object/apply:os.system ['true']",
    "thousands of faulty tasks": "document: {}\ndo:\n"
    + "".join(f"- t{i}: {{cal: x}}\n" for i in range(9_000)),
    "thousands of faulty methods": "module: a\nauth: none\nmethods:\n"
    + "".join(f"  m{i}: {{workflow: 1, zz: 2}}\n" for i in range(6_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_a_problem_within_bounded_time(name: str) -> None:
    began = time.process_time()
    documents = load_text(HOSTILE[name], "hostile.yaml")
    told = render_all(documents.problems, documents.sources)
    took = time.process_time() - began
    assert documents.errors
    assert len(documents.problems) <= 1_000
    assert len(max(told.splitlines(), key=len)) < 1_000
    assert took < 5, f"{name} took {took:.1f} s"


def test_bytes_that_are_no_text_are_refused_at_their_position() -> None:
    reading = read_bytes(b"a: 1\nb: \xff\n", "f.yaml")
    assert [(problem.code, problem.line, problem.column) for problem in reading.problems] == [
        ("IOG127", 2, 4)
    ]
    assert codes(read_bytes("a: 1".encode("utf-16"), "f.yaml")) == ["IOG127"]
    assert read_bytes(b"\xef\xbb\xbfa: 1", "f.yaml").data == {"a": 1}, "a byte order mark is no text"


def test_a_file_over_five_mebibytes_is_refused(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    assert codes(read_file(big, "big.yaml")) == ["IOG126"]
    big.write_bytes(b"a: 1\n" + b"#" * (MAX_BYTES - 5))
    assert read_file(big, "big.yaml").data == {"a": 1}


def test_settings_are_read_by_path_or_text(tmp_path: Path) -> None:
    file = tmp_path / "iogate.yaml"
    file.write_text("port: 8080\n", encoding="utf-8")
    assert read_yaml(file).data == read_yaml("port: 8080").data == {"port": 8080}
    gone = read_yaml(tmp_path / "gone.yaml", "gone.yaml")
    assert [(problem.code, problem.message) for problem in gone.problems] == [
        ("IOG134", f"cannot read the file: {os.strerror(2)}")
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé-:#{", max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_json_is_read_unchanged(value: Any) -> None:
    reading = read_text(json.dumps({"k": value}, ensure_ascii=True), "f.json")
    assert reading.problems == []
    assert reading.data == {"k": value}


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    documents = load_text(text, "f.yaml")
    render_all(documents.problems, documents.sources)
    assert documents.errors
