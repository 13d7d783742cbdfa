"""Places of the parts of a `multipart/form-data` body (RFC 7578), without a copy of their contents.

Used by `call_files` for APIs that store files; `decoding` decodes the forms of the other APIs. Pure.
Invariants: the work is linear in the size of the body, whatever it contains, and memory is bounded by the
number of parts; whatever is not exactly a form is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from iogate.gateway.http.decoding import MAX_FIELDS, UTF8
from iogate.gateway.http.responses import HTTPError, invalid

MEDIA_TYPE: Final = b"multipart/form-data"
MAX_HEAD: Final = 8 * 1024
"""Limit of the headers of a part, in bytes."""
MAX_BOUNDARY: Final = 200

# Possessive quantifiers: one pass for any data. A quoted value ends at the first quote that nothing escapes.
_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):([^\x00-\x08\x0a-\x1f\x7f]*+)")
_OPTION: Final = re.compile(rb"[ \t]*+;[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+")
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_TOKEN: Final = re.compile(rb'[^";\s]*+')
_TYPE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}/[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a form: its headers, and the place of its content in the body."""

    name: str
    filename: str | None
    """As sent; None for a field that is no file."""
    content_type: str
    """Media type without parameters; empty if the part has none."""
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def is_multipart(content_type: bytes) -> bool:
    """Tell whether a content type is that of a multipart form."""
    return content_type[: len(MEDIA_TYPE)].lower() == MEDIA_TYPE


def read(body: bytes, content_type: bytes) -> list[Part]:
    """Return the parts of a multipart body.

    Raises HTTPError: a 400.
    """
    boundary = _options(content_type[len(MEDIA_TYPE) :], "the Content-Type").get(b"boundary", b"")
    if not boundary or len(boundary) > MAX_BOUNDARY:
        raise invalid("The multipart body has no boundary: its Content-Type must name one")
    mark = b"\r\n--" + boundary
    if not body.startswith(mark[2:]):
        raise _malformed("it does not begin with its boundary")
    parts: list[Part] = []
    position = len(mark) - 2
    while True:
        after = body[position : position + 2]
        if after == b"--":
            if body[position + 2 : position + 5] not in (b"", b"\r\n"):
                raise _malformed("data follows its last boundary")
            return parts
        if after != b"\r\n":
            raise _malformed("it ends within a boundary" if len(after) < 2 else "data follows a boundary")
        if len(parts) == MAX_FIELDS:
            raise invalid(f"The multipart body has more than {MAX_FIELDS} parts")
        number = len(parts) + 1
        head_end = body.find(b"\r\n\r\n", position, position + MAX_HEAD + 4)
        if head_end < 0:
            large = len(body) - position > MAX_HEAD
            reason = f"are larger than {MAX_HEAD} bytes" if large else "do not end"
            raise _malformed(f"the headers of part {number} {reason}")
        # A part without content may share a line break with the boundary that follows it.
        start = head_end + 2 if body.startswith(mark, head_end + 2) else head_end + 4
        end = body.find(mark, start)
        if end < 0:
            raise _malformed(f"part {number} does not end with the boundary")
        parts.append(_part(body[position + 2 : head_end], number, start, end))
        position = end + len(mark)


def _part(head: bytes, number: int, start: int, end: int) -> Part:
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n") if head else ():
        found = _LINE.fullmatch(line)
        if found is None:
            raise _malformed(f"part {number} has a line that is no header")
        if (name := found[1].lower()) in headers:
            raise _malformed(f"part {number} has the header {name.decode()[:40]} twice")
        headers[name] = found[2].strip(b" \t")
    disposition, _, _ = (told := headers.get(b"content-disposition", b"")).partition(b";")
    if disposition.strip().lower() != b"form-data":
        raise _malformed(f"part {number} has no Content-Disposition: form-data")
    options = _options(told[len(disposition) :], f"part {number}")
    if not options.get(b"name"):
        raise _malformed(f"part {number} has no name")
    kind = headers.get(b"content-type", b"")
    media = kind.partition(b";")[0].strip().lower()
    if media.startswith(b"multipart/"):
        raise _malformed(f"part {number} is itself a multipart body")
    if media and _TYPE.fullmatch(media) is None:
        raise _malformed(f"the Content-Type of part {number} is not a media type")
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
        raise _malformed(f"part {number} has a Content-Transfer-Encoding, which forms do not use")
    return Part(
        name=_text(options[b"name"], number),
        filename=_filename(options, number),
        content_type=media.decode(),
        start=start,
        end=end,
    )


def _filename(options: dict[bytes, bytes], number: int) -> str | None:
    """Return the file name of a multipart part: `filename*` (RFC 5987), which some send, or `filename`."""
    extended = options.get(b"filename*")
    if extended is not None:
        charset, _, rest = extended.partition(b"'")
        _, quote, encoded = rest.partition(b"'")
        if not quote or charset.lower() not in UTF8:
            raise _malformed(f"the filename* of part {number} is not UTF-8'…'…")
        return _text(unquote_to_bytes(encoded), number)
    plain = options.get(b"filename")
    return None if plain is None else _text(plain, number)


def _text(value: bytes, number: int) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _malformed(f"a name of part {number} is not UTF-8") from None
    if any(char < " " or char == "\x7f" for char in text):
        raise _malformed(f"a name of part {number} has a control character")
    return text


def _options(text: bytes, place: str) -> dict[bytes, bytes]:
    """Return the parameters of a header of a multipart body; browsers write a quote as `%22`."""
    options: dict[bytes, bytes] = {}
    position = 0
    while position < len(text):
        found = _OPTION.match(text, position)
        if found is None:
            if text[position:].strip(b" \t;"):
                raise _malformed(f"the parameters of {place} cannot be read")
            break
        name = found[1].lower()
        value = _QUOTED.match(text, found.end()) or _TOKEN.match(text, found.end())
        assert value is not None
        if name in options:
            raise _malformed(f"{place} has the parameter {name.decode()[:40]} twice")
        quoted = text[found.end() : found.end() + 1] == b'"' and value.re is _QUOTED
        options[name] = _unescaped(value[1]) if quoted else value[0]
        position = value.end()
        if position < len(text) and text[position : position + 1] not in b"; \t":
            raise _malformed(f"the parameters of {place} cannot be read")
    return options


def _unescaped(value: bytes) -> bytes:
    r"""Return a quoted value of a multipart body; a `\` is an escape only before a quote or itself."""
    plain = re.sub(rb'\\(["\\])', rb"\1", value) if b"\\" in value else value
    return plain.replace(b"%22", b'"').replace(b"%0D", b"\r").replace(b"%0A", b"\n")


def _malformed(reason: str) -> HTTPError:
    return invalid(f"The multipart body is malformed: {reason}")
