"""JSON Pointers, with the examples of RFC 6901."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate import json_pointer

EXAMPLE = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("fragment", "value"),
    [
        ("#", EXAMPLE),
        ("#/foo", ["bar", "baz"]),
        ("#/foo/0", "bar"),
        ("#/", 0),
        ("#/a~1b", 1),
        ("#/c%25d", 2),
        ("#/e%5Ef", 3),
        ("#/g%7Ch", 4),
        ("#/i%5Cj", 5),
        ("#/k%22l", 6),
        ("#/%20", 7),
        ("#/m~0n", 8),
    ],
)
def test_examples_of_the_rfc(fragment: str, value: Any) -> None:
    assert json_pointer.resolve_fragment(EXAMPLE, fragment) == value


@pytest.mark.parametrize(
    "fragment", ["", "#foo", "/foo", "other#/foo", "#/foo/2", "#/foo/-", "#/foo/x", "#/foo/0/a"]
)
def test_a_fragment_that_leads_nowhere_is_refused(fragment: str) -> None:
    with pytest.raises(LookupError):
        json_pointer.resolve_fragment(EXAMPLE, fragment)


@given(st.text())
def test_names_are_unescaped_as_they_were(name: str) -> None:
    assert json_pointer.unescape(json_pointer.escape(name)) == name
    assert "/" not in json_pointer.escape(name)


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"))))
def test_a_joined_path_leads_to_its_value(path: list[str]) -> None:
    document: Any = "found"
    for step in reversed(path):
        document = {step: document}
    assert json_pointer.resolve_fragment(document, "#" + quote(json_pointer.join(path), safe="/~")) == "found"
    assert json_pointer.join(["do", 0, "a/b"]) == "/do/0/a~1b"
