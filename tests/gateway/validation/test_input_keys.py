"""Keys of calls in their inputs."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.gateway.validation.input_keys import attribute_at, text_at


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (2**53 + 1, "9007199254740993"),
        (1e300, "1e+300"),
        ("1.0", "1.0"),
    ],
)
def test_equal_numbers_are_one_key(value: Any, text: str) -> None:
    assert text_at({"id": value}, ("id",)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("A-1", "A-1"),
        (1.0, "1"),
        (0.5, "0.5"),
        (True, "true"),
        (False, "false"),
        ("é" * 128, "é" * 128),
        ("é" * 128 + "x", None),
        ("", None),
        (None, None),
        ([1], None),
        ({"a": 1}, None),
    ],
)
def test_an_attribute_is_a_text_a_number_or_a_boolean(value: Any, text: str | None) -> None:
    assert attribute_at({"order": {"id": value}}, ("order", "id")) == text
    assert attribute_at({"order": value}, ("order", "id", "x")) is None


def test_an_attribute_has_no_signature_of_a_link() -> None:
    link = f"https://h.example/v1/links/7.approve.1764335511.{'a' * 22}"
    assert (
        attribute_at({"url": link}, ("url",)) == "https://h.example/v1/links/7.approve.1764335511.[redacted]"
    )
