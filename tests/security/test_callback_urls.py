"""A URL of a callback is https, has no credentials, and names an allowed host."""

from __future__ import annotations

import pytest

from iogate.security.callback_urls import fault, is_allowed


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://hooks.example.com/x?y=1", None),
        ("http://localhost:8080/x", None),
        ("http://127.0.0.1/", None),
        ("http://[::1]:1/", None),
        ("http://example.com/", "it is not https, which only hosts of this machine may leave out"),
        ("https://u:p@example.com/", "it contains a user or a password"),
        ("https://example.com@evil.example/", "it contains a user or a password"),
        ("https://example.com/#a", "it has a fragment"),
        ("ftp://example.com/", "it is not an absolute https:// URL"),
        ("/x", "it is not an absolute https:// URL"),
        ("https://", "it is not an absolute https:// URL"),
        ("https://example.com:99999/", "it is not an absolute https:// URL"),
        ("https://example.com/a b", "it has spaces, or characters that are not ASCII"),
        ("https://exämple.com/", "it has spaces, or characters that are not ASCII"),
        ("https://example.com/" + "x" * 2_048, "it is longer than 2048 characters"),
    ],
)
def test_a_target_has_one_form(url: str, reason: str | None) -> None:
    assert fault(url) == reason


@pytest.mark.parametrize(
    ("url", "hosts", "allowed"),
    [
        ("https://example.com/", ["example.com"], True),
        ("https://EXAMPLE.com./", ["example.com"], True),
        ("https://example.com.evil.example/", ["example.com"], False),
        ("https://a.example.com/", ["example.com"], False),
        ("https://a.example.com/", ["*.example.com"], True),
        ("https://a.b.example.com/", ["*.example.com"], True),
        ("https://example.com/", ["*.example.com"], False),
        ("https://evilexample.com/", ["*.example.com"], False),
        ("https://example.com:8443/", ["example.com"], True),
        ("https://example.com:8443/", ["example.com:443"], False),
        ("https://example.com/", ["example.com:443"], True),
        ("https://any.example/", ["*"], True),
        ("https://10.0.0.1/", ["*"], False),
        ("https://2130706433/", ["*"], False),
        ("https://0x7f000001/", ["*"], False),
        ("https://127.1/", ["*"], False),
        ("https://[fd00::1]/", ["*"], False),
        ("https://[fd00::1]/", ["[fd00::1]"], True),
        ("https://10.0.0.1/", ["10.0.0.1"], True),
    ],
)
def test_a_host_is_allowed_by_name(url: str, hosts: list[str], *, allowed: bool) -> None:
    assert fault(url) is None
    assert is_allowed(url, hosts) is allowed


def test_a_host_is_named_if_it_is_written_in_full() -> None:
    assert is_allowed("https://a.example.com/", ["*.example.com", "a.example.com"], named=True)
    assert not is_allowed("https://a.example.com/", ["*.example.com"], named=True)
