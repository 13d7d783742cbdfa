"""Requests are decoded strictly; errors name the place and the reason."""

from __future__ import annotations

import time
from typing import Any

import pytest

from iogate.gateway.http import decoding
from iogate.gateway.http.decoding import File
from iogate.gateway.http.responses import HTTPError

FORM = b"application/x-www-form-urlencoded"


def refused(content: bytes, label: bytes = b"application/json") -> tuple[int, str]:
    with pytest.raises(HTTPError) as caught:
        decoding.body(content, label)
    return caught.value.response.status, caught.value.response.message


@pytest.mark.parametrize(
    ("content", "label", "value"),
    [
        (b"", b"", {}),
        (b"", b"application/json", {}),
        (b" \n", FORM, {}),
        (b"", b"multipart/form-data; boundary=x", {}),
        (b"{}", FORM, {}),
        (b'  [1, {"a": null}]', FORM, [1, {"a": None}]),
        (b'{"sku":"A-1"}', b"text/plain", {"sku": "A-1"}),
        (b'"text"', b"application/json; charset=UTF-8", "text"),
        (b"17", b"", 17),
        (b"\xef\xbb\xbf{}", b"application/json", {}),
        (b'{"a":1}', b"application/cloudevents+json", {"a": 1}),
        (b"123456789012345678901234567890", b"application/json", 123456789012345678901234567890),
        (b"a=1&b=%C3%A4&b=2&c=", FORM, {"a": "1", "b": ["ä", "2"], "c": ""}),
        (b"a=1", FORM + b"; charset=utf-8", {"a": "1"}),
        (b'{"a:b":":","c":[{"a":{}}]}', b"application/json", {"a:b": ":", "c": [{"a": {}}]}),
        (b'{"a\\"b:":1}', b"application/json", {'a"b:': 1}),
    ],
)
def test_a_body_is_decoded_by_content_type_and_json_with_any_content_type(
    content: bytes, label: bytes, value: Any
) -> None:
    assert decoding.body(content, label) == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "The body is not JSON: "),
        (b'{"a":1} x', "The body is not JSON: trailing characters"),
        (b"NaN", "The body is not JSON: "),
        (b"[Infinity]", "The body is not JSON: "),
        (b"-", "The body is not JSON: "),
        (b"01", "The body is not JSON: "),
        (b"'a'", "The body is not JSON: "),
        (b'"\xff"', "The body is not UTF-8"),
        (b'"\xed\xa0\x80"', "The body is not UTF-8"),
        (b'"\\ud800"', "The body is not JSON: "),
        (b'"\x01"', "The body is not JSON: "),
        (b"1e999", "The body is not JSON: number out of range"),
        (b"1" * 5000, "The body is not JSON: integer value out of range"),
        (b'{"a":1,"a":2}', 'The body is not JSON: the key "a" appears twice in one object'),
        (b'[{"b":{"a":1,"c":{},"a":2}}]', 'The body is not JSON: the key "a" appears twice in one object'),
        (b'{"a":1,"\\u0061":2}', 'The body is not JSON: the key "a" appears twice in one object'),
        (b"\xff\xfe{\x00}\x00", "The body is not JSON: "),
    ],
)
def test_invalid_json_is_a_400_with_the_reason(content: bytes, message: str) -> None:
    status, text = refused(content)
    assert status == 400
    assert text.startswith(message)


@pytest.mark.parametrize("content", [b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65])
def test_65_levels_are_refused_and_64_are_read(content: bytes) -> None:
    assert refused(content) == (
        400,
        "The body is not JSON: nested deeper than 64 levels",
    )
    assert decoding.json(b"[" * 64 + b"]" * 64)
    assert decoding.json(b'[{"a":' * 32 + b"1" + b"}]" * 32)


def test_many_adjacent_brackets_are_not_deep_nesting() -> None:
    assert decoding.json(b"[" + b",".join([b'{"a":["]","["]}'] * 500) + b"]") == [{"a": ["]", "["]}] * 500


@pytest.mark.usefixtures("no_old_garbage")
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'"' + b'\\"' * 500_000,
        b'"' * 999_999,
        b"[" + b'{"a":1},' * 100_000,
        b"{" * 500_000 + b"]" * 500_000,
        b"[]" * 500_000,
        b"\\" * 1_000_000,
    ],
)
def test_hostile_json_of_a_megabyte_is_refused_in_time(content: bytes) -> None:
    started = time.process_time()
    assert refused(content)[0] == 400
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("content", "label", "status", "message"),
    [
        (
            b"<a/>",
            b"text/xml",
            415,
            "The content type text/xml is not supported; expected application/json, "
            "application/x-www-form-urlencoded or multipart/form-data",
        ),
        (
            b"{}",
            b"application/json; charset=utf-16",
            415,
            "The charset utf-16 is not supported; expected utf-8",
        ),
        (b"a=1", FORM + b"; charset=latin1", 415, "The charset latin1 is not supported; expected utf-8"),
        (b"a=%ff", FORM, 400, "The form is not UTF-8"),
        (b"a=\xff", FORM, 400, "The form is not UTF-8"),
        (b"&".join(b"a=1" for _ in range(1001)), FORM, 400, "The form has more than 1000 fields"),
        (
            b"x",
            b"multipart/form-data",
            400,
            "The multipart body has no boundary: its Content-Type must name one",
        ),
        (b"{bad", FORM, 400, "The body is not JSON: "),
    ],
)
def test_other_bodies_are_refused_by_content_type_or_content(
    content: bytes, label: bytes, status: int, message: str
) -> None:
    found_status, found = refused(content, label)
    assert found_status == status
    assert found.startswith(message)


def part(name: str, content: bytes, more: str = "", kind: str = "") -> bytes:
    head = f'--xx\r\nContent-Disposition: form-data; name="{name}"{more}\r\n'
    head += f"Content-Type: {kind}\r\n" if kind else ""
    return head.encode() + b"\r\n" + content + b"\r\n"


def test_multipart_gives_strings_and_files() -> None:
    content = (
        part("a", b"1")
        + part("b", "ä".encode())
        + part("b", b"2")
        + part("f", b"x,y\n", '; filename="t.csv"', "text/csv")
        + b"--xx--\r\n"
    )
    value = decoding.body(content, b'multipart/form-data; boundary="xx"')
    file = File(filename="t.csv", content_type="text/csv", content=b"x,y\n")
    assert value == {"a": "1", "b": ["ä", "2"], "f": file}
    assert file.to_json() == {
        "filename": "t.csv",
        "contentType": "text/csv",
        "encoding": "utf-8",
        "content": "x,y\n",
    }
    assert File(filename="b", content_type="x", content=b"\xff").to_json()["content"] == "/w=="


@pytest.mark.parametrize(
    "content",
    [
        b"--xx",
        b"--xx\r\n",
        part("a", b"1"),
        b"--xx\r\nno header\r\n\r\nx\r\n--xx--",
        b"--yy\r\n\r\n--yy--",
        part("a", b"\xff") + b"--xx--\r\n",
        b"--xx\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xx--\r\n",
    ],
)
def test_broken_multipart_is_a_400(content: bytes) -> None:
    status, message = refused(content, b"multipart/form-data; boundary=xx")
    assert status == 400
    assert "multipart body" in message
