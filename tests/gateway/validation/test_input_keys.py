"""Keys of calls in their inputs."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.gateway.validation.input_keys import text_at


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
