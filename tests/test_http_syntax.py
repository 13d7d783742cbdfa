"""Syntax of HTTP messages."""

from __future__ import annotations

import pytest

from iogate.http_syntax import is_token, media_type


@pytest.mark.parametrize("text", ["GET", "x-api-key", "!#$%&'*+-.^_`|~9"])
def test_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["", "a b", "a:b", "a\n", "ä", "a/b", "(a)", '"a"', "a\0"])
def test_no_tokens(text: str) -> None:
    assert not is_token(text)


def test_a_media_type_has_no_parameters() -> None:
    assert media_type(" Application/JSON ; charset=utf-8") == "application/json"
    assert media_type("") == ""
