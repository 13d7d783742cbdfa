"""Trace contexts by the W3C recommendation: valid ones are kept, others ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.trace_context import headers, read, trace_id

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
PARENT = b"00-" + TRACE + b"-" + SPAN + b"-01"


def test_a_context_is_passed_on_unchanged() -> None:
    context = read(PARENT, b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert headers(context) == {
        "traceparent": PARENT.decode(),
        "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    }
    assert headers(read(PARENT)) == {"traceparent": PARENT.decode()}
    assert headers("") == {}


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + b"0",
        PARENT + b"-00",
        PARENT.replace(TRACE, b"0" * 32),
        PARENT.replace(SPAN, b"0" * 16),
        PARENT.replace(b"00-", b"ff-", 1),
        PARENT.replace(b"-", b"_"),
        PARENT.replace(b"4b", b"xy"),
        b" " + PARENT,
        PARENT + b"\n",
    ],
)
def test_an_invalid_parent_is_ignored_with_its_state(parent: bytes) -> None:
    assert read(parent, b"a=1") == ""


def test_a_newer_version_is_read_as_the_first() -> None:
    assert read(b"cc" + PARENT[2:] + b"-what-the-future-brings") == PARENT.decode()


@pytest.mark.parametrize("state", [b"", b"  ", b"x" * 513, b"a=\xff", b"a=1\r\nb: 2", b"a=\x00"])
def test_an_invalid_state_is_left_out(state: bytes) -> None:
    assert headers(read(PARENT, state)) == {"traceparent": PARENT.decode()}


@given(st.binary(max_size=80), st.binary(max_size=600))
def test_any_bytes_give_headers_that_can_be_sent(parent: bytes, state: bytes) -> None:
    for value in headers(read(parent, state)).values():
        assert value.isascii()
        assert value.isprintable()


def test_the_id_of_a_trace_is_read() -> None:
    context = read(b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01", b"a=b")
    assert trace_id(context) == "ab" * 16
    assert trace_id("") == ""
