"""Secrets that are recognized by their names, and passwords in URLs."""

from __future__ import annotations

import pytest

from iogate.security.keyring import Keyring
from iogate.security.one_time_links import address
from iogate.security.redaction_patterns import redact, redact_query, redact_text, redact_url


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "PASSWORD",
        "apiKey",
        "api_key",
        "api-key",
        "X-Api-Key",
        "accessToken",
        "client_secret",
        "Cookie",
        "set-cookie",
        "authorization",
        "db_password",
        "dbPassword",
        "x-hub-signature-256",
        "token",
        "privateKey",
    ],
)
def test_members_that_look_like_secrets_are_redacted_at_any_depth(name: str) -> None:
    assert redact({"a": [{name: "s3cret", "b": 1}]}) == {"a": [{name: "[redacted]", "b": 1}]}


@pytest.mark.parametrize("name", ["sku", "passenger", "secretary", "keyboard", "author", "pinned", "compass"])
def test_other_members_are_shown(name: str) -> None:
    assert redact({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    ("query", "redacted"),
    [
        ("page=2&api_key=swordfish", "page=2&api_key=[redacted]"),
        ("api%5Fkey=a%20b&x-auth-token=c", "api%5Fkey=[redacted]&x-auth-token=[redacted]"),
        ("token=a=b&token=c&q=a%26b", "token=[redacted]&token=[redacted]&q=a%26b"),
        ("token=&token&page", "token=&token&page"),
        ("", ""),
    ],
)
def test_query_parameters_that_may_be_secret_are_redacted(query: str, redacted: str) -> None:
    assert redact_query(query) == redacted


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("rediss://u:p%40ss@h:1/2", "rediss://u:[redacted]@h:1/2"),
        ("redis://:p@h", "redis://:[redacted]@h"),
        ("redis://h?password=p&db=1", "redis://h?password=[redacted]&db=1"),
        ("unix:///tmp/a@b:c/s", "unix:///tmp/a@b:c/s"),
        ("redis://u@h", "redis://u@h"),
    ],
)
def test_passwords_in_a_url_are_redacted(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


def test_signatures_of_one_time_links_are_redacted_in_texts() -> None:
    url = address(Keyring(("key",)), "https://gate.example", "9", "ask-1", 5)
    shown = "https://gate.example/v1/links/9.ask-1.5.[redacted]"
    assert redact({"mail": [f"Open {url} today", url]}) == {"mail": [f"Open {shown} today", shown]}
    assert redact_text(f"cannot send {url}.") == f"cannot send {shown}."
