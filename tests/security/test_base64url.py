"""Base64 for URLs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.security import base64url


@given(st.binary(max_size=200))
def test_data_is_decoded_as_it_was(data: bytes) -> None:
    text = base64url.encode(data)
    assert base64url.decode(text) == data
    assert not set(text) & set("+/=")


@pytest.mark.parametrize("text", ["a", "ab c", "ä"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)base64|ascii"):
        base64url.decode(text)
