"""A URL of a callback is https, has no credentials, and names an allowed host."""

from __future__ import annotations

import pytest

from iogate.security.callback_urls import (
    allowing_entry,
    entry_fault,
    fault,
    host_of,
    is_allowed,
    is_pattern,
)


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
        ("https://example.com:0/", "it is not an absolute https:// URL"),
        ("https://ex%61mple.com/", "its host is not a name or an address"),
        ("https://a..example.com/", "its host is not a name or an address"),
        ("https://example.com\\.evil.example/", "its host is not a name or an address"),
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
        ("https://example.com:8443/", ["example.com"], False),
        ("https://example.com:80/", ["example.com"], False),
        ("https://example.com:443/", ["example.com"], True),
        ("https://example.com:8443/", ["example.com:*"], True),
        ("https://example.com:8443/", ["example.com:8443"], True),
        ("https://a.example.com:8443/", ["*.example.com"], False),
        ("https://a.example.com:8443/", ["*.example.com:*"], True),
        ("https://any.example:22/", ["*"], False),
        ("https://any.example:22/", ["*:*"], True),
        ("http://localhost/", ["localhost"], True),
        ("http://localhost:443/", ["localhost"], False),
        ("http://localhost:9/", ["localhost:*"], True),
        ("https://example.com:8443/", ["example.com:443"], False),
        ("https://example.com/", ["example.com:443"], True),
        ("https://any.example/", ["*"], True),
        ("https://10.0.0.1/", ["*"], False),
        ("https://2130706433/", ["*"], False),
        ("https://0x7f000001/", ["*"], False),
        ("https://127.1/", ["*"], False),
        ("https://[fd00::1]/", ["*"], False),
        ("https://[fd00::1]/", ["[fd00::1]"], True),
        ("https://[FD00:0::1]/", ["[fd00:0:0::1]"], True),
        ("https://[::ffff:10.0.0.1]/", ["10.0.0.1"], True),
        ("https://[fd00::1]:9/", ["[fd00::1]"], False),
        ("https://[fd00::1]:9/", ["[fd00::1]:*"], True),
        ("https://10.0.0.1/", ["10.0.0.1"], True),
    ],
)
def test_a_host_is_allowed_by_name(url: str, hosts: list[str], *, allowed: bool) -> None:
    assert fault(url) is None
    assert is_allowed(url, hosts) is allowed


def test_an_entry_that_is_written_in_full_comes_first() -> None:
    hosts = ["*", "*.example.com", "a.example.com"]
    assert allowing_entry("https://a.example.com/", hosts) == "a.example.com"
    assert allowing_entry("https://b.example.com/", hosts) == "*"
    assert [is_pattern(entry) for entry in hosts] == [True, True, False]


@pytest.mark.parametrize(
    "urls",
    [
        ["https://hooks.example.com/", "https://HOOKS.example.COM:443/", "https://hooks.example.com.:8443/x"],
        ["https://[fd00::1]/", "https://[FD00:0:0::1]:8443/"],
        ["https://10.0.0.1/", "https://[::ffff:a00:1]/", "https://[::FFFF:10.0.0.1]/"],
        ["https://xn--bcher-kva.example/", "https://XN--BCHER-KVA.example./"],
    ],
)
def test_each_spelling_of_a_host_has_one_normal_form(urls: list[str]) -> None:
    assert [fault(url) for url in urls] == [None] * len(urls)
    assert len({host_of(url) for url in urls}) == 1


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "*:*",
        "*:8443",
        "localhost:8080",
        "a-b.example.com",
        "*.example.com:*",
        "10.0.0.1:*",
        "[::1]:8080",
        "x",
    ],
)
def test_an_entry_names_hosts(entry: str) -> None:
    assert entry_fault(entry) is None


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("https://h.example", "a host such as"),
        ("H.example", "a host such as"),
        ("*example.com", "a host such as"),
        ("h.example:", "a host such as"),
        ("h.example:0", "a host with a port from 1 to 65535, or :* for every port"),
        ("h.example:70000", "a host with a port from 1 to 65535"),
        ("a..example.com", "a host with parts of 1 to 63 letters"),
        ("a-.example.com", "a host with parts of 1 to 63 letters"),
        ("a" * 64 + ".example", "a host with parts of 1 to 63 letters"),
        ("127.1", "a host with a domain, or an address of four decimal numbers"),
        ("256.1.1.1", "a host with a domain, or an address of four decimal numbers"),
        ("0x7f000001", "a host with a domain, or an address of four decimal numbers"),
        ("*.10.0.0.1", "a host with a domain, or an address of four decimal numbers"),
        ("[1.2.3.4]", "a host with an IPv6 address"),
        ("[fd00::1::2]", "a host with an IPv6 address"),
    ],
)
def test_an_entry_that_can_never_match_is_refused(entry: str, expected: str) -> None:
    assert (entry_fault(entry) or "").startswith(expected)
