"""Parts of a form: exactly what was sent, and a plain 400 for everything that is not exactly a form."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.gateway.http import multipart_body
from iogate.gateway.http.multipart_body import MAX_HEAD
from iogate.gateway.http.responses import HTTPError

TYPE = b"multipart/form-data; boundary=xx"
HEAD = b'Content-Disposition: form-data; name="a"'


def body(*parts: bytes) -> bytes:
    return b"".join(b"--xx\r\n" + part + b"\r\n" for part in parts) + b"--xx--\r\n"


def refused(content: bytes, kind: bytes = TYPE) -> str:
    with pytest.raises(HTTPError) as found:
        multipart_body.read(content, kind)
    assert found.value.response.status == 400
    return found.value.response.message


HOSTILE: list[tuple[bytes, bytes, str]] = [
    (b"x", b"multipart/form-data", "has no boundary: its Content-Type must name one"),
    (b"x", b"multipart/form-data; boundary=", "has no boundary"),
    (b"x", b"multipart/form-data; boundary=" + b"x" * 201, "has no boundary"),
    (b"x", b"multipart/form-data; boundary=a; boundary=b", "has the parameter boundary twice"),
    (b"x", b'multipart/form-data; boundary="a"b', "parameters of the Content-Type cannot be read"),
    (b"preamble\r\n" + body(), TYPE, "does not begin with its boundary"),
    (body() + b"epilogue", TYPE, "data follows its last boundary"),
    (b"--xx", TYPE, "ends within a boundary"),
    (b"--xxy\r\n", TYPE, "data follows a boundary"),
    (b"--xx\r\n" + HEAD, TYPE, "the headers of part 1 do not end"),
    (b"--xx\r\n" + b"A: " + b"b" * MAX_HEAD * 9, TYPE, "headers of part 1 are larger than 8192 bytes"),
    (body(HEAD + b"\r\n\r\nz")[:-8], TYPE, "part 1 does not end with the boundary"),
    (body(b"\r\nz"), TYPE, "part 1 has no Content-Disposition"),
    (body(b"Content-Disposition: attachment; name=a\r\n\r\nz"), TYPE, "has no Content-Disposition"),
    (body(b"Content-Disposition: form-data\r\n\r\nz"), TYPE, "part 1 has no name"),
    (body(b'Content-Disposition: form-data; name=""\r\n\r\nz'), TYPE, "part 1 has no name"),
    (body(HEAD + b"\r\n" + HEAD + b"\r\n\r\nz"), TYPE, "has the header content-disposition twice"),
    (body(HEAD + b'; name="b"\r\n\r\nz'), TYPE, "part 1 has the parameter name twice"),
    (body(HEAD + b"\r\nno header\r\n\r\nz"), TYPE, "part 1 has a line that is no header"),
    (body(HEAD + b"\r\nA: b\x00\r\n\r\nz"), TYPE, "part 1 has a line that is no header"),
    (body(HEAD + b"\nA: b\r\n\r\nz"), TYPE, "part 1 has a line that is no header"),
    (body(HEAD + b'; filename="a\x00b"\r\n\r\nz'), TYPE, "part 1 has a line that is no header"),
    (body(HEAD + b"; filename*=UTF-8''a%00b\r\n\r\nz"), TYPE, "a name of part 1 has a control character"),
    (body(HEAD + b'; filename="a%0Ab"\r\n\r\nz'), TYPE, "a name of part 1 has a control character"),
    (body(HEAD + b'; filename="\xff"\r\n\r\nz'), TYPE, "a name of part 1 is not UTF-8"),
    (body(HEAD + b"; filename*=latin-1''a\r\n\r\nz"), TYPE, "filename* of part 1 is not UTF-8"),
    (body(HEAD + b"; filename*=a\r\n\r\nz"), TYPE, "filename* of part 1 is not UTF-8"),
    (
        body(HEAD + b"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n"),
        TYPE,
        "itself a multipart body",
    ),
    (body(HEAD + b"\r\nContent-Type: text\r\n\r\n"), TYPE, "Content-Type of part 1 is not a media type"),
    (body(HEAD + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"), TYPE, "Content-Transfer-Encoding"),
]


@given(
    contents=st.lists(st.binary(max_size=40), max_size=6),
    boundary=st.from_regex(r"[0-9A-Za-z'()+_,./:=?-]{1,70}", fullmatch=True),
)
def test_contents_are_found_unchanged(contents: list[bytes], boundary: str) -> None:
    mark = b"--" + boundary.encode()
    if any(b"\r\n" + mark in b"\r\n" + content for content in contents):
        return
    sent = b"".join(mark + b"\r\n" + HEAD + b"\r\n\r\n" + each + b"\r\n" for each in contents) + mark + b"--"
    parts = multipart_body.read(
        sent, b'Multipart/Form-Data; charset=utf-8; boundary="%b"' % boundary.encode()
    )
    assert [sent[part.start : part.end] for part in parts] == contents
    assert {part.name for part in parts} <= {"a"}


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_no_body_and_no_header_makes_it_fail_otherwise(content: bytes, kind: bytes) -> None:
    for sent in (content, b"--xx\r\n" + content, body(content), body(HEAD + b"; " + content + b"\r\n\r\n")):
        for label in (TYPE, b"multipart/form-data" + kind):
            try:
                multipart_body.read(sent, label)
            except HTTPError as error:
                assert error.response.status == 400  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b'form-data; name="a"', None),
        (b'form-data; name="a"; filename=""', ""),
        (b"form-data; name=a; filename=x.png", "x.png"),
        (b'form-data; filename="x.png"; name="a"', "x.png"),
        (b'FORM-DATA; NAME="a"; FileName="b%22c.png"', 'b"c.png'),
        (b'form-data; name="a"; filename="b\\"c.png"', 'b"c.png'),
        (b'form-data; name="a"; filename="C:\\temp\\x.png"', "C:\\temp\\x.png"),
        (b'form-data; name="a"; filename="../../etc/passwd"', "../../etc/passwd"),
        ('form-data; name="a"; filename="größe €.png"'.encode(), "größe €.png"),
        ('form-data; name="a"; filename="\u202egnp.exe"'.encode(), "\u202egnp.exe"),
        (b"form-data; name=\"a\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.png", "größe.png"),
        (b'form-data; name="a"; filename="g.png"; filename*=utf-8\'de\'gr%C3%B6%C3%9Fe.png', "größe.png"),
    ],
)
def test_names_of_files(disposition: bytes, filename: str | None) -> None:
    sent = body(b"Content-Disposition: " + disposition + b"\r\nContent-Type: Image/PNG; x=y\r\n\r\nz")
    (part,) = multipart_body.read(sent, TYPE)
    assert (part.name, part.filename, part.content_type, part.size) == ("a", filename, "image/png", 1)


def test_a_part_without_content_may_share_its_line_break_with_the_boundary() -> None:
    sent = b"--xx\r\n" + HEAD + b"\r\n\r\n--xx\r\n" + HEAD + b"\r\n\r\nz\r\n--xx--"
    assert [part.size for part in multipart_body.read(sent, TYPE)] == [0, 1]


@pytest.mark.parametrize(("content", "kind", "message"), HOSTILE)
def test_a_hostile_body_is_refused_in_plain_words(content: bytes, kind: bytes, message: str) -> None:
    found = refused(content, kind)
    assert message in found
    assert found.startswith("The multipart body ")
    assert len(found) < 200


@pytest.mark.usefixtures("no_old_garbage")
def test_too_many_parts_are_refused_at_once() -> None:
    sent = body(*[HEAD + b"\r\n\r\nz"] * 100_000)
    began_s = time.process_time()
    assert refused(sent) == "The multipart body has more than 1000 parts"
    assert time.process_time() - began_s < 1


@pytest.mark.usefixtures("no_old_garbage")
def test_the_work_is_linear_in_the_size() -> None:
    almost = body(HEAD + b"\r\n\r\n" + b"\r\n--x\r\n--xxxx"[:6] * 700_000)
    options = body(b"Content-Disposition: form-data" + b"; " * 3_000 + b"\r\n\r\nz")
    began_s = time.process_time()
    assert multipart_body.read(almost, TYPE)[0].size == 4_200_000
    refused(options)
    assert time.process_time() - began_s < 1


@pytest.mark.usefixtures("no_old_garbage")
@pytest.mark.parametrize(
    "line", [b"A:%b\x01", b"A: %b;\x01", b"A:%bx%b\x01", b"A%b: x", b"Content-Type: %bx"]
)
def test_the_work_for_a_header_is_linear_in_its_size(line: bytes) -> None:
    blank = b" \t" * (MAX_HEAD // 8)
    sent = body(line % ((blank,) * line.count(b"%b")) + b"\r\n" + HEAD + b"\r\n\r\nz")
    began_s = time.process_time()
    with suppress(HTTPError):
        multipart_body.read(sent, TYPE)
    assert time.process_time() - began_s < 0.5
