"""Decoding of requests to JSON values: JSON, forms, multipart and query strings.

Pure. Invariant: dangerous data is refused before it is decoded (depth: the decoder recurses in C and would
crash the process) or right after (duplicate keys: two readers would see two inputs).
"""

from __future__ import annotations

import base64
import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
import multipart  # type: ignore[import-untyped]  # ships inline types without a marker

from iogate.gateway.http.responses import invalid, unsupported

MAX_DEPTH = 64
MAX_FIELDS = 1_000
MAX_SLOW_NUMBERS = 10_000

# Possessive quantifiers and an optional closing quote: one pass for any data.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SLOW_NUMBERS = re.compile(rb"[0-9][eE][+-]?[0-9]{3,}+(?=[\s,\]}])")
FEW_SLOW_BYTES = MAX_SLOW_NUMBERS * len(b"1e308,")
"""A body of at most this size has no more slow numbers than allowed."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
_FORM = b"application/x-www-form-urlencoded"
_PAYLOAD = b"payload="
UTF8 = (b"utf-8", b"utf8", b"us-ascii")
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, kw_only=True)
class File:
    """A part of a multipart body that was sent as a file."""

    filename: str
    content_type: str
    content: bytes

    def to_json(self) -> dict[str, str]:
        """Return a file in a decoded request as JSON, with its content as UTF-8 text, else as base64."""
        described = {"filename": self.filename, "contentType": self.content_type}
        try:
            return described | {"encoding": "utf-8", "content": self.content.decode()}
        except UnicodeDecodeError:
            return described | {"encoding": "base64", "content": base64.b64encode(self.content).decode()}

    def text(self) -> str | None:
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None


def count_slow_numbers(body: bytes) -> int:
    """Count the numbers in a body that are slow to decode: with an exponent of three digits.

    The decoder takes 10 to 40 microseconds for one near the largest or the smallest float, else 0.05.
    """
    return len(_SLOW_NUMBERS.findall(body))


def json(body: bytes) -> Any:
    """Decode JSON strictly: UTF-8, no NaN, no duplicate keys, at most 64 levels. Raises HTTPError: a 400."""
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or len(body) > FEW_SLOW_BYTES:
        _check_shape(_without_strings(body))
    try:
        value = _decode(body)
    except UnicodeDecodeError as error:
        raise invalid(f"The body is not UTF-8: byte {error.start} of a string cannot be read") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise invalid(f"The body is not JSON: {_reason(error)}") from None
    # More colons than keys mean that some are in strings, or that one key overwrote another.
    if (
        (members := body.count(b":"))
        and members != (kept := _count_keys(value))
        and _without_strings(body).count(b":") != kept
    ):
        raise invalid(f"The body is not JSON: the key {_duplicate(body)} appears twice in one object")
    return value


def _reason(error: Exception) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return text[:1].lower() + text[1:] if text else "it cannot be read"


def _without_strings(body: bytes) -> bytes:
    return _STRINGS.sub(b"", body)


def _check_shape(bare: bytes) -> None:
    """Raise HTTPError for data that the decoder cannot decode safely; `bare` is the body without strings."""
    if bare.count(b"[") + bare.count(b"{") > MAX_DEPTH:
        _check_depth(bare)
    if len(bare) > FEW_SLOW_BYTES and count_slow_numbers(bare) > MAX_SLOW_NUMBERS:
        raise invalid(f"The body has more than {MAX_SLOW_NUMBERS} numbers with an exponent of three digits")


def _check_depth(bare: bytes) -> None:
    """Raise HTTPError for JSON to decode with more than 64 levels; one pass over its brackets."""
    steps = array("b", bare.translate(_STEPS, _NOT_BRACKETS))
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        raise invalid(f"The body is not JSON: nested deeper than {MAX_DEPTH} levels")


def _count_keys(value: Any) -> int:
    if type(value) is dict:
        count = len(value)
        for item in value.values():
            if type(item) is dict or type(item) is list:
                count += _count_keys(item)
        return count
    if type(value) is list:
        return sum(_count_keys(item) for item in value if type(item) is dict or type(item) is list)
    return 0


def _duplicate(body: bytes) -> str:
    """Return the first key that appears twice in the JSON to decode, for the error message."""
    import json as strict  # noqa: PLC0415 - the slow decoder, needed only for an error

    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                found.append(key)
            seen.add(key)

    strict.loads(body, object_pairs_hook=pairs)
    return msgspec.json.encode(found[0][:100]).decode() if found else "of a member"


def body(content: bytes, content_type: bytes) -> Any:
    """Decode a POST body by its content type; a JSON object or array is JSON with any content type.

    Forms and multipart give an object of strings and `File`s, with a list for a repeated name. Raises
    HTTPError: a 400 or 415.
    """
    media, _, parameters = content_type.partition(b";")
    media = media.strip().lower()
    if not media or media == b"application/json" or media.endswith(b"+json"):
        check_charset(parameters)
        return json(content) if content.strip() else {}
    if media == b"multipart/form-data":
        return _multipart(content, parameters) if content else {}
    # `curl -d '{…}'` labels JSON as a form; an encoded form never starts like this.
    if content.lstrip()[:1] in (b"{", b"["):
        return json(content)
    if not content.strip():
        return {}
    if media == _FORM:
        check_charset(parameters)
        return pairs(content, "form")
    name = media.decode("latin-1")[:100]
    raise unsupported(
        f"The content type {name} is not supported; expected application/json, "
        "application/x-www-form-urlencoded or multipart/form-data"
    )


def is_decodable(content_type: bytes, content: bytes) -> bool:
    """Tell whether `body` can decode a content of this type; if not, it raises a 415."""
    media = content_type.partition(b";")[0].strip().lower()
    known = media in (b"", b"application/json", b"multipart/form-data", _FORM) or media.endswith(b"+json")
    return known or content.lstrip()[:1] in (b"{", b"[") or not content.strip()


def without_escapes(content: bytes) -> bytes:
    """Decode the percent-encoding of a query or form, but not its fields."""
    return unquote_to_bytes(content.replace(b"+", b" "))


def readable(content: bytes, content_type: bytes) -> bytes:
    """Return a body without the percent-encoding that `body` and `unwrap` decode before the values in it."""
    is_form = content_type.partition(b";")[0].strip().lower() == _FORM
    return without_escapes(content) if is_form and content.lstrip()[:1] not in (b"{", b"[") else content


def unwrap(content: bytes, content_type: bytes) -> tuple[bytes, bytes]:
    """Decode a form whose only field is `payload` to the JSON in it; return anything else unchanged."""
    if (
        not content.startswith(_PAYLOAD)
        or b"&" in content
        or content_type.partition(b";")[0].strip().lower() != _FORM
    ):
        return content, content_type
    return without_escapes(content[len(_PAYLOAD) :]), b"application/json"


def check_charset(parameters: bytes) -> None:
    """Check that the content to decode has no charset but UTF-8. Raises HTTPError: a 415."""
    if not parameters:
        return
    for parameter in parameters.lower().split(b";"):
        name, _, value = parameter.strip().partition(b"=")
        if name.rstrip() == b"charset" and value.strip(b'" ') not in UTF8:
            raise unsupported(f"The charset {value.decode('latin-1')[:40]} is not supported; expected utf-8")


def pairs(content: bytes, where: str) -> dict[str, Any]:
    """Decode `a=1&b=2` of a query or form to an object of strings and lists. Raises HTTPError: a 400."""
    if not content:
        return {}
    try:
        text = content.decode()
        items = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise invalid(f"The {where} is not UTF-8") from None
    except ValueError:
        raise invalid(f"The {where} has more than {MAX_FIELDS} fields") from None
    return gather(items)


def gather(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return decoded fields of a query or form as an object, with a list for a repeated name."""
    gathered: dict[str, Any] = {}
    for name, value in items:
        if name not in gathered:
            gathered[name] = value
        elif type(gathered[name]) is list:
            gathered[name].append(value)
        else:
            gathered[name] = [gathered[name], value]
    return gathered


def _multipart(content: bytes, parameters: bytes) -> dict[str, Any]:
    _, options = multipart.parse_options_header("multipart/form-data;" + parameters.decode("latin-1"))
    boundary = options.get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise invalid("The multipart body has no boundary: its Content-Type must name one")
    items: list[tuple[str, Any]] = []
    segment: multipart.MultipartSegment | None = None
    collected: list[bytes] = []
    try:
        with multipart.PushMultipartParser(boundary, max_segment_count=MAX_FIELDS, strict=True) as parser:
            for event in (*parser.parse(content), *parser.parse(b"")):
                if isinstance(event, multipart.MultipartSegment):
                    segment, collected = event, []
                elif event:
                    collected.append(bytes(event))
                elif segment is not None:
                    items.append((segment.name, _part(segment, b"".join(collected))))
    except multipart.MultipartError as error:
        raise invalid(f"The multipart body is malformed: {error}") from None
    return gather(items)


def _part(segment: multipart.MultipartSegment, content: bytes) -> str | File:
    if segment.filename is not None:
        kind = segment.content_type or "application/octet-stream"
        return File(filename=segment.filename, content_type=kind, content=content)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise invalid(f"The field {segment.name[:100]} of the multipart body is not UTF-8") from None
