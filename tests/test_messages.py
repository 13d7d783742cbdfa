"""Texts in messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iogate.messages import shorten


@given(st.text(), st.integers(1, 30))
def test_a_text_is_cut_to_its_length(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most
    assert short == text or (short[-1] == "…" and text.startswith(short[:-1]) and len(short) == most)
