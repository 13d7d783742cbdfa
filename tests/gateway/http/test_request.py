"""A request is read once from its ASGI scope, and shows nothing of its content."""

from __future__ import annotations

import pytest

from iogate.gateway.http.request import MAX_HEADERS, Request
from tests.gateway.driver import request


def test_the_head_of_a_request_is_that_of_its_scope() -> None:
    found = request(
        (b"host", b"a"), (b"x", b"1"), method="PUT", path="/v1/%61?b=%20", client=("192.0.2.1", 5)
    )
    assert (found.method, found.raw_path, found.query) == ("PUT", b"/v1/%61", b"b=%20")
    assert (found.headers, found.repeated) == ({b"host": b"a", b"x": b"1"}, frozenset())
    assert (found.address, found.body, found.is_read) == ("192.0.2.1", b"", False)
    assert request(client=None).address == ""


def test_a_repeated_header_has_its_last_value_and_is_named() -> None:
    found = request((b"x", b"1"), (b"y", b"2"), (b"x", b"3"), (b"x", b"1"))
    assert found.headers == {b"x": b"1", b"y": b"2"}
    assert found.repeated == {b"x"}
    assert list(found.raw_headers) == [(b"x", b"1"), (b"y", b"2"), (b"x", b"3"), (b"x", b"1")]


@pytest.mark.parametrize(("more", "large"), [(0, False), (1, True)])
def test_names_and_values_count_towards_the_limit_of_headers(more: int, *, large: bool) -> None:
    found = request((b"a", b"1234"), (b"name", b"x" * (MAX_HEADERS - 9 + more)))
    assert found.has_large_headers() == large


def test_a_request_shows_no_credential() -> None:
    found = request((b"token", b"s3cret"), path="/?token=s3cret")
    found.body = b"s3cret"
    assert "s3cret" not in f"{found} {found!r}"


async def test_a_request_without_a_connection_has_no_further_message() -> None:
    assert await Request(method="GET").receive() == {"type": "http.disconnect"}
